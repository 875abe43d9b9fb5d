"""Files of a folder that nobody vouches for: a pipe would wait for ever, a link lead elsewhere."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile


def open_regular(path, mode="rb", own=False):
    """Opens a regular file, as `open` does: no pipe, device or folder.  Raises OSError.

    own: one that we write, so no link either.
    """
    require_regular(path, own)

    def opener(name, flags):
        return os.open(name, flags | os.O_NONBLOCK | (os.O_NOFOLLOW if own else 0), 0o666)

    return open(path, mode, opener=opener)


def require_regular(path, own=False):
    """Raises OSError for what is there and is no regular file."""
    try:
        mode = (os.lstat if own else os.stat)(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file", path)


@contextlib.contextmanager
def replaced(path, mode="w"):
    """A file to write, which takes path's place when all is written: whole, or not at all.

    mode: "w", text, or "wb".  Raises OSError, with path in it.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    require_regular(path)
    final = os.path.realpath(path)  # of a link, what it leads to
    temporary = f"{final}.{os.getpid()}.tmp"
    try:
        with open(temporary, mode, **text) as opened:
            yield opened
        os.replace(temporary, final)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


@contextlib.contextmanager
def new_folder(path):
    """A folder to fill, which becomes path when all is written: whole, or not at all.

    Raises OSError, with path in it where that is there already.
    """
    path = os.path.normpath(path)
    parent = os.path.dirname(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    hidden = tempfile.mkdtemp(prefix=f".{os.path.basename(path)[:100]}.", dir=parent)
    try:
        part = os.path.join(hidden, "part")  # with a new folder's usual rights
        os.mkdir(part)
        yield part
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        os.rename(part, path)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
