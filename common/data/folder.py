"""Folders of derived data: they appear whole or not at all, and are checked when they are used."""

import contextlib
import fcntl
import os
import shutil
import tempfile

from common.data import sums
from common.errors import UserError

MAKING, PART = "making-", ".part"  # begin and end the name of a folder that is being made


def make(folder, write, what, advice):
    """Makes a folder, filled by write(temporary folder), where it is not there yet.

    One that is there is checked against its SHA256SUMS, and made again where it is damaged.  Two
    processes may do so at once: the first to be done is as good as the other.  what: it holds, and
    advice: where it cannot be written; words of the UserError that is then raised.
    """
    if is_whole(folder):
        return
    parent = os.path.dirname(folder)
    temporary = owned = None
    try:
        os.makedirs(parent, exist_ok=True)
        with _locked(parent):
            _sweep(parent)
            temporary = tempfile.mkdtemp(PART, MAKING, parent)
            owned = _lock(temporary)
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
        if owned is not None:
            os.close(owned)


def _sweep(parent):
    """Removes what killed processes left in a folder: a living one holds a lock on its own."""
    for name in os.listdir(parent):
        left = os.path.join(parent, name)
        if name.startswith(MAKING) and name.endswith(PART) and os.path.isdir(left):
            try:
                owned = _lock(left, fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(left, ignore_errors=True)
            os.close(owned)


def is_whole(folder):
    """Whether a folder of `make` is there with all its files as they were made."""
    try:
        return os.path.isdir(folder) and sums.first_fault(folder) is None
    except UserError:
        return False


@contextlib.contextmanager
def _locked(folder):
    """One process at a time."""
    descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder, how=0):
    """A descriptor that holds the lock of a folder; the kernel frees it, however a process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor
