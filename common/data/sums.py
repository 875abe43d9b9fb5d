"""SHA256SUMS: the sum of each file of a folder, written last, as `sha256sum --check` reads it."""

import hashlib
import os
import re

from tqdm import tqdm

from common.errors import UserError
from common.files import open_regular

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def file_sum(path, name):
    """Hex digest of a file by hashlib's algorithm of that name."""
    with open_regular(path) as opened:
        return hashlib.file_digest(opened, name).hexdigest()


def files_of(folder):
    """Paths of a folder's files, relative to it, sorted.

    No archives, no leftovers, and no folder that has sums of its own: what was derived.
    """
    found = []
    for base, folders, files in os.walk(folder):
        folders[:] = [n for n in folders if not os.path.exists(os.path.join(base, n, SUMS))]
        if base == folder:
            folders[:] = [n for n in folders if n != "archives" and not n.endswith(".part")]
            files = [n for n in files if n != SUMS and not n.endswith(".part")]
        found += [os.path.relpath(os.path.join(base, name), folder) for name in files]
    return sorted(found)


def write(folder):
    """Lists every file's sum."""
    part = os.path.join(folder, f"{SUMS}.part")
    with open(part, "w", encoding="utf-8") as opened:
        for name in tqdm(files_of(folder), desc=SUMS, unit=" files", disable=None):
            opened.write(f"{file_sum(os.path.join(folder, name), 'sha256')}  {name}\n")
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(part, os.path.join(folder, SUMS))


def read(folder):
    """{name: hex digest} of a folder's SHA256SUMS.  Raises UserError."""
    path = os.path.join(folder, SUMS)
    try:
        with open_regular(path) as opened:
            lines = opened.read().decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UserError(f"{path}: cannot be read ({reason}).") from None
    found = {}
    for number, line in enumerate(lines[:-1], 1):
        match = LINE.fullmatch(line)
        if not match or os.path.isabs(match[2]) or ".." in match[2].split("/"):
            raise UserError(f"{path}:{number}: damaged: expected a sum, two spaces and a name.")
        found[match[2]] = match[1]
    if not found or lines[-1]:
        raise UserError(f"{path}: damaged: cut off.")
    return found


def first_fault(folder):
    """(path, what is wrong with it) of the first file that is not as listed, or None.

    Raises UserError where the list itself cannot be read.
    """
    for name, digest in tqdm(read(folder).items(), unit=" files", disable=None, delay=2):
        path = os.path.join(folder, name)
        try:
            if file_sum(path, "sha256") != digest:
                return path, "its sha256 is wrong"
        except FileNotFoundError:
            return path, "missing"
    return None
