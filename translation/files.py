"""The files of WMT17's English-German text (MLPerf v0.5's choice of it) and what becomes of them.

The archives' sums are those that two public scripts agree on; newstest2014's are those of MLPerf
v0.5's verify_dataset.sh.  Its text is the cased, untokenised one of 3,003 sentences.
"""

import contextlib
import dataclasses
import os
import shutil

from common.data.archive import DAMAGED, tar_files
from common.data.download import Archive
from common.errors import UserError
from translation import data, text
from translation.config import REFERENCE

TERMS = None  # nobody asks for an agreement
NEWS = "training-parallel-nc-v12.tgz"
CRAWL = "training-parallel-commoncrawl.tgz"
EUROPARL = "training-parallel-europarl-v7.tgz"
DEV = "dev.tgz"

WMT13 = "www.statmt.org/wmt13"
WMT17 = "data.statmt.org/wmt17/translation-task"
MODELS = "https://raw.githubusercontent.com/tensorflow/models"
TEST_DATA = "official/transformer/test_data"
# A version of the repository that has the folder, which has moved since.
OLD_MODELS = "ee6901ff35fa4a978f0e8e5483d00cd01e0497ff"


def archive(name, place, sha256):
    """Archive of a file of statmt.org."""
    return Archive(name, (f"https://{place}/{name}", f"http://{place}/{name}"), {"sha256": sha256})


def test_file(language, size, md5):
    """Archive of newstest2014 in a language."""
    name = f"newstest2014.{language}"
    urls = tuple(f"{MODELS}/{version}/{TEST_DATA}/{name}" for version in (OLD_MODELS, "master"))
    return Archive(name, urls, {"md5": md5}, size)


ARCHIVES = (
    archive(NEWS, WMT17, "2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2"),
    archive(CRAWL, WMT13, "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5"),
    archive(EUROPARL, WMT13, "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7"),
    archive(DEV, WMT17, "9d5ff04a28496b7796904ea65e50e3837bab14dbdca88b1e063105f17513dca9"),
    test_file("en", 359_898, "dabf51a9c02b2235632f3cee75c72d49"),
    test_file("de", 399_406, "f6c3818b477e4a25cad68b61cc883c17"),
)

# {archive: the pair of files inside, without the language}, in the order of the training text.
TRAIN = {
    NEWS: "training/news-commentary-v12.de-en",
    CRAWL: "commoncrawl.de-en",
    EUROPARL: "training/europarl-v7.de-en",
}
VALIDATION = {DEV: "dev/newstest2013"}


def unpack(archives, folder):
    """Writes train, newstest2013 and newstest2014, .en and .de each, and the encoded text.

    The encoded text is made here, and not when a run starts, because preprocessing is untimed.
    """
    write_pair(archives, TRAIN, folder, "train")
    write_pair(archives, VALIDATION, folder, "newstest2013")
    for language in text.LANGUAGES:
        name = f"newstest2014.{language}"
        part = os.path.join(folder, f"{name}.part")
        shutil.copyfile(archives[name], part)
        os.replace(part, os.path.join(folder, name))
    data.prepare(dataclasses.replace(REFERENCE, data_dir=folder))


def write_pair(archives, sources, folder, name):
    """Writes NAME.en and NAME.de: all sources' lines, concatenated, each stripped."""
    paths = {language: os.path.join(folder, f"{name}.{language}") for language in text.LANGUAGES}
    if all(os.path.exists(path) for path in paths.values()):
        return
    try:
        with contextlib.ExitStack() as stack:
            parts = {language: stack.enter_context(open(f"{path}.part", "wb"))
                     for language, path in paths.items()}
            for source, inside in sources.items():
                append(archives[source], inside, parts)
    except DAMAGED as error:
        raise UserError(f"{folder}: {name}: damaged archive ({error}). Fetch it again.") from None
    except OSError as error:
        raise UserError(
            f"{folder}: {name} cannot be written ({error.strerror}). Make room there and start "
            "again."
        ) from None
    for path in paths.values():
        os.replace(f"{path}.part", path)


def append(path, inside, parts):
    """Adds a pair of an archive to the files in parts, {language: file object}.  UserError."""
    wanted = {f"{inside}.{language}": part for language, part in parts.items()}
    for name, file in tar_files(path):
        if name in wanted:
            part = wanted.pop(name)
            for line in text.lines(file, f"{path}, {name}"):
                part.write(line.encode() + b"\n")
    if wanted:
        raise UserError(f"{path}: lacks {', '.join(wanted)}. Fetch it again.")
