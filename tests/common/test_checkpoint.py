"""Checkpoints appear whole or not at all, and nothing damaged or foreign is loaded."""

import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import checkpoint
from common.errors import UserError
from tests.common import fake
from tests.conftest import ROOT

STATE = {
    "parameter": {"weight": np.arange(12.0).reshape(3, 4).T, "scalar": np.float32(3)},
    "velocity": {"weight": np.zeros((0, 2), np.float32)},
}


def saved(folder, step=1, state=STATE):
    checkpoint.save(str(folder), state, {"step": step, "config": {"seed": 5}})
    return checkpoint.path(str(folder), step)


def test_what_is_saved_is_loaded(tmp_path):
    """A transposed array, a scalar and an empty one among it."""
    loaded = checkpoint.load(saved(tmp_path), STATE)
    for group, arrays in STATE.items():
        for name, array in arrays.items():
            assert np.array_equal(loaded[group][name], array)
            assert loaded[group][name].dtype == np.asarray(array).dtype
            assert loaded[group][name].shape == np.shape(array)


def test_the_newest_two_are_kept(tmp_path):
    for step in (1, 2, 10):
        saved(tmp_path, step)
    assert sorted(os.listdir(tmp_path)) == [
        "step_0000000002.safetensors", "step_0000000010.safetensors",
    ]  # fmt: skip
    assert checkpoint.paths(str(tmp_path))[-1].endswith("10.safetensors")


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_loaded_unseen(place, bit, tmp_path_factory):
    """Wherever it is: refused, or (in the header's padding) without effect."""
    path = saved(tmp_path_factory.mktemp("flip"))
    with open(path, "r+b") as opened:
        content = bytearray(opened.read())
        content[int(place * len(content))] ^= 1 << bit
        opened.seek(0)
        opened.write(content)
    try:
        loaded = checkpoint.load(path, STATE)
    except UserError as error:
        assert "\n" not in str(error)
        return
    for group, arrays in STATE.items():
        for name, array in arrays.items():
            assert np.array_equal(loaded[group][name], array)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_torn_file_is_named(keep, tmp_path):
    path = saved(tmp_path)
    with open(path, "r+b") as opened:
        opened.truncate(keep if keep >= 0 else os.path.getsize(path) + keep)
    with pytest.raises(UserError, match=r"step_0000000001.safetensors: damaged .*Remove it"):
        checkpoint.load(path, STATE)


def test_another_model_is_refused(tmp_path):
    path = saved(tmp_path)
    wider = {"parameter": STATE["parameter"] | {"weight": np.zeros((4, 5))},
             "velocity": STATE["velocity"]}
    with pytest.raises(UserError, match=r"another model: parameter/weight is \(4, 3\).*\(4, 5\)"):
        checkpoint.load(path, wider)
    deeper = {**STATE, "more": {"x": np.zeros(1)}}
    with pytest.raises(UserError, match="another model: more/x is nothing"):
        checkpoint.load(path, deeper)


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    path = saved(tmp_path)
    monkeypatch.undo()
    with pytest.raises(UserError, match=f"written in format {checkpoint.FORMAT + 1}"):
        checkpoint.load(path, STATE)


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    """The limit on a file's size stands for the disk's."""
    first = saved(tmp_path)
    code = (
        "import numpy as np, sys\n"
        "from common import checkpoint\n"
        "from common.errors import UserError\n"
        "state = {'parameter': {'weight': np.ones(100_000)}}\n"
        f"try: checkpoint.save({str(tmp_path)!r}, state, {{'step': 2}})\n"
        "except UserError as error: sys.exit(str(error))\n"
    )

    def small_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run([sys.executable, "-c", code], preexec_fn=small_disk, cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "step_0000000002.safetensors" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert os.listdir(tmp_path) == [os.path.basename(first)]
    checkpoint.load(first, STATE)


def test_a_disk_without_room_is_one_line(tmp_path, monkeypatch):
    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.safetensors.numpy, "save_file", full)
    with pytest.raises(UserError, match=r"the disk is full\. Make room and --resume"):
        saved(tmp_path)
    assert os.listdir(tmp_path) == []


def test_killed_while_saving_nothing_is_torn(tmp_path):
    """The process dies at the last moment before the file gets its name."""
    first = saved(tmp_path)
    code = (
        "import os, numpy as np\n"
        "from common import checkpoint\n"
        "checkpoint.os.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        f"checkpoint.save({str(tmp_path)!r}, {{'parameter': {{'w': np.ones(9)}}}}, {{'step': 2}})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == -9
    assert checkpoint.paths(str(tmp_path)) == [first]


def test_a_run_killed_anywhere_ends_as_if_it_had_not_been(tmp_path):
    """Stopped before each of its steps in turn, resumed each time, it does the same sums."""
    changes = {"num_epochs": 3, "target": 1.1, "checkpoint_every_steps": 3}
    values = [0.1, 0.2, 0.3]
    fake.run(fake.config_of(tmp_path / "whole", **changes), values)
    folder, stops = tmp_path / "cut", []

    def stop_once_at_each(running):
        if running.steps not in stops:
            stops.append(running.steps)
            raise InterruptedError

    config = fake.config_of(folder, **changes)
    for attempt in range(20):
        resumed = fake.config_of(folder, resume=attempt > 0, **changes)
        try:
            fake.run(resumed, values, before_step=stop_once_at_each)
            break
        except InterruptedError:
            continue
    assert stops == list(range(12))
    ends = [checkpoint.load(checkpoint.paths(str(f / "checkpoint"))[-1],
                            fake.Trainer().state())["parameter"]["numbers"]
            for f in (tmp_path / "whole", folder)]
    assert ends[0].tobytes() == ends[1].tobytes()
    results = [json.loads((f / "result.json").read_text()) for f in (tmp_path / "whole", folder)]
    assert results[0]["resumed"] == 0
    assert results[1]["resumed"] > 0
    assert [[e["quality"]["top1_accuracy"] for e in r["quality_curve"]] for r in results] == [
        values, values]
    assert config.seed == results[1]["seed"]


def test_resuming_over_a_damaged_checkpoint_says_what_to_do(tmp_path):
    changes = {"num_epochs": 2, "target": 1.1}
    fake.run(fake.config_of(tmp_path, **changes), [0.1, 0.2])
    newest = checkpoint.paths(str(tmp_path / "checkpoint"))[-1]
    with open(newest, "r+b") as opened:
        opened.truncate(50)
    again = fake.config_of(tmp_path, resume=True, num_epochs=3, target=1.1)
    with pytest.raises(UserError, match="Remove it to resume from the checkpoint before"):
        fake.run(again, [0.1, 0.2, 0.3])
    os.remove(newest)
    assert fake.run(again, [0.1, 0.2, 0.3]).position.curve[-1]["quality"] == {"top1_accuracy": 0.3}
