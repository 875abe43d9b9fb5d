"""A run from outside: its command, what it left, and how it is killed."""

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import safetensors.numpy

from common import benchmark, check_log, checkpoint, run_folder
from tests.cells import cell, script
from tests.conftest import started


@dataclass(frozen=True)
class Ran:
    """A command that has ended.  folder: its run folder."""

    folder: Path
    code: int
    stdout: str
    stderr: str

    def result(self):
        """result.json."""
        return run_folder.read_result(self.folder)

    def curve(self):
        """The quality after each evaluation, a tuple of as many numbers as metrics."""
        return [tuple(entry["quality"].values()) for entry in self.result()["quality_curve"]]


def quick(application, framework):
    """The command that a user types first."""
    return [script(application, framework), "--seed=1"]


def tiny(application, data):
    """The flags of the cells' small run, which no target ends.  data: --data_dir, or None."""
    config = benchmark.module(application, "config").QUICK
    names = benchmark.benchmark_of(application).quality(config).names
    target = "1.1" if len(names) == 1 else ",".join(f"{name}=1.1" for name in names)
    flags = ["--seed=1", f"--target={target}", *cell(application).TINY]
    return [*flags, f"--data_dir={data}"] if data else flags


def resumable(application, framework, data):
    """The small run of two epochs that is killed."""
    return [script(application, framework), *tiny(application, data), *cell(application).RANDOM,
            "--max_epochs=2", "--set=checkpoint_every_steps=4"]


def observed(application, framework, flags):
    """An epoch of the small run in float64, by observed.py."""
    return ["common/in_environment.sh", application, framework, "-m", "tests.end_to_end.observed",
            "launch", application, framework, *flags, "--precision=fp64", "--max_epochs=1"]


def judged(folder):
    """Whether the log passes MLCommons' checker and the strict order of events."""
    return check_log.main([str(folder)]) == 0


def in_order(folder):
    """Whether the log keeps the strict order; the package's rules may want the target reached."""
    _, events = check_log.read(str(folder))
    return check_log.order_faults(events) == []


def last_state(folder):
    """{name: array} of the newest checkpoint."""
    newest = checkpoint.paths(run_folder.checkpoint_folder(str(folder)))[-1]
    return safetensors.numpy.load_file(newest)


def assert_same_bits(folder, other):
    """The newest checkpoints hold the same parameters and sums, bit for bit."""
    one, two = last_state(folder), last_state(other)
    assert one.keys() == two.keys()
    for name, array in one.items():
        assert array.tobytes() == two[name].tobytes(), name


def saved(folder, step):
    """A condition for kill_when: the checkpoint of a step is there."""
    return Path(checkpoint.path(run_folder.checkpoint_folder(str(folder)), step)).exists


def saving(folder, step):
    """A condition for kill_when: the checkpoint of a step is being written."""
    return lambda: any(folder.glob(f"checkpoint/step_{step:010d}*.tmp"))


def evaluating(folder):
    """A condition for kill_when: an evaluation has begun."""
    log = folder / "run.log"
    return lambda: log.exists() and '"eval_start"' in log.read_text(errors="replace")


def running(folder):
    """The command lines of the processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(folder) in line]


def kill_when(arguments, condition):
    """Starts a run; kills it and its children when the condition holds.

    Returns whether it did: False where the run had ended by itself.
    """
    with started(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not condition():
            if process.poll() is not None:
                return False
            time.sleep(0.002)
    return True


def read(path):
    """A Ran that `write` has kept."""
    return Ran(path.parent / "run", **json.loads(path.read_text()))


def write(path, done):
    """Keeps how a command has ended."""
    found = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    path.write_text(json.dumps(found))
