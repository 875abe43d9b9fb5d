"""A folder of records: every tensor is in the manifest, with a meaning, in forward order."""

import dataclasses
import json

import numpy as np
import pytest

from common import benchmark
from common.parity import compare, inputs
from tests.cells import APPLICATIONS
from tests.common.parity import numbers


def written(folder, application="recommendation"):
    """The Benchmark of an application whose parameters and two batches lie in the folder."""
    module = benchmark.module(application, "config")
    config = dataclasses.replace(module.QUICK, application=application, seed=1)
    inputs.write(module.check(config), 2, str(folder))
    return benchmark.benchmark_of(application)


WORDS = {"float32": "F32", "uint8": "U8", "int32": "I32", "int64": "I64", "bool": "BOOL"}


def same_tensors(described, path):
    """Whether the manifest describes each tensor of a file as it is, and has words for it."""
    tensors = inputs.load(path)
    assert {entry["name"] for entry in described} == tensors.keys()
    for entry in described:
        array = tensors[entry["name"]]
        assert (entry["dtype"], entry["shape"]) == (WORDS[str(array.dtype)], list(array.shape))
        assert len(entry["meaning"]) > 3, entry


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_manifest_tells_of_every_tensor(application, tmp_path):
    folder = str(tmp_path)
    facts = written(tmp_path, application)
    numbers.dump(facts, tmp_path, "pytorch")
    inputs.write_manifest(facts, folder, "pytorch")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["application"], manifest["precision"]) == (application, "fp32")
    assert list(manifest["inputs"]) == ["parameters", "batch_0000", "batch_0001"]
    for name, described in manifest["inputs"].items():
        same_tensors(described, inputs.input_path(folder, name))
    assert list(manifest["outputs"]) == ["initial", "step_0000", "step_0001"]
    for name, described in manifest["outputs"].items():
        same_tensors(described, inputs.output_path(folder, "pytorch", name))
        for entry in described:
            group = entry["name"].partition("/")[0]
            assert entry["tolerance"] == facts.tolerances["fp32"][group]
    names = [entry["name"].partition("/") for entry in manifest["outputs"]["step_0001"]]
    assert list(dict.fromkeys(group for group, _, _ in names)) == [
        "activation", "loss", "gradient", *facts.optimizer_sums, "parameter",
        *["prediction"] * bool(facts.predictions),
    ]  # fmt: skip
    config = inputs.read_config(facts, folder)
    parameters = benchmark.module(application, "parameters")
    for group, forward in {"activation": parameters.points(config),
                           "parameter": parameters.specification(config)}.items():  # fmt: skip
        assert [name for found, _, name in names if found == group] == list(forward)


def test_the_config_says_every_number(tmp_path):
    facts = written(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert (saved["steps"], saved["learning_rates"]) == (2, [0.002, 0.002])
    config = inputs.read_config(facts, str(tmp_path))
    assert (config.application, config.seed, config.precision) == ("recommendation", 1, "fp32")
    assert config.num_users > 0  # counted in the data


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
    facts, folder = written(tmp_path), str(tmp_path)
    for name in ("reference", "copy"):
        numbers.dump(facts, tmp_path, name)
    assert compare.report(facts, folder, "reference")
    assert capsys.readouterr().out.endswith("  AGREES\n")
    numbers.dump(facts, tmp_path, "another", numbers.DoubleGradient)
    rows = compare.rows(facts, folder, "reference", "another")
    # Each step's gradient, and what it moved: nothing else.
    assert [(row.dump, row.name) for row in rows if row.beyond] == [
        ("step_0000", "gradient/mf_user.weight"), ("step_0000", "parameter/mf_user.weight"),
        ("step_0001", "gradient/mf_user.weight"), ("step_0001", "parameter/mf_user.weight"),
    ]  # fmt: skip
    assert not compare.report(facts, folder, "reference")
    first, second = capsys.readouterr().out.split("copy against reference")
    assert "another against reference" in first
    assert "mf_user.weight  BEYOND" in first
    assert (
        "DIFFERS first at step_0000 gradient/mf_user.weight: 1.0e+00, tolerance 5e-05\n"
    ) in first
    assert second.endswith("  AGREES\n")


def test_what_is_missing_and_what_nobody_asked_for_is_named(tmp_path, capsys):
    facts = written(tmp_path)
    for name in ("reference", "other"):
        numbers.dump(facts, tmp_path, name)
    path = inputs.output_path(str(tmp_path), "other", "step_0000")
    tensors = inputs.load(path)
    tensors["activation/more"] = np.zeros(3, np.float32)
    del tensors["activation/logits"]
    inputs.save_tensors(path, tensors)
    assert not compare.report(facts, str(tmp_path), "reference")
    shown = capsys.readouterr().out
    assert "  not asked for: step_0000 activation/more\n" in shown
    assert "DIFFERS first at step_0000 activation/logits: inf, tolerance 3e-05 (missing)" in shown


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
