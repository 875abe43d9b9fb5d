"""Functions that numba compiles, and where the machine code is kept.

numba's own cache lies beside the source, does not see that a called function of another file has
changed, and two processes that fill it at once may mix up two versions of a function.  So here the
folder's name is a sum over all that is compiled, and one process at a time compiles: see
one_at_a_time.  Where no folder can be written each process compiles for itself.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib

import numba
import numba.core.config


def _folder():
    """A folder that can be written, named by the sources; None where there is none.

    NUMBA_CACHE_DIR says where; by default the cache folder of the embedded data.
    """
    total = hashlib.sha256(numba.__version__.encode())
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        if b"@compiled\n" in source:
            total.update(source)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(cache, "time-to-quality", "numba")
    folder = os.path.join(base, total.hexdigest()[:16])
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


FOLDER = _folder()


def compiled(function):
    """The function as machine code, made at its first call or taken from the cache."""
    before = numba.core.config.CACHE_DIR
    numba.core.config.CACHE_DIR = FOLDER or before  # the function's place is chosen here
    try:
        return numba.njit(cache=FOLDER is not None, error_model="numpy", nogil=True)(function)
    finally:
        numba.core.config.CACHE_DIR = before


@contextlib.contextmanager
def one_at_a_time():
    """While one process compiles, others wait, and then find all in the cache."""
    with contextlib.ExitStack() as stack:
        if FOLDER:
            # Closing it frees the lock; the kernel does so however the process ends.
            lock = stack.enter_context(open(os.path.join(FOLDER, ".lock"), "a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
