"""From WMT's archives, imitated, to the text and its pieces."""

import dataclasses
import hashlib
import io
import os
import tarfile

import pytest

from common.data import download, sums
from common.data.download import Archive
from common.errors import UserError
from tests.common.data.misbehaving_server import serving
from translation import data, files
from translation.config import REFERENCE


def tar_bytes(entries):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as opened:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return made.getvalue()


def pair(name, english, german):
    return {f"{name}.en": english.encode(), f"{name}.de": german.encode()}


CONTENTS = {
    files.NEWS: tar_bytes(
        pair("training/news-commentary-v12.de-en", " News \r\na\u2028b\n", "Nachricht\nzwei\n")
        | {"training/news-commentary-v12.ru-en.en": b"not used"}
    ),
    files.CRAWL: tar_bytes(pair("commoncrawl.de-en", "Crawl\n\n", "Krabbeln\n\n")),
    files.EUROPARL: tar_bytes(
        pair("training/europarl-v7.de-en", "The House rose", "Schluss der Sitzung")
    ),
    files.DEV: tar_bytes(pair("dev/newstest2013", "Old\n", "Alt\n") | {"dev/x.sgm": b""}),
    "newstest2014.en": b"New  one \nTwo\n",
    "newstest2014.de": b"Neu  eins \nZwei\n",
}
SMALL = dataclasses.replace(
    REFERENCE, num_train_pairs=5, num_eval_sentences=2, vocabulary_size=285
)


@pytest.fixture
def server(monkeypatch):
    """A server of the imitation, whose sums and counts stand in the place of the real ones."""
    with serving(dict(CONTENTS)) as running:
        imitated = tuple(
            Archive(name, (f"{running.url}/{name}",), {"sha256": hashlib.sha256(c).hexdigest()})
            for name, c in CONTENTS.items()
        )
        monkeypatch.setattr(files, "ARCHIVES", imitated)
        monkeypatch.setattr(files, "REFERENCE", SMALL)
        yield running


def test_the_archives_become_text_and_pieces(server, tmp_path):
    server.script[files.CRAWL] = ["cut"]
    download.download("translation", str(tmp_path))
    expected = {
        "train.en": "News\na\u2028b\nCrawl\n\nThe House rose\n",
        "train.de": "Nachricht\nzwei\nKrabbeln\n\nSchluss der Sitzung\n",
        "newstest2013.en": "Old\n",
        "newstest2013.de": "Alt\n",
        "newstest2014.en": "New  one \nTwo\n",
        "newstest2014.de": "Neu  eins \nZwei\n",
    }
    for name, text in expected.items():
        assert (tmp_path / name).read_bytes() == text.encode()
    before = set(os.listdir(tmp_path))
    config = data.prepare(dataclasses.replace(SMALL, data_dir=str(tmp_path)))
    assert set(os.listdir(tmp_path)) == before  # the pieces were there
    assert set(sums.files_of(str(tmp_path))) == set(expected)  # the pieces have sums of their own
    assert download.verify(str(tmp_path)) == len(expected)
    assert len(sums.read(str(tmp_path / config.encoded))) == 9


def test_a_failure_leaves_no_half_text(server, tmp_path, monkeypatch):
    broken = dict(files.TRAIN) | {files.EUROPARL: "training/europarl-v9.de-en"}
    monkeypatch.setattr(files, "TRAIN", broken)
    with pytest.raises(UserError, match=r"lacks training/europarl-v9\.de-en\.en") as caught:
        download.download("translation", str(tmp_path))
    assert "\n" not in str(caught.value)
    assert sums.files_of(str(tmp_path)) == []


def test_a_wrong_count_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REFERENCE", dataclasses.replace(SMALL, num_train_pairs=6))
    with pytest.raises(UserError, match="expected 6 for train pairs, found 5"):
        download.download("translation", str(tmp_path))


@pytest.mark.parametrize("kind", ["link", "outside"])
def test_archives_are_not_trusted(kind, tmp_path):
    path = str(tmp_path / files.DEV)
    with tarfile.open(path, "w:gz") as opened:
        member = tarfile.TarInfo("dev/newstest2013.en" if kind == "link" else "../newstest2013.en")
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(member)
    with pytest.raises(UserError, match="refused"):
        files.write_pair({files.DEV: path}, files.VALIDATION, str(tmp_path), "newstest2013")
    assert not (tmp_path / "newstest2013.en").exists()


def test_the_real_archives():
    names = [archive.name for archive in files.ARCHIVES]
    assert len(set(names)) == 6
    for archive in files.ARCHIVES:
        [(algorithm, digest)] = archive.sums.items()
        assert len(digest) == {"sha256": 64, "md5": 32}[algorithm]
        assert all(url.endswith(f"/{archive.name}") for url in archive.urls)
    sizes = {archive.name: archive.size for archive in files.ARCHIVES}
    assert (sizes["newstest2014.en"], sizes["newstest2014.de"]) == (359_898, 399_406)
