"""Archives that nobody vouches for: nothing leaves the folder, and the folder appears whole."""

import io
import os
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data import archive
from common.errors import UserError


def tar_of(path, entries):
    """entries: [(name, bytes or a TarInfo's type)]."""
    with tarfile.open(path, "w") as tar:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if content in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
                member.type, member.linkname = content, "../outside"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return str(path)


OUTSIDE = ["/etc/passwd", "../up", "a/../../up", "..", "a/..", "C:/windows", "..\\up", "\\up"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_entry_that_leads_outside_is_refused(name, tmp_path):
    path = tar_of(tmp_path / "evil.tar", [("good", b"one"), (name, b"two")])
    with pytest.raises(UserError, match="leads out of the folder: refused"):
        archive.write_all(archive.tar_files(path), str(tmp_path / "data"))
    assert sorted(os.listdir(tmp_path)) == ["data.part", "evil.tar"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
    ids=["symbolic link", "hard link", "device", "pipe"],
)
def test_what_is_no_file_is_refused(kind, tmp_path):
    path = tar_of(tmp_path / "evil.tar", [("link", kind), ("link/file", b"two")])
    with pytest.raises(UserError, match="'link', a link or a device: refused"):
        archive.write_all(archive.tar_files(path), str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_zip_is_held_to_the_same(name, tmp_path):
    path = str(tmp_path / "evil.zip")
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(name, b"two")
    with pytest.raises(UserError, match="leads out of the folder: refused"):
        list(archive.zip_files(path))
    with zipfile.ZipFile(path, "w") as opened:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="a link or a device: refused"):
        list(archive.zip_files(path))


@given(name=st.text(st.sampled_from("./\\ab:\0"), min_size=1, max_size=8))
def test_no_accepted_name_leads_outside(name):
    try:
        accepted = archive.inside(name, "x")
    except UserError:
        return
    path = os.path.normpath(os.path.join("/data", *accepted.split("/")))
    assert path == "/data" or path.startswith("/data/")


def test_a_name_that_comes_twice_is_refused(tmp_path):
    path = tar_of(tmp_path / "twice.tar", [("a", b"one"), ("./a", b"two")])
    with pytest.raises(UserError, match="holds 'a' twice"):
        archive.write_all(archive.tar_files(path), str(tmp_path / "data"))


def test_a_damaged_archive_is_one_line(tmp_path):
    path = tar_of(tmp_path / "cut.tar", [("a", b"1" * 5000), ("b", b"1" * 5000)])
    for keep in (7000, 700):
        with open(path, "r+b") as opened:
            opened.truncate(keep)
        with pytest.raises(UserError, match="damaged"):
            archive.write_all(archive.tar_files(path), str(tmp_path / "data"))
    (tmp_path / "no.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"no\.zip: damaged archive"):
        list(archive.zip_files(str(tmp_path / "no.zip")))
    assert not (tmp_path / "data").exists()


def test_the_folder_appears_whole_over_leftovers(tmp_path):
    (tmp_path / "data.part").mkdir()
    (tmp_path / "data.part" / "leftover").write_text("of a run that was killed")
    path = tar_of(tmp_path / "good.tar", [("./x/a", b"one"), ("x/b", b"two")])
    archive.write_all(archive.tar_files(path), str(tmp_path / "data"))
    found = {str(p.relative_to(tmp_path / "data")): p.read_bytes()
             for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert found == {"x/a": b"one", "x/b": b"two"}


@pytest.mark.parametrize(("places", "value"), [((6, 8), 1), ((8, 10), 99)])
def test_a_zip_that_cannot_be_unpacked_is_one_line(places, value, tmp_path):
    """Encrypted; packed by a method that zipfile does not know."""
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("name", b"content")
    content = bytearray(path.read_bytes())
    for start, offset in zip((0, content.find(b"PK\1\2")), places):
        content[start + offset] = value
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged archive"):
        archive.write_all(archive.zip_files(str(path)), str(tmp_path / "out"))
