"""Several processes of one host: they are started, watched, and end together."""

import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time

from common.errors import ABORTED, GRACE, UserError

# What a run's log and result keep of the environment, for it changes speed or numbers.  By name:
# what else begins with TF_, say, may be a secret, as Terraform's variables are.
SETTINGS = (
    *(f"OMP_{name}" for name in ("NUM_THREADS", "DYNAMIC", "PLACES", "PROC_BIND", "SCHEDULE",
                                 "WAIT_POLICY")),
    *(f"GOMP_{name}" for name in ("SPINCOUNT", "CPU_AFFINITY", "STACKSIZE")),
    *(f"KMP_{name}" for name in ("AFFINITY", "BLOCKTIME", "HW_SUBSET", "LIBRARY")),
    *(f"MKL_{name}" for name in ("NUM_THREADS", "DYNAMIC", "DEBUG_CPU_TYPE",
                                 "ENABLE_INSTRUCTIONS", "CBWR")),
    *(f"MALLOC_{name}" for name in ("ARENA_MAX", "MMAP_MAX_", "MMAP_THRESHOLD_", "TOP_PAD_",
                                    "TRIM_THRESHOLD_")),
    *(f"TF_{name}" for name in ("CPP_MIN_LOG_LEVEL", "CUDNN_USE_AUTOTUNE",
                                "DETERMINISTIC_OPS", "ENABLE_ONEDNN_OPTS",
                                "FORCE_GPU_ALLOW_GROWTH", "GPU_ALLOCATOR", "NUM_INTEROP_THREADS",
                                "NUM_INTRAOP_THREADS", "XLA_FLAGS")),
    *(f"FLAGS_{name}" for name in ("allocator_strategy", "conv_workspace_size_limit",
                                   "cudnn_deterministic", "cudnn_exhaustive_search",
                                   "fraction_of_gpu_memory_to_use", "use_cinn", "use_mkldnn")),
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip

# In the environment of what a launcher starts: a file, see `Voice`; and the id of the process that
# starts it.
LAUNCHED, STARTED_BY = "LAUNCHED", "STARTED_BY"


def start(command, environment, **more):
    """A Popen in a session of its own: the terminal's Ctrl-C reaches the launcher alone."""
    environment = environment | {STARTED_BY: str(os.getpid())}
    return subprocess.Popen(command, env=environment, start_new_session=True, **more)


class Voice:
    """A fault is told once, though each process of a launcher may find it.

    A file in memory, for a disk may be full, which the processes find beneath the launcher's own
    entry in /proc: the first that writes there may speak.
    """

    def __init__(self):
        self.file = os.memfd_create("told")
        self.path = f"/proc/{os.getpid()}/fd/{self.file}"

    def was_heard(self):
        """Whether a process has told a fault."""
        return os.fstat(self.file).st_size > 0


def may_speak():
    """Whether this process is the first of its launcher's that asks."""
    try:
        with open(os.environ[LAUNCHED], "r+b", buffering=0) as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            return opened.seek(0, os.SEEK_END) == 0 and opened.write(b"told") > 0
    except (KeyError, OSError):  # no launcher, or one that is gone
        return True


def show_late(kind, error, trace):
    """Python's own report of an exception, after a while: sys.excepthook of launched processes.

    Where the exception is that another process has gone, the launcher ends this one by then, and
    tells what it knows.
    """
    time.sleep(GRACE)
    if may_speak():
        sys.__excepthook__(kind, error, trace)


def end_with_parent(first=None):
    """Has the kernel kill this process when the one that started it ends, however that ends.

    first: id of the process that it all began with, which may have ended already: a program
    between the two, as the shell that becomes Python, may take a while.  Linux alone knows it.
    """
    # Its id now says nothing: the parent may have ended while this process was importing.
    parent = int(os.environ.get(STARTED_BY, os.getppid()))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        gone = first is not None and not os.path.exists(f"/proc/{first}")
        if os.getppid() != parent or gone:  # it ended before it could be told
            os._exit(1)
    os.environ[STARTED_BY] = str(os.getpid())  # of what a framework's launcher starts in turn


def wait_for_all(children, check=None):
    """The first exit code that is not 0; one process's end by a fault ends the others.

    An interruption ends them all before it goes on, and so does what check(), called all the time,
    raises.
    """
    try:
        while None in (codes := [child.poll() for child in children]):  # each is asked
            if set(codes) - {None, 0, ABORTED}:
                time.sleep(0.2)  # for the others to say what they know
                break
            if check:
                check()
            time.sleep(0.05)
    finally:
        failed = next((child.returncode for child in children if child.poll()), 0)
        for child in children:  # and all that they have started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for child in children:
            child.wait()
    return failed


_meetings = itertools.count()   # of this process; in each one the same


def meet(add, count):
    """Waits until `count` processes are here, however long that takes: others may play games.

    PaddlePaddle's gloo ends a run that waits for 30 seconds, and cannot be told otherwise.
    add(name, number) -> the sum of what the processes have added under that name.
    """
    name = f"meeting {next(_meetings)}"
    here, pause = add(name, 1), 1e-3
    while here < count:
        time.sleep(pause)
        pause = min(2.0 * pause, 0.1)
        here = add(name, 0)


def settings():
    """{name: text} of the SETTINGS in this process's environment."""
    return {name: os.environ[name] for name in SETTINGS if name in os.environ}


def num_threads():
    """Threads of this process: OMP_NUM_THREADS, or as many as there are cores.  Raises UserError.

    Of a list, which OpenMP allows, the first number counts.
    """
    text = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
    if not re.fullmatch(r"\s*[1-9]\d{0,3}\s*(,\s*[1-9]\d{0,3}\s*)*", text):
        raise UserError(f"OMP_NUM_THREADS={text}: expected a number of threads, 1 or more.")
    return int(text.partition(",")[0])


MOST_WORKERS = 16  # for one training process: more than its device takes pictures from


def data_workers(num_processes):
    """Data processes for each of a host's training processes: the cores, shared out; 1 to 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST_WORKERS, max(1, cores // num_processes))


def forget_other_launchers():
    """Takes from the environment what another job's launcher may have left there."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "TF_CONFIG", "PADDLE_TRAINERS_NUM",
                 "PADDLE_TRAINER_ID", "PADDLE_TRAINER_ENDPOINTS", "PADDLE_CURRENT_ENDPOINT",
                 STARTED_BY):
        os.environ.pop(name, None)


def free_port():
    """A port of this host that nobody listens on now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
