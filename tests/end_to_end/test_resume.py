"""Killed anywhere, a run resumes and ends as if nothing had happened."""

import json
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest
import safetensors.numpy

from common import checkpoint
from tests.conftest import FRAMEWORKS, ROOT

SHORT = ["--seed=1", "--max_epochs=2", "--target=1.1", "--set", "batch_size=100",
         "--set", "checkpoint_every_steps=15", "--set", "image_size=32", "--set", "resize_size=32"]


def arguments(framework, folder, *more):
    script = f"./image_classification/{framework}/run_and_time.sh"
    return [script, f"--output_dir={folder}", *SHORT, *more]


def last_state(folder):
    return safetensors.numpy.load_file(checkpoint.paths(str(folder / "checkpoint"))[-1])


def kill_when(command, condition):
    """Starts a run in a process group of its own; kills the group when the condition holds."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not condition():
        assert process.poll() is None, "ended before it could be killed"
        assert time.time() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def moments(folder: pathlib.Path):
    """Conditions, each met once in a run: in a step, while evaluating, while saving."""
    log = folder / "run.log"
    saved = folder / "checkpoint"

    def logged(text, times=1):
        return lambda: log.exists() and log.read_text(errors="replace").count(text) >= times

    return {
        "in a step": lambda: (saved / "step_0000000030.safetensors").exists(),
        "while evaluating": logged('"eval_start"'),
        "while saving": lambda: any(saved.glob("step_0000000045*.tmp")),
    }


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_resumed_run_is_bitwise_the_uninterrupted_one(framework_name, command, tmp_path):
    command(*arguments(framework_name, tmp_path / "whole"), check=False)
    folder = tmp_path / "killed"
    kill_when(arguments(framework_name, folder), moments(folder)["in a step"])
    for moment in ("while evaluating", "while saving"):
        try:
            kill_when(arguments(framework_name, folder, "--resume"), moments(folder)[moment])
        except AssertionError as fault:
            # A save can be over before it is seen: then the run has ended, resumed all the same.
            assert moment == "while saving" and "ended before" in str(fault)
    if not (folder / "result.json").exists():
        command(*arguments(framework_name, folder, "--resume"), check=False)
    whole, resumed = last_state(tmp_path / "whole"), last_state(folder)
    assert whole.keys() == resumed.keys()
    for name, array in whole.items():
        assert array.tobytes() == resumed[name].tobytes(), name
    judged = command(os.sys.executable, "-m", "common.check_log", folder, check=False)
    assert judged.stdout.count("PASS") == 2, judged.stdout


def test_a_finished_run_and_a_foreign_checkpoint_are_refused(command, tmp_path):
    run = arguments("pytorch", tmp_path / "run", "--max_epochs=1")
    command(*run, check=False)
    again = command(*run, check=False)
    assert again.returncode == 1
    assert "holds a run already" in again.stderr
    other = command(*run, "--resume", "--max_epochs=2", "--set", "stem_width=8", check=False)
    assert other.returncode == 1
    assert "stem_width was 16, now it is 8" in other.stderr
    newest = checkpoint.paths(str(tmp_path / "run" / "checkpoint"))[-1]
    with open(newest, "r+b") as opened:
        opened.seek(-100, os.SEEK_END)
        opened.write(b"\0" * 50)
    damaged = command(*run, "--resume", "--max_epochs=2", check=False)
    assert damaged.returncode == 1
    assert "damaged" in damaged.stderr


def test_one_checkpoint_for_all_frameworks(command, tmp_path):
    """pytorch, then tensorflow, then paddlepaddle meet the curve of pytorch alone.

    In float64, with coefficients that float32 holds exactly, since PaddlePaddle keeps them so; and
    at a small learning rate: at the quick one rounding grows tenfold with each step.
    """
    flags = ["--precision=fp64"]
    for number in ("batch_size=400", "learning_rate_per_256=0.002", "momentum=0.875",
                   "batch_norm_momentum=0.875", f"batch_norm_epsilon={2**-16}"):
        flags += ["--set", number]

    def go(framework, folder, epochs, *more):
        command(*arguments(framework, folder, *flags, f"--max_epochs={epochs}", *more), check=False)

    go("pytorch", tmp_path / "alone", 3)
    go("pytorch", tmp_path / "relay", 1)
    go("tensorflow", tmp_path / "relay", 2, "--resume")
    go("paddlepaddle", tmp_path / "relay", 3, "--resume")
    alone, relay = last_state(tmp_path / "alone"), last_state(tmp_path / "relay")
    assert alone.keys() == relay.keys()
    for name, array in alone.items():
        gap = np.linalg.norm(array - relay[name]) / np.linalg.norm(array)
        assert gap < 1e-10, name  # 4e-14 was seen
    results = [json.loads((tmp_path / f / "result.json").read_text()) for f in ("alone", "relay")]
    curves = [[entry["value"] for entry in result["quality_curve"]] for result in results]
    assert len(curves[0]) == 3
    assert curves[0] == curves[1]
