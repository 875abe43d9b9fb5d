"""From LibriSpeech's archives, imitated, to its folder and the index."""

import dataclasses
import hashlib
import io
import os
import tarfile

import numpy as np
import pytest

from common.data import download, sums
from common.data.download import Archive
from common.errors import UserError
from speech_recognition import audio, data, files, index
from speech_recognition.config import REFERENCE
from tests.common.data.misbehaving_server import serving
from tests.speech_recognition import sounds

SUBSETS = sounds.TRAIN | sounds.DEV
SMALL = dataclasses.replace(REFERENCE, num_train_utterances=5, num_eval_utterances=3)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """{archive: bytes}: a tar for each subset, as LibriSpeech's are made."""
    folder = tmp_path_factory.mktemp("made")
    sounds.write(folder, SUBSETS)
    for text in ("SPEAKERS.TXT", "LICENSE.TXT"):
        (folder / "LibriSpeech" / text).write_text(f"{text} of all\n")
    found = {}
    for subset in SUBSETS:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as opened:
            for name in ("SPEAKERS.TXT", "LICENSE.TXT", subset):
                opened.add(folder / "LibriSpeech" / name, f"LibriSpeech/{name}")
        found[f"{subset}.tar.gz"] = made.getvalue()
    return found


@pytest.fixture
def server(monkeypatch, contents):
    """A server of the imitation, whose sums and counts stand in the place of the real ones."""
    with serving(dict(contents)) as running:
        imitated = tuple(
            Archive(name, (f"{running.url}/{name}",), {"md5": hashlib.md5(c).hexdigest()}, len(c))
            for name, c in contents.items()
        )
        monkeypatch.setattr(files, "ARCHIVES", imitated)
        monkeypatch.setattr(files, "REFERENCE", SMALL)
        yield running


def test_the_archives_become_librispeechs_folder(server, tmp_path):
    server.script["dev-clean.tar.gz"] = ["cut"]
    download.download("speech_recognition", str(tmp_path))
    root = tmp_path / "LibriSpeech"
    assert set(os.listdir(root)) == {*SUBSETS, "SPEAKERS.TXT", "LICENSE.TXT"}
    before = set(os.listdir(tmp_path))
    config = data.prepare(dataclasses.replace(SMALL, data_dir=str(tmp_path)))
    assert set(os.listdir(tmp_path)) == before == {
        "archives", "LibriSpeech", config.index, sums.SUMS,
    }  # fmt: skip
    train = index.load(config, "train")
    samples = audio.read_audio(str(tmp_path / train.path(0)), own=True)
    assert np.array_equal(samples, sounds.noise(0.2, 2))
    # Eight FLAC files, four of transcripts, two texts; the index has sums of its own.
    assert download.verify(str(tmp_path)) == 14
    assert not [name for name in sums.files_of(str(tmp_path)) if name.endswith(".wav")]


def test_it_goes_on_where_it_was_cut_off(server, contents, tmp_path, monkeypatch):
    archives = {}
    for name, content in contents.items():
        archives[name] = str(tmp_path / name)
        (tmp_path / name).write_bytes(content)
    broken = dict(archives) | {"dev-other.tar.gz": str(tmp_path / "cut")}
    (tmp_path / "cut").write_bytes(contents["dev-other.tar.gz"][:-3000])
    folder = tmp_path / "folder"
    with pytest.raises(UserError, match="damaged") as caught:
        files.unpack(broken, str(folder))
    assert "\n" not in str(caught.value)
    assert not (folder / "LibriSpeech" / "dev-other").exists()
    kept = folder / "LibriSpeech" / "dev-clean"
    inode = kept.stat().st_ino
    files.unpack(archives, str(folder))
    assert kept.stat().st_ino == inode and (folder / "LibriSpeech" / "dev-other").exists()


def test_a_wrong_count_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REFERENCE", dataclasses.replace(SMALL, num_eval_utterances=4))
    with pytest.raises(UserError, match="expected 4 for eval utterances, found 3"):
        download.download("speech_recognition", str(tmp_path))
    assert not (tmp_path / sums.SUMS).exists()


@pytest.mark.parametrize(
    "name", ["LibriSpeech/dev-other/1/2/1-2-0000.flac", "../x.flac", "LibriSpeech/x/y.TXT", "x"]
)
def test_archives_are_not_trusted(name, tmp_path):
    path = str(tmp_path / "dev-clean.tar.gz")
    with tarfile.open(path, "w:gz") as opened:
        opened.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UserError, match="refused"):
        files.unpack({"dev-clean.tar.gz": path}, str(tmp_path / "folder"))
    assert not (tmp_path / "folder" / "LibriSpeech" / "dev-clean").exists()


def test_links_in_archives_are_refused(tmp_path):
    path = str(tmp_path / "dev-clean.tar.gz")
    with tarfile.open(path, "w:gz") as opened:
        member = tarfile.TarInfo("LibriSpeech/dev-clean/1/2/1-2-0000.flac")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(member)
    with pytest.raises(UserError, match="a link or a device: refused"):
        files.unpack({"dev-clean.tar.gz": path}, str(tmp_path / "folder"))


def test_the_real_archives():
    assert len({archive.name for archive in files.ARCHIVES}) == 7
    assert sum(archive.size for archive in files.ARCHIVES) == 61_357_943_031
    # Of the lines that the published lists make, sorted: a wrong digit shows.
    lines = sorted(f"{one.name} {one.size} {one.sums['md5']}" for one in files.ARCHIVES)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "115e0be378aca27e"
    for archive in files.ARCHIVES:
        assert len(archive.sums) == 1
        assert all(url.endswith(f"/resources/12/{archive.name}") for url in archive.urls)
    subsets = {archive.name.removesuffix(".tar.gz") for archive in files.ARCHIVES}
    read = {subset for subsets in index.SUBSETS.values() for subset in subsets}
    assert subsets - read == {"test-clean", "test-other"}  # the reference never reads them
