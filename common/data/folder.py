"""Folders of derived data: they appear whole or not at all, and are checked when they are used."""

import contextlib
import fcntl
import os
import shutil
import tempfile

from common.data import sums
from common.errors import UserError


def make(folder, write, what, advice):
    """Makes a folder, filled by write(temporary folder), where it is not there yet.

    One that is there is checked against its SHA256SUMS, and made again where it is damaged.  Two
    processes may do so at once: the first to be done is as good as the other.  what: it holds, and
    advice: where it cannot be written; words of the UserError that is then raised.
    """
    if is_whole(folder):
        return
    parent = os.path.dirname(folder)
    temporary = None
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=parent, suffix=".part")
        filled = os.path.join(temporary, "whole")
        os.mkdir(filled)
        write(filled)
        sums.write(filled)
        os.sync()  # or a power cut leaves a folder whole by its name, empty by its content
        with _locked(parent):
            if not is_whole(folder):  # another process may have been first
                if os.path.isdir(folder):
                    os.replace(folder, os.path.join(temporary, "damaged"))
                os.replace(filled, folder)
    except OSError as error:
        if not is_whole(folder):
            raise UserError(
                f"{parent}: cannot write {what} here ({error.strerror}). {advice}"
            ) from None
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def is_whole(folder):
    """Whether a folder of `make` is there with all its files as they were made."""
    try:
        return os.path.isdir(folder) and sums.first_fault(folder) is None
    except UserError:
        return False


@contextlib.contextmanager
def _locked(folder):
    """One process at a time; the kernel frees the lock, however a process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
