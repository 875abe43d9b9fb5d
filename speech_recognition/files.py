"""The seven archives of LibriSpeech, and how they become its folder.

MD5s: MLPerf's rnnt/pytorch/utils/librispeech.csv.  The test-* are one percent of the bytes; no run
reads them, as the reference never does.
"""

import dataclasses
import os
import shutil

from common.data.archive import tar_files, write_all
from common.data.download import Archive
from common.errors import UserError
from speech_recognition import data
from speech_recognition.config import REFERENCE

TERMS = None  # CC BY 4.0; LICENSE.TXT, unpacked beside the data, tells it

MIRRORS = ("https://www.openslr.org", "http://www.openslr.org", "https://us.openslr.org",
           "https://openslr.elda.org", "http://openslr.magicdatatech.com")


def archive(subset, size, md5):
    """The Archive of a subset."""
    name = f"{subset}.tar.gz"
    urls = tuple(f"{mirror}/resources/12/{name}" for mirror in MIRRORS)
    return Archive(name, urls, {"md5": md5}, size)


ARCHIVES = (
    archive("dev-clean", 337_926_286, "42e2234ba48799c1f50f24a7926300a1"),
    archive("dev-other", 314_305_928, "c8d0bcc9cca99d4f8b62fcc847357931"),
    archive("test-clean", 346_663_984, "32fa31d27d2e1cad72775fee3f4849a9"),
    archive("test-other", 328_757_843, "fb5a50374b501bb3bac4815ee91d3135"),
    archive("train-clean-100", 6_387_309_499, "2a93770f6d5c6c964bc36631d331a522"),
    archive("train-clean-360", 23_049_477_885, "c0e676e450a7ff2f54aeade5171606fa"),
    archive("train-other-500", 30_593_501_606, "d1a0fd59409feb2c614ce4d30c387708"),
)


def unpack(archives, folder):
    """Writes LibriSpeech/SUBSET/ with FLAC files and transcripts, LibriSpeech/*.TXT, and the index.

    Goes on where it was cut off.  The index is made here, and not when a run starts, because
    preprocessing is untimed.
    """
    root = os.path.join(folder, "LibriSpeech")
    os.makedirs(root, exist_ok=True)
    for name, path in archives.items():
        subset = os.path.join(root, name.removesuffix(".tar.gz"))
        if not os.path.exists(subset):
            write_all(inside(path, subset), subset)
    data.prepare(dataclasses.replace(REFERENCE, data_dir=folder))


def inside(path, subset):
    """Yields (name, file) of what an archive has of a subset's folder; writes LibriSpeech/*.TXT.

    Raises UserError for any other file.
    """
    root, own = os.path.dirname(subset), f"LibriSpeech/{os.path.basename(subset)}/"
    for name, file in tar_files(path):
        place, _, text = name.rpartition("/")
        if name.startswith(own):
            yield name.removeprefix(own), file
        elif place == "LibriSpeech" and text.endswith(".TXT"):
            part = os.path.join(root, f"{text}.part")
            with open(part, "wb") as opened:
                shutil.copyfileobj(file, opened)
            os.replace(part, os.path.join(root, text))
        else:
            raise UserError(f"{path}: holds {name!r}, outside {own}: refused. Fetch it again.")
