"""From COCO's archives, imitated, to its folder and the index."""

import dataclasses
import hashlib
import io
import os
import zipfile

import numpy as np
import pytest

from common.data import download, sums
from common.data.download import Archive
from common.errors import UserError
from object_detection import coco, data, files
from object_detection.config import REFERENCE
from tests.common.data.misbehaving_server import serving
from tests.object_detection import scenes

SMALL = dataclasses.replace(REFERENCE, num_classes=3, num_listed_images=7, num_train_images=4,
                            num_eval_images=3)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """{archive: bytes}: as COCO's are made, a folder's entry first."""
    folder = scenes.write(tmp_path_factory.mktemp("made"))
    (folder / "annotations" / "captions_val2017.json").write_text("{}")
    found = {files.BACKBONE: b"weights"}
    for name, inside in ((files.ANNOTATIONS, "annotations"), ("val2017.zip", "val2017"),
                         ("train2017.zip", "train2017")):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as opened:
            opened.writestr(f"{inside}/", "")
            for path in sorted((folder / inside).iterdir()):
                opened.write(path, f"{inside}/{path.name}")
        found[name] = made.getvalue()
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


def test_the_archives_become_cocos_folder(server, tmp_path):
    server.script["val2017.zip"] = ["cut"]
    download.download("object_detection", str(tmp_path), accepts=True)
    before = set(os.listdir(tmp_path))
    config = data.prepare(dataclasses.replace(SMALL, data_dir=str(tmp_path)))
    assert set(os.listdir(tmp_path)) == before == {
        "archives", "annotations", "train2017", "val2017", "R-50.pkl", config.index, sums.SUMS,
    }  # fmt: skip
    assert (tmp_path / "R-50.pkl").read_bytes() == b"weights"
    pictures = coco.load(config, "train")
    assert np.array_equal(pictures.ids, [3, 5, 8, 12])
    # Ten pictures, three .json, the weights; the index has sums of its own.
    assert download.verify(str(tmp_path)) == 10 + 3 + 1


def test_the_terms_are_asked(server, tmp_path):
    with pytest.raises(UserError, match=r"Flickr.*--accept_terms"):
        download.download("object_detection", str(tmp_path))


def test_it_goes_on_where_it_was_cut_off(server, contents, tmp_path):
    archives = {}
    for name, content in contents.items():
        archives[name] = str(tmp_path / name)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "cut").write_bytes(contents["train2017.zip"][:-300])
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UserError, match="damaged") as caught:
        files.unpack(archives | {"train2017.zip": str(tmp_path / "cut")}, str(folder))
    assert "\n" not in str(caught.value) and not (folder / "train2017").exists()
    inode = (folder / "annotations").stat().st_ino
    files.unpack(archives, str(folder))
    assert (folder / "annotations").stat().st_ino == inode and (folder / "train2017").exists()


def test_a_wrong_count_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REFERENCE", dataclasses.replace(SMALL, num_train_images=5))
    with pytest.raises(UserError, match="expected 5 for train images, found 4"):
        download.download("object_detection", str(tmp_path), accepts=True)
    assert not (tmp_path / sums.SUMS).exists()


@pytest.mark.parametrize("name", ["val2017/x/1.jpg", "../x.jpg", "train2017/1.jpg", "x",
                                  "/val2017/1.jpg"])
def test_archives_are_not_trusted(name, tmp_path):
    path = str(tmp_path / "val2017.zip")
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(name, b"")
    with pytest.raises(UserError, match="refused"):
        list(files.inside(path, "val2017"))


def test_the_real_archives():
    assert [archive.name for archive in files.ARCHIVES] == [
        "R-50.pkl", "annotations_trainval2017.zip", "val2017.zip", "train2017.zip",
    ]  # fmt: skip
    assert sum(archive.size or 0 for archive in files.ARCHIVES) == 20_405_354_669
    for archive in files.ARCHIVES:
        [(kind, digest)] = archive.sums.items()
        assert len(digest) == {"md5": 32, "sha256": 64}[kind]
        assert all(url.endswith(f"/{archive.name}") for url in archive.urls)
    assert (REFERENCE.num_listed_images, REFERENCE.num_train_images, REFERENCE.num_eval_images) == (
        118_287, 117_266, 5_000)  # fmt: skip
