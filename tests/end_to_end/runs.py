"""A run from outside: its command, its folder, and how it is killed."""

import json
import os
import signal
import subprocess
import time

import safetensors.numpy

from common import check_log, checkpoint
from tests.conftest import ROOT


def script(application, framework):
    """The command that a user types, from the repository's root."""
    return f"./{application}/{framework}/run_and_time.sh"


def result_of(folder):
    """result.json."""
    return json.loads((folder / "result.json").read_text())


def curve_of(folder):
    """The quality after each evaluation."""
    return [entry["value"] for entry in result_of(folder)["quality_curve"]]


def assert_log_is_in_order(folder):
    """By the strict order of events."""
    _, events = check_log.read(str(folder))
    assert check_log.order_faults(events) == []


def last_state(folder):
    """{name: array} of the newest checkpoint."""
    return safetensors.numpy.load_file(checkpoint.paths(str(folder / "checkpoint"))[-1])


def assert_same_bits(folder, other):
    """The newest checkpoints hold the same parameters and sums, bit for bit."""
    one, two = last_state(folder), last_state(other)
    assert one.keys() == two.keys()
    for name, array in one.items():
        assert array.tobytes() == two[name].tobytes(), name


def saved_step(folder, step):
    """A condition for kill_when: the checkpoint of a step is there."""
    return (folder / "checkpoint" / f"step_{step:010d}.safetensors").exists


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
