"""The embedded data of the quick profiles: made by a program, kept in a cache folder."""

import os

from common.data import folder


def ensure(application, version, write):
    """The folder of an application's embedded data, written on first use, whole or not at all.

    version: of the data; another number, another folder.  write(folder): fills an empty folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = os.path.join(cache, "time-to-quality", f"{application}-quick-{version}")
    advice = "Set XDG_CACHE_HOME to a folder that can be written and has room."
    folder.make(path, write, "the embedded data", advice)
    return path
