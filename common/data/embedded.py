"""The embedded data of the quick profiles: made by a program, kept in a cache folder."""

import os
import shutil
import tempfile

from common.errors import UserError


def ensure(application, version, write):
    """The folder of an application's embedded data, written on first use, whole or not at all.

    version: of the data; another number, another folder.  write(folder): fills an empty folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parent = os.path.join(cache, "time-to-quality")
    folder = os.path.join(parent, f"{application}-quick-{version}")
    if os.path.isdir(folder):
        return folder
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=parent)
    except OSError as error:
        raise UserError(
            f"{parent}: cannot write the embedded data here ({error.strerror}). "
            "Set XDG_CACHE_HOME to a folder that can be written."
        ) from None
    try:
        write(temporary)
        os.chmod(temporary, 0o755)  # mkdtemp's own mode shuts out other users of a shared cache
        os.replace(temporary, folder)
    except OSError as error:
        # Another process may have been first: its folder is as good.
        if not os.path.isdir(folder):
            raise UserError(
                f"{folder}: cannot write the embedded data ({error.strerror}). Make room there, or "
                "set XDG_CACHE_HOME to another folder."
            ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
