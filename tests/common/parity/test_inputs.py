"""A folder of records: every tensor is in the manifest, with a meaning, in forward order."""

import dataclasses
import json

import numpy as np
import pytest

from common import benchmark
from common.errors import UserError
from common.parity import compare, inputs
from tests.cells import APPLICATIONS
from tests.common.parity import numbers


def written(folder, application="recommendation", steps=2, **changes):
    """The Benchmark of an application whose inputs for a few steps lie in the folder."""
    module = benchmark.module(application, "config")
    config = dataclasses.replace(module.QUICK, application=application, seed=1, **changes)
    inputs.write(module.check(config), steps, str(folder))
    return benchmark.benchmark_of(application)


def beyond(facts, folder, other):
    """[(dump, name)] of what differs from `reference`."""
    rows = compare.rows(facts, str(folder), "reference", other)
    return [(row.dump, row.name) for row in rows if row.beyond]


WORDS = {"float32": "F32", "float64": "F64", "uint8": "U8", "int32": "I32", "int64": "I64",
         "bool": "BOOL"}  # fmt: skip


def same_tensors(described, path):
    """Whether the manifest describes each tensor of a file as it is, and has words for it."""
    tensors = inputs.load(path)
    assert {entry["name"] for entry in described} == tensors.keys()
    for entry in described:
        array = tensors[entry["name"]]
        assert (entry["dtype"], entry["shape"]) == (WORDS[str(array.dtype)], list(array.shape))
        assert len(entry["meaning"]) > 3, entry


def strict(text):
    """What a parser of JSON alone reads: no NaN, no Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_manifest_tells_of_every_tensor(application, precision, tmp_path):
    folder = str(tmp_path)
    facts = written(tmp_path, application, precision=precision)
    numbers.lead(facts, tmp_path, "pytorch")
    tolerances = compare.tolerances(facts, folder, "pytorch")
    inputs.write_manifest(facts, folder, "pytorch", tolerances)
    inputs.check(facts, folder, "pytorch", [])
    manifest = strict((tmp_path / "manifest.json").read_text())
    assert (manifest["application"], manifest["precision"]) == (application, precision)
    config = inputs.read_config(facts, folder)
    count = len(benchmark.module(application, "parity").evaluations(config))
    evaluations = [f"evaluation_{number:04d}" for number in range(count)]
    forced = inputs.forced(facts, config, inputs.dumps(folder))
    decisions = [f"decisions_{name}" for name in forced]
    assert list(manifest["inputs"]) == [
        "parameters", "batch_0000", "state_0001", "batch_0001", *evaluations, *decisions
    ]  # fmt: skip
    assert {f"{name}.safetensors" for name in manifest["inputs"]} == {
        path.name for path in (tmp_path / "inputs").iterdir()
    }
    for name, described in manifest["inputs"].items():
        same_tensors(described, inputs.input_path(folder, name))
    assert list(manifest["outputs"]) == ["initial", "step_0000", "step_0001", *evaluations]
    for name, described in manifest["outputs"].items():
        same_tensors(described, inputs.expected_path(config, folder, "pytorch", name))
        for entry in described:
            group = entry["name"].partition("/")[0]
            if precision == "bf16":
                decided = entry["dtype"].startswith("I")
                assert decided or 2.0**-8 <= entry["tolerance"] <= 2.0**-5
                assert not decided or entry["tolerance"] == compare.DECIDED
            elif inputs.decides(entry["name"]):
                assert entry["tolerance"] == compare.FLIPPED
            else:
                assert entry["tolerance"] == facts.tolerances["fp32"][group]
    names = [entry["name"].partition("/") for entry in manifest["outputs"]["step_0001"]]
    parameters = benchmark.module(application, "parameters")
    specification = parameters.specification(config)
    trained = [name for name, one in specification.items() if one.trained]
    statistics = [name for name, one in specification.items() if not one.trained]
    assert list(dict.fromkeys(group for group, _, _ in names)) == [
        "activation", "loss", "gradient", *facts.optimizer_sums, "parameter",
        *["statistic"] * bool(statistics),
    ]  # fmt: skip
    for group, forward in {"activation": parameters.points(config), "parameter": trained,
                           "statistic": statistics}.items():  # fmt: skip
        assert [name for found, _, name in names if found == group] == list(forward)


def test_the_config_says_every_number(tmp_path):
    facts = written(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert (saved["steps"], saved["learning_rates"]) == (2, [0.002, 0.002])
    assert saved["evaluations"] == 1
    config = inputs.read_config(facts, str(tmp_path))
    assert (config.application, config.seed, config.precision) == ("recommendation", 1, "fp32")
    assert config.num_users > 0  # counted in the data


def test_looking_inside_a_step_is_taken_back(tmp_path):
    """Two steps: parameters and moving statistics moved twice."""
    facts = written(tmp_path, "image_classification")
    numbers.lead(facts, tmp_path)
    first, last = (inputs.load(inputs.output_path(str(tmp_path), "reference", name))
                   for name in ("initial", "step_0001"))
    statistic = "statistic/stem_norm.running_mean"
    np.testing.assert_array_equal(last[statistic], first[statistic] + 2.0)
    assert beyond(facts, tmp_path, "reference") == []  # the optimizer's formula as well


def test_two_records_are_compared_in_forward_order(tmp_path, capsys):
    facts, folder = written(tmp_path), str(tmp_path)
    numbers.lead(facts, tmp_path)
    numbers.dump(facts, tmp_path, "copy")
    assert compare.report(facts, folder, "reference")
    assert capsys.readouterr().out.endswith("  AGREES\n")
    numbers.dump(facts, tmp_path, "another", numbers.DoubleGradient)
    # Each step's gradient and its sums; their formula holds, and of Adam's first step the update.
    weight = "mf_user.weight"
    sums = [f"{group}/{weight}" for group in ("gradient", *facts.optimizer_sums)]
    found = beyond(facts, tmp_path, "another")
    assert found == [
        *(("step_0000", name) for name in sums),
        *(("step_0001", name) for name in (*sums, f"parameter/{weight}")),
    ]
    assert not compare.report(facts, folder, "reference")
    first, second = capsys.readouterr().out.split("copy against reference")
    assert "another against reference" in first
    assert "mf_user.weight  BEYOND" in first
    assert (
        "DIFFERS first at step_0000 gradient/mf_user.weight: 1.0e+00, tolerance 1e-05\n"
    ) in first
    assert second.endswith("  AGREES\n")


def test_what_is_missing_and_what_nobody_asked_for_is_named(tmp_path, capsys):
    facts = written(tmp_path)
    numbers.lead(facts, tmp_path)
    numbers.dump(facts, tmp_path, "other")
    path = inputs.output_path(str(tmp_path), "other", "step_0000")
    tensors = inputs.load(path)
    tensors["activation/more"] = np.zeros(3, np.float32)
    del tensors["activation/logits"]
    inputs.save_tensors(path, tensors)
    assert not compare.report(facts, str(tmp_path), "reference")
    shown = capsys.readouterr().out
    assert "  not asked for: step_0000 activation/more\n" in shown
    assert "DIFFERS first at step_0000 activation/logits: inf, tolerance 1e-06 (missing)" in shown


class Dies(numbers.Trainer):
    def train_step(self, batch, step):
        if step == 1:
            raise InterruptedError
        return super().train_step(batch, step)


@pytest.mark.parametrize("recorded", [numbers.lead, numbers.dump])
def test_a_record_appears_whole_or_not_at_all(recorded, tmp_path):
    facts = written(tmp_path)
    numbers.lead(facts, tmp_path)
    with pytest.raises(InterruptedError):
        recorded(facts, tmp_path, "copy", Dies)
    assert inputs.recorded(str(tmp_path)) == ["reference"]
    numbers.dump(facts, tmp_path, "copy")
    assert inputs.recorded(str(tmp_path)) == ["copy", "reference"]


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_states_are_the_leaders_whole_and_no_followers(application, tmp_path):
    facts = written(tmp_path, application, steps=3)
    numbers.lead(facts, tmp_path)
    files = {path: path.read_bytes() for path in sorted((tmp_path / "inputs").iterdir())}
    for step in (1, 2):
        state = inputs.load(inputs.input_path(tmp_path, f"state_{step:04d}"))
        left = inputs.load(inputs.output_path(tmp_path, "reference", f"step_{step - 1:04d}"))
        groups = ("parameter", "statistic", *facts.optimizer_sums)
        left = {name: array for name, array in left.items() if inputs.group(name) in groups}
        assert state.keys() == left.keys()
        for name, array in state.items():
            np.testing.assert_array_equal(array, left[name])
    numbers.dump(facts, tmp_path, "another", numbers.DoubleGradient)
    assert files == {path: path.read_bytes() for path in sorted((tmp_path / "inputs").iterdir())}


class Watched(numbers.Trainer):
    """The last one made can be looked at."""

    last = None

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        Watched.last = self


def test_the_first_step_is_the_first_then_the_last_are(tmp_path):
    facts = written(tmp_path, steps=4)
    numbers.lead(facts, tmp_path, "reference", Watched)
    assert Watched.last.steps == [0, 1, 2, 3]
    numbers.dump(facts, tmp_path, "copy", Watched)
    assert Watched.last.steps == [0, 3, 2, 1]
    assert beyond(facts, tmp_path, "copy") == []


def forgets(group):
    """A Trainer that does not take up a group, or what a prefix of names says, from a state."""

    class Forgets(numbers.Trainer):
        def load_state(self, state):
            kept = {name: array for own, arrays in self.groups.items()
                    for name, array in inputs.flat(self.config, {own: arrays}).items()
                    if name.startswith(group)}  # fmt: skip
            super().load_state(inputs.nested(inputs.flat(self.config, state) | kept))

    return Forgets


@pytest.mark.parametrize(("application", "group"), [
    ("recommendation", "first_moment/"),
    ("recommendation", "second_moment/mlp.1.bias"),
    ("image_classification", "velocity/"),
    ("image_classification", "statistic/"),
    ("image_classification", "parameter/classifier.bias"),
])  # fmt: skip
def test_what_load_state_does_not_take_up_differs(application, group, tmp_path):
    facts = written(tmp_path, application, steps=3)
    numbers.lead(facts, tmp_path)
    numbers.dump(facts, tmp_path, "copy", forgets(group))
    found = beyond(facts, tmp_path, "copy")
    assert {dump for dump, name in found if group in name} >= {"step_0001", "step_0002"}
    # To look inside a step it is taken back, and statistics move in a forward pass already.
    assert ("step_0000" in dict(found)) == (group == "statistic/")


def test_what_writes_in_place_behind_a_record_does_no_harm():
    """keep copies: a ReLU in place that follows does not reach what was recorded."""
    from common.parameters import keep

    points, x = {}, np.array([-1.0, 2.0])
    record = keep(points)
    record("before", x)
    np.maximum(x, 0.0, out=x)
    record("after", x)
    assert points["before"].tolist() == [-1.0, 2.0]
    assert points["after"].tolist() == [0.0, 2.0]


class EvaluatesWithItsOwn(numbers.Trainer):
    """An evaluation by the parameters that training left."""

    def evaluate(self, batch):
        self.load_state({"parameter": self.initial})
        return super().evaluate(batch)

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.initial = parameters


def test_an_evaluation_is_with_the_given_parameters(tmp_path):
    facts = written(tmp_path)
    numbers.lead(facts, tmp_path)
    numbers.dump(facts, tmp_path, "other", EvaluatesWithItsOwn)
    assert ("evaluation_0000", "evaluation/scores") in beyond(facts, tmp_path, "other")


def test_with_given_masks_a_record_is_a_pass_forward_and_back(tmp_path):
    facts = written(tmp_path, "translation", dropout=0.1, batch_tokens=64, max_length=16)
    numbers.lead(facts, tmp_path)
    numbers.dump(facts, tmp_path, "copy")
    rows = list(compare.rows(facts, str(tmp_path), "reference", "copy"))
    assert not any(row.beyond for row in rows)
    assert {inputs.group(row.name) for row in rows if row.dump.startswith("step")} == {
        "activation", "loss", "gradient", compare.SCALE
    }  # fmt: skip
    batch = inputs.load(inputs.input_path(tmp_path, "batch_0000"))
    config = inputs.read_config(facts, str(tmp_path))
    masks = [array for name, array in batch.items() if name.startswith("mask_")]
    # Two of each embedding, and four and six of each layer.
    assert len(masks) == 2 + 10 * config.num_layers == len(inputs.given_masks(config))
    kept = np.concatenate([mask.ravel() for mask in masks]).mean()
    assert kept == pytest.approx(0.9, abs=0.01)


def test_a_record_in_bf16_is_held_against_the_reference_in_fp64(tmp_path):
    facts, folder = written(tmp_path, precision="bf16"), str(tmp_path)
    numbers.lead(facts, tmp_path)
    config = inputs.read_config(facts, folder)
    loss = inputs.load(inputs.expected_path(config, folder, "reference", "step_0000"))["loss"]
    assert loss.dtype == np.float64
    numbers.dump(facts, tmp_path, "copy")
    assert beyond(facts, tmp_path, "copy") == []
    inputs.check(facts, folder, "reference", [])
    (tmp_path / "exact" / "step_0001.safetensors").unlink()
    with pytest.raises(UserError, match=r"exact/step_0001\.safetensors: cannot be read"):
        inputs.check(facts, folder, "reference", [])
