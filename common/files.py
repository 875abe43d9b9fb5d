"""Files of a folder that nobody vouches for: a pipe would wait for ever, a link lead elsewhere."""

import errno
import os
import stat


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
