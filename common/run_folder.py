"""A run folder's files: who lays what where, which run lies there, and what it left.

    run.log          MLLOG lines
    result.json      once the run has ended
    checkpoint/      see checkpoint.py
    processes/       what a launcher of several processes says, where it writes that to files
    .lock            held by the run that writes here
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import subprocess
import time

from common import checkpoint
from common.errors import UserError
from common.files import open_regular

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULT = "result.json"
LEFTOVER = re.compile(r"(result\.json|step_\d{10}\.safetensors)\.\d+\.tmp")

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
    "checkpoint_every_minutes",
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
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}). Choose another "
                        "--output_dir.") from None


def require_run(folder):
    """Raises UserError where no run has written a log."""
    if not os.path.exists(log_path(folder)):
        raise UserError(f"{folder}: no run to resume. Name its folder with --output_dir.")


def advice(folder):
    """What to do where a run ended early: only one that has a log can be resumed."""
    if os.path.exists(log_path(folder)):
        return "Go on with --resume and the same --output_dir."
    return "Nothing has begun: start again."


@contextlib.contextmanager
def advising(folder):
    """An interruption of the body gives this advice."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(advice(folder)) from None


class Lock:
    """One run at a time writes a run folder.  The kernel frees it, however the process ends."""

    def __init__(self, folder):
        """Raises UserError where another run holds it, or nothing can be written."""
        path = os.path.join(folder, ".lock")
        try:
            self.file = open_regular(path, "a", own=True)  # closed by `release` or the kernel
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another run writes here now. Wait for it, or choose another "
                "--output_dir."
            ) from None
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}). Choose another "
                            "--output_dir.") from None
        for place in (folder, checkpoint_folder(folder)):  # of writers that were killed
            for name in os.listdir(place) if os.path.isdir(place) else ():
                if LEFTOVER.fullmatch(name):  # the folder may hold other files of the user's
                    os.remove(os.path.join(place, name))

    def release(self):
        """Lets the next run have it."""
        self.file.close()


def saved_seed(folder):
    """The seed of the run in a folder, or None where it has no checkpoint."""
    saved = checkpoint.paths(checkpoint_folder(folder))
    return checkpoint.read_position(saved[-1])["config"]["seed"] if saved else None


def find_resumable(config):
    """The newest checkpoint of the run folder; None where a run was killed before its first.

    Raises UserError: no run there, one whose checkpoints are lost, or one of another benchmark.
    """
    folder = config.output_dir
    require_run(folder)
    with open_regular(log_path(folder), own=True) as opened:
        started = b'"init_stop"' in opened.read()
    saved = checkpoint.paths(checkpoint_folder(folder))
    if not saved and started:
        raise UserError(
            f"{checkpoint_folder(folder)}: no checkpoint to resume from, though the run had begun. "
            "Put them back, or start anew with another --output_dir."
        )
    if not saved:
        return None
    now = dataclasses.asdict(config)
    for name, before in checkpoint.read_position(saved[-1])["config"].items():
        # JSON has lists where the config has tuples.
        value = list(now[name]) if isinstance(now.get(name), tuple) else now.get(name)
        if name not in MAY_CHANGE_ON_RESUME and value != before:
            raise UserError(
                f"{saved[-1]}: {name} was {before}, now it is {value}. Resume with the same flags."
            )
    return saved[-1]


def has_result(folder):
    """Whether a run has ended there."""
    return os.path.exists(os.path.join(folder, RESULT))


def write_result(folder, result):
    """Writes result.json, whole or not at all.  Raises UserError."""
    path = os.path.join(folder, RESULT)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w") as opened:
            json.dump(result, opened, indent=2)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}). Make room and --resume."
                        ) from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


MAX_RESULT = 1 << 24  # bytes


def read_result(folder):
    """result.json.  Raises OSError, ValueError, RecursionError."""
    return read_json(os.path.join(folder, RESULT))


def read_json(path):
    """The content of a result's file, which nobody vouches for.  Raises as read_result does."""
    with open_regular(path) as opened:
        text = opened.read(MAX_RESULT + 1)
    if len(text) > MAX_RESULT:
        raise ValueError(f"more than {MAX_RESULT:,} bytes")
    return json.loads(text.decode())


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
