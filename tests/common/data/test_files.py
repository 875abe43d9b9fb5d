"""From the archives of MovieLens and IMDB, imitated, to the folders that the readers take."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from common import benchmark
from common.data import download, sums
from common.data.download import Archive
from tests.common.data.misbehaving_server import serving


def zip_bytes(entries):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, text in entries.items():
            opened.writestr(name, text)
    return made.getvalue()


def tar_bytes(entries):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as opened:
        for name, text in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            opened.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


CASES = {
    "recommendation": (
        zip_bytes({"ml-20m/": "", "ml-20m/ratings.csv": "userId,movieId,rating,timestamp\n",
                   "ml-20m/tags.csv": "not used", "ml-20m/README.txt": "licence"}),
        ["ml-20m/README.txt", "ml-20m/ratings.csv"],
    ),
    "sentiment_analysis": (
        tar_bytes({"aclImdb/README": "", "aclImdb/train/pos/0_9.txt": "good",
                   "aclImdb/train/neg/1_2.txt": "bad", "aclImdb/test/pos/3_10.txt": "fine",
                   "aclImdb/test/neg/4_1.txt": "poor", "aclImdb/train/unsup/5_0.txt": "?",
                   "aclImdb/train/labeledBow.feat": ""}),
        ["aclImdb/test/neg/4_1.txt", "aclImdb/test/pos/3_10.txt", "aclImdb/train/neg/1_2.txt",
         "aclImdb/train/pos/0_9.txt"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("application", CASES)
def test_an_archive_becomes_the_readers_folders(application, tmp_path, monkeypatch):
    content, expected = CASES[application]
    files = benchmark.module(application, "files")
    [real] = files.ARCHIVES
    assert len(real.sums["md5"]) == 32
    assert all(url.endswith(real.name) for url in real.urls)
    with serving({f"a/{real.name}": content}) as server:
        server.script[f"a/{real.name}"] = ["cut"]
        urls = (f"{server.url}/gone/{real.name}", f"{server.url}/a/{real.name}")
        digests = {"md5": hashlib.md5(content).hexdigest()}
        monkeypatch.setattr(files, "ARCHIVES", (Archive(real.name, urls, digests),))
        download.download(application, str(tmp_path))
    assert sums.files_of(str(tmp_path)) == expected
    assert download.verify(str(tmp_path)) == len(expected)
