"""Killed anywhere, a run resumes and ends as if nothing had happened."""

import os
import pathlib

import pytest

from common import checkpoint
from tests.conftest import FRAMEWORKS
from tests.end_to_end.runs import assert_same_bits, kill_when, saved_step, script

APPLICATION = "image_classification"
SHORT = ["--seed=1", "--max_epochs=2", "--target=1.1", "--set", "batch_size=100",
         "--set", "checkpoint_every_steps=15", "--set", "image_size=32", "--set", "resize_size=32"]


def arguments(framework, folder, *more):
    return [script(APPLICATION, framework), f"--output_dir={folder}", *SHORT, *more]


def moments(folder: pathlib.Path):
    """Conditions, each met once in a run: in a step, while evaluating, while saving."""
    log = folder / "run.log"

    def logged(text, times=1):
        return lambda: log.exists() and log.read_text(errors="replace").count(text) >= times

    return {
        "in a step": saved_step(folder, 30),
        "while evaluating": logged('"eval_start"'),
        "while saving": lambda: any(folder.glob("checkpoint/step_0000000045*.tmp")),
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
    assert_same_bits(tmp_path / "whole", folder)
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


def test_one_checkpoint_for_all_frameworks(relay):
    """pytorch, then tensorflow, then paddlepaddle meet the curve of pytorch alone.

    With coefficients that float32 holds exactly, since PaddlePaddle keeps them so; and at a small
    learning rate: at the quick one rounding grows tenfold with each step.
    """
    flags = ["image_size=32", "resize_size=32", "batch_size=400", "learning_rate_per_256=0.002",
             "momentum=0.875", "batch_norm_momentum=0.875", f"batch_norm_epsilon={2**-16}"]
    gaps = relay(*(f"--set={flag}" for flag in flags))
    assert max(gaps.values()) < 1e-10, gaps  # 4e-14 was seen
