"""A folder of records: every tensor is in the manifest, with a meaning, in forward order."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from common import benchmark
from common.errors import UserError
from common.parity import compare, inputs
from tests.cells import APPLICATIONS
from tests.common.parity import numbers

VALUES = SimpleNamespace(profile="quick", seed=1, steps=2, set=[])


def written(folder, application="recommendation"):
    """The Benchmark of an application whose parameters and batches lie in the folder."""
    inputs.write(application, str(folder), "fp32", VALUES)
    return benchmark.benchmark_of(application)


def same_tensors(described, path):
    """Whether the manifest describes each tensor of a file as it is, and has words for it."""
    tensors = inputs.load(path)
    assert {entry["name"] for entry in described} == tensors.keys()
    for entry in described:
        array = tensors[entry["name"]]
        assert (entry["dtype"], entry["shape"]) == (str(array.dtype), list(array.shape))
        assert len(entry["meaning"]) > 3, entry


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_manifest_tells_of_every_tensor(application, tmp_path):
    folder = str(tmp_path)
    facts = written(tmp_path, application)
    numbers.dump(facts, tmp_path, "pytorch")
    config = inputs.read_config(facts, folder)
    inputs.write_manifest(facts, config, folder, "pytorch")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["application"] == application
    assert manifest["inputs"].keys() == {"parameters", "batch_0000", "batch_0001"}
    for name, described in manifest["inputs"].items():
        same_tensors(described, inputs.input_path(folder, name))
    assert list(manifest["outputs"]) == ["initial", "step_0000", "step_0001"]
    order = list(inputs.forward_order(facts, config))
    for name, described in manifest["outputs"].items():
        same_tensors(described, inputs.output_path(folder, "pytorch", name))
        places = [order.index(entry["name"]) for entry in described]
        assert places == sorted(places)
        for entry in described:
            group = entry["name"].partition("/")[0]
            assert entry["tolerance"] == facts.tolerances["fp32"][group]
    groups = [entry["name"].partition("/")[0] for entry in manifest["outputs"]["step_0001"]]
    assert list(dict.fromkeys(groups)) == [
        "activation", "loss", "gradient", *facts.optimizer_sums, "parameter",
        *["prediction"] * bool(facts.predictions),
    ]  # fmt: skip


def test_the_config_says_every_number(tmp_path):
    facts = written(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert (saved["steps"], saved["learning_rates"]) == (2, [0.002, 0.002])
    config = inputs.read_config(facts, str(tmp_path))
    assert (config.application, config.seed, config.precision) == ("recommendation", 1, "fp32")
    assert config.num_users > 0
    assert inputs.dumps(str(tmp_path)) == ["initial", "step_0000", "step_0001"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('{"steps": 2, "application": "os"}', "the record of another application"),
        ('{"steps": 2, "application": "recommendation"}', "config: adam_beta1: expected "),
        ('{"steps": "2"}', "damaged (no steps). Make the record again."),
        ("[1]", "damaged (no steps)"),
        ("{", "config.json: damaged"),
        (None, "No such file or directory. Make a record with --record."),
    ],
)
def test_what_is_no_record_is_one_line(change, words, tmp_path):
    if change:
        (tmp_path / "config.json").write_text(change)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        inputs.read_config(benchmark.benchmark_of("recommendation"), str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_damaged_dump_is_one_line(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(UserError, match=r"x\.safetensors: cannot be read"):
        inputs.load(str(tmp_path / "x.safetensors"))


def test_each_precision_has_a_folder(tmp_path):
    assert inputs.folders("r", ["fp32"]) == {"fp32": "r"}
    assert inputs.folders("r", ["fp32", "fp64"]) == {"fp32": "r/fp32", "fp64": "r/fp64"}


def test_looking_inside_a_step_is_taken_back(tmp_path):
    """Two steps: parameters moved twice, and so did the moving statistics."""
    facts = written(tmp_path, "image_classification")
    numbers.dump(facts, tmp_path, "numbers")
    first, last = (inputs.load(inputs.output_path(str(tmp_path), "numbers", name))
                   for name in ("initial", "step_0001"))
    statistic, weight = "parameter/stem_norm.running_mean", "parameter/classifier.weight"
    np.testing.assert_array_equal(last[statistic], first[statistic] + 2.0)
    moved = 2 * 0.1 * last["gradient/classifier.weight"]
    np.testing.assert_allclose(last[weight], first[weight] - moved, rtol=1e-5, atol=1e-6)


def test_two_records_are_compared_in_forward_order(tmp_path, capsys):
    facts = written(tmp_path)
    config = inputs.read_config(facts, str(tmp_path))
    numbers.dump(facts, tmp_path, "reference")
    numbers.dump(facts, tmp_path, "copy")
    numbers.dump(facts, tmp_path, "wrong", numbers.DoubleGradient)
    assert inputs.recorded(str(tmp_path)) == ["copy", "reference", "wrong"]
    place = (facts, config, "fp32", str(tmp_path), "reference")
    assert compare.report(*place, ["copy"])
    assert capsys.readouterr().out.rstrip().endswith("AGREES")
    rows, odd = compare.compare(*place, "wrong")
    assert odd == []
    names = [(r.dump, r.name) for r in rows if r.beyond]
    # Each step's gradient, and what it moved: nothing else.
    assert names == [
        ("step_0000", "gradient/mf_user.weight"), ("step_0000", "parameter/mf_user.weight"),
        ("step_0001", "gradient/mf_user.weight"), ("step_0001", "parameter/mf_user.weight"),
    ]  # fmt: skip
    assert not compare.report(*place, ["copy", "wrong"])
    shown = capsys.readouterr().out
    assert "AGREES" in shown and "mf_user.weight  BEYOND" in shown
    assert shown.rstrip().endswith(
        "DIFFERS first at step_0000 gradient/mf_user.weight: 1.0e+00, tolerance 5e-05"
    )


def test_what_is_missing_and_what_nobody_asked_for_is_named(tmp_path, capsys):
    facts = written(tmp_path)
    config = inputs.read_config(facts, str(tmp_path))
    for name in ("reference", "other"):
        numbers.dump(facts, tmp_path, name)
    path = inputs.output_path(str(tmp_path), "other", "step_0000")
    tensors = inputs.load(path)
    tensors["activation/more"] = np.zeros(3, np.float32)
    del tensors["activation/logits"]
    inputs.save_tensors(path, tensors)
    place = (facts, config, "fp32", str(tmp_path), "reference")
    assert not compare.report(*place, ["other"])
    shown = capsys.readouterr().out
    assert "not asked for: step_0000 activation/more" in shown
    assert "DIFFERS first at step_0000 activation/logits: inf" in shown
    assert "(missing)" in shown
    with pytest.raises(UserError, match="states no tolerances for it, but for fp32, fp64"):
        compare.compare(facts, config, "bf16", *place[3:], "other")


def test_a_record_appears_whole_or_not_at_all(tmp_path):
    class Dies(numbers.Trainer):
        def train_step(self, batch, step):
            if step == 1:
                raise InterruptedError
            return super().train_step(batch, step)

    facts = written(tmp_path)
    numbers.dump(facts, tmp_path, "reference")
    with pytest.raises(InterruptedError):
        numbers.dump(facts, tmp_path, "copy", Dies)
    assert inputs.recorded(str(tmp_path)) == ["reference"]
    numbers.dump(facts, tmp_path, "copy")
    assert inputs.recorded(str(tmp_path)) == ["copy", "reference"]
