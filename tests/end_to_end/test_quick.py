"""The command that a user types first, in each cell, to the real target."""

import numpy as np
import pytest

from common import benchmark
from common.command import FRAMEWORKS
from tests.cells import APPLICATIONS, CELLS, cell
from tests.end_to_end.runs import judged


@pytest.mark.parametrize(("application", "framework_name"), CELLS)
def test_quick_reaches_its_target_and_its_log_is_valid(application, framework_name, ran):
    quick = ran(application, framework_name, "quick")
    assert quick.stderr == ""  # no framework greets where errors are told
    assert quick.code == 0
    result = quick.result()
    config = benchmark.module(application, "config").QUICK
    quality = benchmark.benchmark_of(application).quality(config)
    target = quality.targets(config.target)
    assert result["target"] == target
    assert quality.met(result["quality"], target)
    shown = ";".join(f"{metric}={value:.4f}" for metric, value in result["quality"].items())
    seconds = f"{result['seconds_to_quality']:.1f}"
    assert quick.stdout.splitlines()[-1] == (
        f"RESULT,{application},{framework_name},1,{seconds},{shown},success"
    )
    assert result["examples_per_second"] > 0
    curve = result["quality_curve"]
    first = config.evaluate_first_epoch
    assert [entry["epoch"] for entry in curve] == list(range(first, first + len(curve)))
    assert curve[-1]["quality"] == result["quality"]
    assert not any(quality.met(entry["quality"], target) for entry in curve[:-1])
    assert judged(quick.folder)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_frameworks_learn_alike(application, ran):
    """After each epoch that all of them needed."""
    curves = {name: ran(application, name, "quick").curve() for name in FRAMEWORKS}
    print(curves)
    epochs = min(map(len, curves.values()))
    for name in FRAMEWORKS:
        gaps = np.abs(np.array(curves[name][:epochs]) - curves["pytorch"][:epochs])
        assert gaps.max() <= cell(application).QUICK_GAP, curves
