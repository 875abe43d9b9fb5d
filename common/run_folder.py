"""A run folder's files: who lays what where, which run lies there, and what it left.

    run.log          MLLOG lines
    result.json      once the run has ended
    checkpoint/      see checkpoint.py
    processes/       what a launcher of several processes says, where it writes that to files
"""

import dataclasses
import json
import os
import platform
import subprocess
import tempfile
import time

from common import checkpoint
from common.errors import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULT = "result.json"

# These say how and where to run, not what is computed: a resumed run may change them.
MAY_CHANGE_ON_RESUME = (
    "data_dir",
    "output_dir",
    "device",
    "compile",
    "workers",
    "threads",
    "resume",
    "framework",
    "num_epochs",
    "target",
    "checkpoint_every_steps",
)


def default_path(config):
    """Where a run goes when nobody says: runs/, one folder per application, framework, seed."""
    name = f"{config.application}-{config.framework}-{config.profile}-{config.seed}"
    return os.path.join("runs", name)


def log_path(folder):
    """The run's log."""
    return os.path.join(folder, "run.log")


def checkpoint_folder(folder):
    """The folder of the run's checkpoints."""
    return os.path.join(folder, "checkpoint")


def processes_folder(folder, node_rank):
    """A new folder for what a host's processes say, named by the time."""
    start = f"{time.strftime('%Y%m%dT%H%M%S')}-{node_rank}"
    return os.path.join(folder, "processes", start)


def claim(folder):
    """Makes the run folder.  Raises UserError where one run's files lie already."""
    if os.path.exists(log_path(folder)):
        raise UserError(
            f"{folder}: holds a run already. Go on with --resume, or choose another --output_dir."
        )
    os.makedirs(folder, exist_ok=True)


def saved_seed(folder):
    """The seed of the run in a folder, or None where it has no checkpoint."""
    saved = checkpoint.paths(checkpoint_folder(folder))
    return checkpoint.read_position(saved[-1])["config"]["seed"] if saved else None


def find_resumable(config):
    """The newest checkpoint of the run folder; None where a run was killed before its first.

    Raises UserError: no run there, one that has reached its target, or one of another benchmark.
    """
    folder = config.output_dir
    if not os.path.exists(log_path(folder)):
        raise UserError(f"{folder}: no run to resume. Name its folder with --output_dir.")
    saved = checkpoint.paths(checkpoint_folder(folder))
    if not saved:
        return None
    position = checkpoint.read_position(saved[-1])
    if position["status"] == "success" and os.path.exists(os.path.join(folder, RESULT)):
        raise UserError(f"{folder}: this run has reached its target; there is nothing to resume.")
    now = dataclasses.asdict(config)
    for name, before in position["config"].items():
        # JSON has lists where the config has tuples.
        value = list(now[name]) if isinstance(now.get(name), tuple) else now.get(name)
        if name not in MAY_CHANGE_ON_RESUME and value != before:
            raise UserError(
                f"{saved[-1]}: {name} was {before}, now it is {value}. Resume with the same flags."
            )
    return saved[-1]


def write_result(folder, result):
    """Writes result.json, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as opened:
        json.dump(result, opened, indent=2)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(opened.name, os.path.join(folder, RESULT))


def read_result(folder):
    """result.json.  Raises OSError, ValueError."""
    with open(os.path.join(folder, RESULT)) as opened:
        return json.load(opened)


def system_description():
    """{processor, cores, memory_gib, operating_system, python} of this machine."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as opened:
            names = [line.partition(":")[2].strip() for line in opened if "model name" in line]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "operating_system": platform.platform(),
        "python": platform.python_version(),
    }


def commit():
    """The repository's commit, with -dirty where files differ from it; None without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
    except OSError:
        return None
    return done.stdout.strip() or None
