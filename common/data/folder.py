"""Folders that appear whole or not at all."""

import os
import shutil
import tempfile

from common.errors import UserError


def make(folder, write, what, advice):
    """Makes a folder, filled by write(temporary folder), where it is not there yet.

    Two processes may do so at once: the first to be done is as good as the other.  what: it holds,
    and advice: where it cannot be written; words of the UserError that is then raised.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    temporary = None
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=parent, suffix=".part")
        write(temporary)
        os.chmod(temporary, 0o755)  # mkdtemp's own mode shuts out other users of a shared folder
        os.replace(temporary, folder)
    except OSError as error:
        if not os.path.isdir(folder):
            raise UserError(
                f"{parent}: cannot write {what} here ({error.strerror}). {advice}"
            ) from None
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
