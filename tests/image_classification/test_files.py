"""From ImageNet's official archives to class folders, on a small imitation of them."""

import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import scipy.io

from common.data import download, sums
from common.data.download import Archive, Patience
from common.errors import UserError
from image_classification import files
from tests.common.data.misbehaving_server import serving

WNIDS = ["n01440764", "n01443537", "n02000000"]
TRUTH = [3, 1, 2, 1]  # ILSVRC2012_IDs: not in the order of the wnids
IDS = {1: "n01443537", 2: "n02000000", 3: "n01440764"}


def tar_bytes(entries, mode="w"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def imitation():
    """{archive's name: bytes}: two training images a class, four for validation."""
    fields = [("ILSVRC2012_ID", float), ("WNID", object), ("words", object), ("gloss", object),
              ("num_children", float)]
    synsets = [(i, wnid, "words", "gloss", 0) for i, wnid in IDS.items()]
    synsets.append((4, "n00001740", "entity", "a parent is no class", 3))
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": np.array(synsets, fields)})
    root = "ILSVRC2012_devkit_t12/data"
    truth = "".join(f"{label}\n" for label in TRUTH).encode()
    train = [(f"{w}.tar", tar_bytes([(f"{w}_{n}.JPEG", f"{w} {n}".encode()) for n in (7, 10)]))
             for w in WNIDS]
    val = [(f"ILSVRC2012_val_{n:08d}.JPEG", f"val {n}".encode()) for n in range(1, 5)]
    return {
        files.DEVKIT: tar_bytes([(f"{root}/meta.mat", meta.getvalue()),
                                 (f"{root}/ILSVRC2012_validation_ground_truth.txt", truth)],
                                "w:gz"),
        files.VAL: tar_bytes(val),
        files.TRAIN: tar_bytes(train),
    }  # fmt: skip


@pytest.fixture()
def server(monkeypatch):
    """A server of the imitation, whose sums stand in the place of ImageNet's."""
    contents = imitation()
    with serving(contents) as running:
        archives = tuple(
            Archive(name, (f"{running.url}/{name}",), {"md5": hashlib.md5(content).hexdigest()})
            for name, content in contents.items()
        )
        monkeypatch.setattr(files, "ARCHIVES", archives)
        yield running


def test_the_archives_become_class_folders(server, tmp_path):
    folder = str(tmp_path / "imagenet")
    download.download("image_classification", folder, accepts=True)
    expected = {f"train/{w}/{w}_{n}.JPEG": f"{w} {n}" for w in WNIDS for n in (7, 10)}
    expected |= {f"val/{IDS[label]}/ILSVRC2012_val_{n:08d}.JPEG": f"val {n}"
                 for n, label in enumerate(TRUTH, 1)}
    assert sums.files_of(folder) == sorted(expected)
    for name, text in expected.items():
        with open(os.path.join(folder, name)) as opened:
            assert opened.read() == text
    assert download.verify(folder) == 10
    asked = len(server.requests)
    download.download("image_classification", folder)
    assert len(server.requests) == asked


def test_terms_come_first(server, tmp_path):
    folder = str(tmp_path / "imagenet")
    with pytest.raises(UserError, match=r"accepted its terms: https.*ILSVRC2012_devkit_t12.tar.gz"):
        download.download("image_classification", folder)
    assert not server.requests
    store = tmp_path / "imagenet" / "archives"
    store.mkdir(parents=True)
    for name, content in server.files.items():  # what the user fetched with a browser
        (store / name).write_bytes(content)
    download.download("image_classification", folder)
    assert download.verify(folder) == 10
    assert not server.requests


def test_it_goes_on_after_any_interruption(server, tmp_path, monkeypatch):
    """Killed at each file that it writes, one after another."""
    folder = str(tmp_path / "imagenet")
    real, interrupted = files.write_all, 0
    written = []

    def killed_once_each(entries, target):
        nonlocal interrupted
        entries = [(name, io.BytesIO(file.read())) for name, file in entries]
        if len(written) == interrupted:
            interrupted += 1
            real(entries[:1], f"{target}.part/never")  # a torn folder stays behind
            raise KeyboardInterrupt
        real(entries, target)
        written.append(target)

    monkeypatch.setattr(files, "write_all", killed_once_each)
    for _ in range(20):
        try:
            download.download("image_classification", folder, accepts=True)
            break
        except KeyboardInterrupt:
            assert not os.path.exists(os.path.join(folder, sums.SUMS))
    assert interrupted == 4  # val, and a class of train each
    assert download.verify(folder) == 10
    assert len(sums.files_of(folder)) == 10


def test_a_mirror_of_the_users_own_is_asked_first(server, tmp_path):
    with serving(imitation()) as own:
        own.always[files.VAL] = "wrong bytes"
        download.download("image_classification", str(tmp_path), own.url, accepts=True,
                          patience=Patience(1.0, 2, 0.001))
        assert len(own.requests) == 3
    assert [path for path, _ in server.requests] == [files.VAL]


def test_validation_images_are_counted(server, tmp_path):
    content = tar_bytes([("ILSVRC2012_val_00000001.JPEG", b"1")])
    (tmp_path / "val.tar").write_bytes(content)
    with pytest.raises(UserError, match="expected 4 images, found 1"):
        list(files.sorted_by_class(str(tmp_path / "val.tar"), ["a"] * 4))
    with pytest.raises(UserError, match="expected a number from 1 to 0"):
        list(files.sorted_by_class(str(tmp_path / "val.tar"), []))
