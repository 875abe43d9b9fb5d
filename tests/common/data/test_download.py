"""A download against servers that misbehave: it resumes, retries, goes elsewhere, never lies."""

import dataclasses
import gzip
import hashlib
import os
import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.data import download, sums
from common.data.download import Archive, Patience
from common.errors import UserError, told
from tests.common.data.misbehaving_server import serving

CONTENT = bytes(range(256)) * 1024  # four chunks
SIZE = len(CONTENT)
MD5 = {"md5": hashlib.md5(CONTENT).hexdigest()}
QUICK = Patience(stall_seconds=0.2, attempts=3, pause_seconds=0.001)


@pytest.fixture()
def server():
    with serving({"a/data.tar": CONTENT, "b/data.tar": CONTENT}) as running:
        yield running


def archive(server, size=SIZE):
    """data.tar on two mirrors, a and b."""
    urls = (f"{server.url}/a/data.tar", f"{server.url}/b/data.tar")
    return Archive("data.tar", urls, MD5, size)


def fetched(server, folder, size=SIZE):
    path = download.fetch(archive(server, size), str(folder), QUICK)
    with open(path, "rb") as opened:
        assert opened.read() == CONTENT
    assert os.listdir(folder) == ["data.tar"]
    return [(path, asked) for path, asked in server.requests]


def test_a_good_server_is_asked_once(server, tmp_path):
    assert fetched(server, tmp_path) == [("a/data.tar", None)]


def test_a_file_that_is_there_is_checked_not_fetched(server, tmp_path):
    fetched(server, tmp_path)
    assert len(fetched(server, tmp_path)) == 1
    (tmp_path / "data.tar").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match=r"data.tar: its md5 is wrong.*Remove it"):
        download.fetch(archive(server), str(tmp_path), QUICK)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_cut_connection_goes_on_where_it_was_cut(server, tmp_path, size):
    server.script["a/data.tar"] = ["cut", "cut"]
    half = len(CONTENT) // 2
    assert [asked for _, asked in fetched(server, tmp_path, size)] == [
        None, f"bytes={half}-", f"bytes={half + half // 2}-",
    ]  # fmt: skip


def test_a_stalled_connection_is_given_up_and_goes_on(server, tmp_path):
    server.script["a/data.tar"] = ["stall"]
    assert fetched(server, tmp_path)[1] == ("a/data.tar", f"bytes={len(CONTENT) // 2}-")


def test_a_server_that_ignores_ranges_starts_anew(server, tmp_path):
    server.script["a/data.tar"] = ["cut", "no range"]
    assert len(fetched(server, tmp_path)) == 2


def test_server_errors_are_retried(server, tmp_path):
    server.script["a/data.tar"] = [500, 503]
    assert len(fetched(server, tmp_path)) == 3


def test_a_server_that_stays_broken_is_left_for_the_next(server, tmp_path):
    server.always["a/data.tar"] = 500
    assert [path[0] for path, _ in fetched(server, tmp_path)] == ["a", "a", "a", "b"]


@pytest.mark.parametrize("fault", [404, 403, "wrong bytes", "too long"])
def test_the_next_mirror_helps_at_once(server, tmp_path, fault):
    server.always["a/data.tar"] = fault
    assert fetched(server, tmp_path) == [("a/data.tar", None), ("b/data.tar", None)]


def test_the_next_mirror_goes_on_with_what_is_there(server, tmp_path):
    server.script["a/data.tar"] = ["cut", 404]
    assert fetched(server, tmp_path)[2] == ("b/data.tar", f"bytes={len(CONTENT) // 2}-")


def test_a_bad_beginning_does_not_spoil_a_good_mirror(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(b"rubbish")
    assert [asked for _, asked in fetched(server, tmp_path)] == ["bytes=7-", None]


def test_a_leftover_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(CONTENT + b"more")
    assert [asked for _, asked in fetched(server, tmp_path)] == [None]


@pytest.mark.parametrize("fault", [404, 500, "wrong bytes", "too long", "stall", "no range", "cut"])
def test_where_no_mirror_helps_nothing_has_the_final_name(server, tmp_path, fault):
    server.files.update(dict.fromkeys(server.files, CONTENT[:-1]))  # never the right file
    server.always = dict.fromkeys(server.files, fault)
    with pytest.raises(UserError, match=r"data.tar: no mirror gave it .*put the file at") as told:
        download.fetch(archive(server), str(tmp_path), QUICK)
    assert "\n" not in str(told.value)
    assert "data.tar" not in os.listdir(tmp_path)


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_another_answer_to_a_resumed_request_leaves_what_is_here(server, tmp_path, size):
    """A page that says "log in" with status 200, where the rest of 100 GB was asked for."""
    part = tmp_path / "data.tar.part"
    part.write_bytes(CONTENT[:-1])
    server.always = dict.fromkeys(server.files, "portal")
    with pytest.raises(UserError, match="sent another, shorter file of 27 bytes; 262,143 are here"):
        download.fetch(archive(server, size), str(tmp_path), QUICK)
    assert part.read_bytes() == CONTENT[:-1]
    assert os.listdir(tmp_path) == ["data.tar.part"]
    server.always = {}
    assert fetched(server, tmp_path, size)[-1] == ("a/data.tar", f"bytes={len(CONTENT) - 1}-")


def test_a_header_that_says_encoded_changes_no_byte(server, tmp_path):
    content = gzip.compress(CONTENT)
    server.files["a/data.tar"] = content
    server.always["a/data.tar"] = "x-gzip"
    digest = {"md5": hashlib.md5(content).hexdigest()}
    one = Archive("data.tar.gz", (f"{server.url}/a/data.tar",), digest)
    with open(download.fetch(one, str(tmp_path), QUICK), "rb") as opened:
        assert opened.read() == content


@pytest.mark.parametrize("fault", ["gzip bomb", "endless"])
def test_an_archive_of_unknown_size_has_a_bound(server, tmp_path, fault, monkeypatch):
    server.always["a/data.tar"] = fault
    one = dataclasses.replace(archive(server, None), at_most=len(CONTENT))
    sizes, judge = [], download.fault

    def watched(archive, path):
        sizes.append(os.path.getsize(path))
        return judge(archive, path)

    monkeypatch.setattr(download, "fault", watched)
    download.fetch(one, str(tmp_path), QUICK)  # from the second mirror
    assert len(sizes) == 2  # each mirror once
    assert max(sizes) < 2 * len(CONTENT)


def test_what_a_server_says_is_not_printed_raw(server, tmp_path, capsys):
    server.always = dict.fromkeys(server.files, "escapes")
    assert told(lambda: download.fetch(archive(server), str(tmp_path), QUICK)) == 1
    shown = capsys.readouterr().err
    assert r"HTTP 403 \x1b[31mred" in shown
    assert "\x1b" not in shown


def test_a_wrong_url_is_told_at_once(tmp_path):
    with pytest.raises(UserError, match="no mirror gave it"):
        download.fetch(Archive("x", ("nowhere",), MD5), str(tmp_path))


BEHAVIOURS = st.sampled_from(["cut", "stall", "wrong bytes", "too long", "no range", 404, 500])


@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script_a=st.lists(BEHAVIOURS, max_size=6), script_b=st.lists(BEHAVIOURS, max_size=6))
def test_any_misbehaviour_gives_the_right_file_or_none(script_a, script_b, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    with serving({"a/data.tar": CONTENT, "b/data.tar": CONTENT}) as server:
        server.script = {"a/data.tar": script_a, "b/data.tar": script_b}
        for _ in range(8):  # whoever starts it again often enough gets it
            try:
                download.fetch(archive(server), str(folder), QUICK)
                break
            except UserError:
                assert not (folder / "data.tar").exists()
    assert (folder / "data.tar").read_bytes() == CONTENT


def test_a_full_disk_is_one_line_and_keeps_what_came(server, tmp_path):
    code = (
        "import sys; from common.data import download as d; from common.errors import UserError\n"
        f"a = d.Archive('data.tar', ({server.url + '/a/data.tar'!r},), {MD5!r}, {len(CONTENT)})\n"
        f"try: d.fetch(a, {str(tmp_path)!r})\n"
        "except UserError as error: sys.exit(str(error))\n"
    )

    def small_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run([sys.executable, "-c", code], preexec_fn=small_disk,
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "data.tar.part: cannot be written (File too large). Make room" in done.stderr
    assert os.listdir(tmp_path) == ["data.tar.part"]
    assert len(fetched(server, tmp_path)) == 2


def test_sums_find_every_change(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "data.tar").write_bytes(b"not part of the dataset's sums")
    (tmp_path / "train" / "one").write_text("1")
    (tmp_path / "two  words").write_text("2")
    with pytest.raises(UserError, match="SHA256SUMS: not there"):
        download.verify(str(tmp_path))
    sums.write(str(tmp_path))
    assert download.verify(str(tmp_path)) == 2
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path)
    assert checked.returncode == 0
    (tmp_path / "three").write_text("3")
    with pytest.raises(UserError, match="three: not part of the dataset"):
        download.verify(str(tmp_path))
    (tmp_path / "three").unlink()
    (tmp_path / "train" / "one").write_text("!")
    with pytest.raises(UserError, match="one: its sha256 is wrong"):
        download.verify(str(tmp_path))
    (tmp_path / "train" / "one").unlink()
    with pytest.raises(UserError, match="one: missing"):
        download.verify(str(tmp_path))
