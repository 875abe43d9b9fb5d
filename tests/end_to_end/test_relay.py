"""One checkpoint for all frameworks."""

import shutil

import numpy as np
import pytest

from tests.cells import APPLICATIONS, cell, script
from tests.end_to_end.runs import Ran, last_state, tiny


@pytest.mark.parametrize("application", APPLICATIONS)
def test_frameworks_hand_a_run_on(application, ran, tiny_data, command, tmp_path):
    """An epoch of pytorch, resumed by tensorflow, then by paddlepaddle: the curve and the weights
    of pytorch alone, in float64."""

    def run(framework, folder, epochs, *more):
        done = command(script(application, framework), *tiny(application, tiny_data(application)),
                       "--precision=fp64", f"--max_epochs={epochs}", *more,
                       f"--output_dir={folder}", check=False)
        assert done.returncode == 2, done.stderr
        return Ran(folder, done.returncode, done.stdout, done.stderr)

    alone = run("pytorch", tmp_path / "alone", 3)
    shutil.copytree(ran(application, "pytorch", "one").folder, tmp_path / "relay")
    run("tensorflow", tmp_path / "relay", 2, "--resume")
    passed = run("paddlepaddle", tmp_path / "relay", 3, "--resume")
    assert len(alone.curve()) == 3
    assert alone.curve() == passed.curve()
    expected, found = last_state(alone.folder), last_state(passed.folder)
    assert expected.keys() == found.keys()
    gaps = {name: np.linalg.norm(array - found[name]) / (np.linalg.norm(array) or 1.0)
            for name, array in expected.items()}
    print(f"largest gap {max(gaps.values()):.1e}")
    assert max(gaps.values()) < cell(application).RELAY_GAP, gaps
