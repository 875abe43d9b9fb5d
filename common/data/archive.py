"""Unpacks archives that nobody vouches for: no entry leaves the folder, and no entry is a link."""

import gzip
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib

from common.errors import UserError

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
           EOFError, RuntimeError)  # encrypted, or packed in a way that zipfile does not know


def tar_files(archive, name="archive"):
    """Yields (name, file object) of each file in a tar, in its order.

    archive: a path, or a file object, read from start to end (a tar within a tar).
    Raises UserError for a link, a device, a name that leads outside, and a damaged archive.
    """
    path = archive if isinstance(archive, str) else None
    name = path or name
    try:
        mode = "r:*" if path else "r|"
        with tarfile.open(path, mode, fileobj=None if path else archive) as tar:
            for member in tar:
                if member.isdir():
                    continue
                if not member.isreg():
                    raise UserError(f"{name}: holds {member.name!r}, a link or a device: refused.")
                yield inside(member.name, name), tar.extractfile(member)
    except DAMAGED as error:
        raise UserError(f"{name}: damaged archive ({error}). Fetch it again.") from None


def zip_files(path):
    """Yields (name, file object) of each file in a zip.  Raises UserError like tar_files."""
    try:
        with zipfile.ZipFile(path) as opened:
            for member in opened.infolist():
                if member.is_dir():
                    continue
                if member.external_attr >> 28 not in (0, 8):  # Unix: nothing said, a regular file
                    raise UserError(
                        f"{path}: holds {member.filename!r}, a link or a device: refused."
                    )
                with opened.open(member) as file:
                    yield inside(member.filename, path), file
    except DAMAGED as error:
        raise UserError(f"{path}: damaged archive ({error}). Fetch it again.") from None


def inside(name, archive):
    """The entry's name, normalised.  Raises UserError where it would lie outside the folder."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        raise UserError(f"{archive}: holds {name!r}, which leads out of the folder: refused.")
    return "/".join(part for part in parts if part not in ("", "."))


def write_all(files, folder):
    """Writes (name, file object)s into a new folder, whole or not at all.

    The folder has its final name only when the last file is written.
    """
    part = f"{folder}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    for name, file in files:
        path = os.path.join(part, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(path, "xb") as opened:
                shutil.copyfileobj(file, opened, 1 << 20)
        except FileExistsError:
            raise UserError(f"{folder}: the archive holds {name!r} twice: refused.") from None
        except DAMAGED as error:
            raise UserError(
                f"{folder}: the archive it comes from is damaged at {name!r} ({error}). "
                "Fetch it again."
            ) from None
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written ({error.strerror}). Make room there and start again."
            ) from None
    os.replace(part, folder)
