"""What end-to-end tests do alike.  A test module names its APPLICATION for `quick` and `relay`."""

import functools

import numpy as np
import pytest

from tests.end_to_end.runs import curve_of, last_state, script


@pytest.fixture(scope="module")
def quick(request, command, tmp_path_factory):
    """quick(framework): the folder of a quick run to its target with seed 1, made once a module.

    What it printed lies there as `stdout`.
    """

    @functools.cache
    def run(framework):
        folder = tmp_path_factory.mktemp(framework) / "run"
        done = command(script(request.module.APPLICATION, framework), "--seed=1",
                       f"--output_dir={folder}")
        (folder / "stdout").write_text(done.stdout)
        return folder

    return run


@pytest.fixture
def relay(request, command, tmp_path):
    """relay(*flags): {name: difference over norm} of what a checkpoint holds, in two ways.

    Three epochs of pytorch alone, and one of pytorch, resumed by tensorflow, then by paddlepaddle.
    Asserts that the quality curves are equal.
    """

    def run(*flags):
        def go(framework, folder, epochs, *more):
            command(script(request.module.APPLICATION, framework), "--seed=1", "--target=1.1",
                    "--precision=fp64", f"--output_dir={tmp_path / folder}",
                    f"--max_epochs={epochs}", *flags, *more, check=False)

        go("pytorch", "alone", 3)
        go("pytorch", "relay", 1)
        go("tensorflow", "relay", 2, "--resume")
        go("paddlepaddle", "relay", 3, "--resume")
        curves = [curve_of(tmp_path / folder) for folder in ("alone", "relay")]
        assert len(curves[0]) == 3
        assert curves[0] == curves[1]
        alone, passed = last_state(tmp_path / "alone"), last_state(tmp_path / "relay")
        assert alone.keys() == passed.keys()
        return {n: np.linalg.norm(a - passed[n]) / np.linalg.norm(a) for n, a in alone.items()}

    return run


@pytest.fixture(scope="session")
def error_line(command):
    """Runs a command with a fault of the user's; returns the one line that it ends with."""

    def run(*arguments, **more):
        done = command(*arguments, check=False, **more)
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if line]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return run
