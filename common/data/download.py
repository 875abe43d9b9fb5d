"""Fetches and checks datasets: python -m common.data.download APPLICATION FOLDER [--verify]

What to fetch stands in APPLICATION/files.py:

    TERMS                      what the user must agree to first, or None
    ARCHIVES                   the Archives
    unpack(archives, folder)   writes the dataset's layout from {name: path of a checked file}

FOLDER/archives/ keeps what was fetched, FOLDER itself gets the dataset, and FOLDER/SHA256SUMS,
written last, lists the sum of each of its files.  Called again, it goes on where it was cut off.

Requests rather than pooch, which neither resumes a file nor knows mirrors.
"""

import dataclasses
import os
import sys
import time
from dataclasses import dataclass

import requests
import urllib3
from absl import flags
from tqdm import tqdm

from common import benchmark, options
from common.data import sums
from common.data.sums import file_sum
from common.errors import UserError, told

CHUNK = 1 << 16  # bytes; a cut connection loses the chunk under way


@dataclass(frozen=True)
class Archive:
    """A file to fetch.

    name: below FOLDER/archives.  urls: mirrors, tried in turn.  sums: {hashlib's name: hex digest}.
    size: in bytes; None where nobody states it: then at_most bounds it.
    """

    name: str
    urls: tuple[str, ...]
    sums: dict[str, str]
    size: int | None = None
    at_most: int = 4 << 30


@dataclass(frozen=True)
class Patience:
    """How long a bad server is tolerated."""

    stall_seconds: float = 60.0    # without a byte, or without a connection
    attempts: int = 6              # in a row that bring nothing new, for each mirror
    pause_seconds: float = 1.0     # after the first of them; doubles each time, up to a minute


class Refused(Exception):
    """A mirror that is of no use: asking it again would not help."""


def fetch(archive, folder, patience=Patience()):
    """The path of the archive, whole and checked, fetched where it is not there yet.

    The file has its final name only once its sums are right; until then it is NAME.part, which the
    next call goes on with.  Raises UserError when no mirror gives it.
    """
    path = os.path.join(folder, archive.name)
    if os.path.exists(path):
        check(archive, path)
        return path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f"{path}.part"
    reasons = []
    for url in archive.urls:
        try:
            fetch_from(url, archive, part, patience)
            with open(part, "rb") as opened:
                os.fsync(opened.fileno())
            os.replace(part, path)
            if os.path.exists(f"{part}.anew"):
                os.remove(f"{part}.anew")
            return path
        except Refused as reason:
            reasons.append(f"{url}: {reason}")
        except OSError as error:
            raise UserError(f"{part}: cannot be written ({error.strerror}). Make room there and "
                            "start again: what is here is kept.") from None
    raise UserError(
        f"{archive.name}: no mirror gave it ({'; '.join(reasons)}). Try again later, or put the "
        f"file at {path} yourself."
    )


def fetch_from(url, archive, part, patience):
    """Fills the part file from one mirror and checks it.  Raises Refused."""
    failures, fair_try_given = 0, False
    while True:
        had = os.path.getsize(part) if os.path.exists(part) else 0
        try:
            if archive.size is None or had < archive.size:
                append(url, archive, part, patience)
            reason = fault(archive, part)
            if not reason:
                return
        except ValueError as error:  # no URL
            raise Refused(str(error)) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = f"HTTP {status}" if status else type(error).__name__
        has = os.path.getsize(part) if os.path.exists(part) else 0
        complete = archive.size is None or has >= archive.size
        if reason.startswith(("its ", "longer")) and complete:
            # Whole and wrong.  If its first bytes came from elsewhere, this mirror has a fair try.
            os.remove(part)
            if not had or fair_try_given:
                raise Refused(reason)
            fair_try_given = True
            continue
        failures = 0 if has > had else failures + 1
        if failures >= patience.attempts:
            raise Refused(reason)
        if failures:
            time.sleep(min(60.0, patience.pause_seconds * 2 ** (failures - 1)))


def append(url, archive, part, patience):
    """One request: adds to the part file what it lacks.  Raises Refused or RequestException."""
    had = os.path.getsize(part) if os.path.exists(part) else 0
    # Encoded bytes would neither fit the range nor the sum.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    timeout = (patience.stall_seconds, patience.stall_seconds)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == 416:  # nothing after what is here: either whole, or rubbish
            return
        if 400 <= response.status_code < 500 and response.status_code not in (408, 425, 429):
            raise Refused(f"HTTP {response.status_code} {response.reason}")
        response.raise_for_status()
        resumes = response.status_code == 206
        if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
            raise Refused(f"sent the range {response.headers.get('Content-Range')}, not {had}-")
        # A 200 to a request that resumes may be the whole file, or a page that says something else:
        # what is here stays until more has come.
        anew = bool(had) and not resumes
        target, here, had = (f"{part}.anew" if anew else part), had, had if resumes else 0
        bar = tqdm(
            desc=archive.name,
            total=archive.size,
            initial=had,
            unit="B",
            unit_scale=True,
            disable=None,  # quiet where no terminal looks on
        )
        most = archive.at_most if archive.size is None else archive.size
        with bar, open(target, "ab" if resumes else "wb") as opened:
            # Raw: a body that says x-gzip is the archive itself, not an encoded one.
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                opened.write(chunk)
                had += len(chunk)
                bar.update(len(chunk))
                if had > most:
                    break
    if anew and had <= here:
        os.remove(target)
        raise Refused(f"sent another, shorter file of {had:,} bytes; {here:,} are here")
    if anew:
        os.replace(target, part)


def fault(archive, path):
    """What is wrong with a file, in words; "" where nothing is."""
    if not os.path.exists(path):
        return "nothing came"
    size = os.path.getsize(path)
    if archive.size is not None and size != archive.size:
        more = "longer" if size > archive.size else "shorter"
        return f"{more} than it should be: expected {archive.size:,} bytes, found {size:,}"
    if archive.size is None and size > archive.at_most:
        return f"longer than it can be: {size:,} bytes, at most {archive.at_most:,}"
    for name, expected in archive.sums.items():
        found = file_sum(path, name)
        if found != expected:
            return f"its {name} is wrong: expected {expected}, found {found}"
    return ""


def check(archive, path):
    """Raises UserError where the file under its final name is not what it should be."""
    reason = fault(archive, path)
    if reason:
        raise UserError(f"{path}: {reason}. Remove it, then run download_dataset.sh again.")


def from_mirror(archive, mirror):
    """The archive with a mirror of the user's own asked first: MIRROR/NAME."""
    url = f"{mirror.rstrip('/')}/{archive.name}"
    return dataclasses.replace(archive, urls=(url, *archive.urls))


def verify(folder):
    """The number of files, all of them checked.  Raises UserError for the first that is wrong."""
    path = os.path.join(folder, sums.SUMS)
    if not os.path.exists(path):
        raise UserError(f"{path}: not there. Run download_dataset.sh {folder} to its end first.")
    fault = sums.first_fault(folder)
    if fault:
        file, reason = fault
        remove = "" if reason == "missing" else " Remove it."
        raise UserError(f"{file}: {reason}.{remove} {_again(folder)}")
    expected = sums.read(folder)
    for name in sums.files_of(folder):
        if name not in expected:
            raise UserError(f"{os.path.join(folder, name)}: not part of the dataset. Remove it.")
    return len(expected)


def _again(folder):
    return f"Remove {os.path.join(folder, sums.SUMS)}, then run download_dataset.sh {folder} again."


def download(application, folder, mirror=None, accepts=False, patience=Patience()):
    """Makes a whole, checked dataset in the folder.  Raises UserError."""
    if os.path.exists(os.path.join(folder, sums.SUMS)):
        print(f"{folder}: whole already; verify_dataset.sh checks it file by file.")
        return
    files = benchmark.module(application, "files")
    archives = [from_mirror(a, mirror) if mirror else a for a in files.ARCHIVES]
    store = os.path.join(folder, "archives")
    missing = [a.name for a in archives if not os.path.exists(os.path.join(store, a.name))]
    if missing and files.TERMS and not accepts:
        raise UserError(
            f"{files.TERMS} Then either put {', '.join(missing)} into {store}, or start again with "
            "--accept_terms, which fetches them."
        )
    paths = {archive.name: fetch(archive, store, patience) for archive in archives}
    files.unpack(paths, folder)
    sums.write(folder)
    print(f"{folder}: whole. {store} can go, if you need the room.")


def main(argv):
    """Returns the exit code: 0, or 1 for what one line explains."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("verify", False, "check the files instead of fetching them", values)
    flags.DEFINE_boolean("accept_terms", False, "you have read and accept the terms", values)
    flags.DEFINE_string("mirror", None, "URL of a folder asked first", values)

    def run():
        names = options.read_flags(values, argv, "Say a FOLDER, --accept_terms, --mirror=URL.")
        if len(names) != 2:
            raise UserError("usage: download_dataset.sh FOLDER [--accept_terms] [--mirror=URL], "
                            "or verify_dataset.sh FOLDER")
        application, folder = names
        if values.verify:
            print(f"{folder}: {verify(folder):,} files, every one as it should be.")
        else:
            download(application, folder, values.mirror, values.accept_terms)
        return 0

    return told(run, "Start again: what is here is kept.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
