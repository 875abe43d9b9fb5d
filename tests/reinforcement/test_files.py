"""The four games of professionals, imitated, to a folder that the reference predicts."""

import dataclasses
import hashlib
import os

import pytest

from common.data import download
from common.data.download import Archive
from common.errors import UserError
from reinforcement import experts, files
from reinforcement.config import REFERENCE
from tests.common.data.misbehaving_server import serving


def test_the_published_files():
    assert [(archive.name, archive.size) for archive in files.ARCHIVES] == [
        ("9x9_pro_YKSH.sgf", 378), ("9x9_pro_IYMD.sgf", 498), ("9x9_pro_YSIY.sgf", 408),
        ("9x9_pro_IYHN.sgf", 306),
    ]  # fmt: skip
    assert all(archive.urls[0].endswith(f"/v0.5/reinforcement/tensorflow/minigo/benchmark_sgf/"
                                        f"{archive.name}") for archive in files.ARCHIVES)


def test_two_of_them_are_the_real_samples(unpacked):
    """Byte for byte, by the sums; their moves are asked, 104 in all."""
    folder = unpacked("reinforcement")
    for archive in files.ARCHIVES[:2]:
        content = (folder / "sgf" / "pro" / archive.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == archive.sums["sha256"]
        assert len(content) == archive.size
    pro = dataclasses.replace(REFERENCE, data_dir=str(folder / "sgf" / "pro" / ".."))
    names = [os.path.basename(path) for path in experts.files(str(folder))]
    assert len(names) == 56
    asked = experts.questions(dataclasses.replace(pro, data_dir=str(folder)))
    assert len(asked) > 1500 and {question.komi for question in asked} > {7.5}


def test_games_are_fetched_checked_and_laid_where_they_are_read(tmp_path, monkeypatch):
    contents = {f"{n}.sgf": b"(;SZ[9]KM[7.5];B[ee];W[ec])" + b" " * n for n in range(2)}
    with serving(dict(contents)) as running:
        imitated = tuple(
            Archive(name, (f"{running.url}/{name}",),
                    {"sha256": hashlib.sha256(content).hexdigest()}, len(content))
            for name, content in contents.items()
        )  # fmt: skip
        monkeypatch.setattr(files, "ARCHIVES", imitated)
        download.download("reinforcement", str(tmp_path))
    assert sorted(os.listdir(tmp_path / "sgf")) == ["0.sgf", "1.sgf"]
    config = dataclasses.replace(REFERENCE, data_dir=str(tmp_path))
    assert [question.answer for question in experts.questions(config)] == [40, 22] * 2
    assert download.verify(str(tmp_path)) == 2
    (tmp_path / "sgf" / "1.sgf").write_bytes(b"(;SZ[9])")
    with pytest.raises(UserError, match=r"1\.sgf"):
        download.verify(str(tmp_path))
