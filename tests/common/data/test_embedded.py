"""The embedded data: whole or absent, whoever else writes it and whatever stops the writer."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from common.data import embedded
from common.errors import UserError
from tests.conftest import ROOT

# Writes two files, so many seconds apart.
SLOW = """
import os, sys, time
from common.data import embedded

def write(folder):
    open(os.path.join(folder, "first"), "w").close()
    time.sleep(float(sys.argv[1]))
    open(os.path.join(folder, "second"), "w").close()

print(embedded.ensure("application", 3, write))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder that the embedded data of all applications lies in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "time-to-quality"


def start(seconds):
    """A process that takes so long to write the data."""
    return subprocess.Popen([sys.executable, "-c", SLOW, str(seconds)], cwd=ROOT,
                            stdout=subprocess.PIPE, text=True)


def write(folder):
    (pathlib.Path(folder) / "file").write_text("whole")


def test_written_once_and_readable_by_others(cache):
    folder = pathlib.Path(embedded.ensure("application", 3, write))
    assert folder == cache / "application-quick-3"
    assert (folder / "file").read_text() == "whole"
    assert folder.stat().st_mode & 0o777 == 0o755
    assert embedded.ensure("application", 3, lambda folder: pytest.fail("again")) == str(folder)


def test_another_version_is_another_folder(cache):
    embedded.ensure("application", 3, write)
    embedded.ensure("application", 4, write)
    assert sorted(os.listdir(cache)) == ["application-quick-3", "application-quick-4"]


def test_two_processes_at_once_write_one_folder(cache):
    processes = [start(0.5) for _ in range(2)]
    folders = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert folders == [str(cache / "application-quick-3")] * 2
    assert os.listdir(cache) == ["application-quick-3"]
    assert sorted(os.listdir(folders[0])) == ["SHA256SUMS", "first", "second"]


def test_killed_midway_it_is_written_anew(cache):
    process = start(60)
    deadline = time.time() + 60
    while not list(cache.glob("*/whole/first")):
        assert time.time() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (cache / "application-quick-3").exists()
    folder = start(0).communicate(timeout=60)[0].strip()
    assert sorted(os.listdir(folder)) == ["SHA256SUMS", "first", "second"]
    assert os.listdir(cache) == ["application-quick-3"]  # nothing of the killed one is left


def cut(file):
    file.write_text(file.read_text()[:-1])


def emptied(file):
    file.write_text("")


def removed(file):
    file.unlink()


@pytest.mark.parametrize("name", ["file", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [cut, emptied, removed])
def test_damaged_data_are_made_again(cache, damage, name):
    folder = pathlib.Path(embedded.ensure("application", 3, write))
    damage(folder / name)
    assert embedded.ensure("application", 3, write) == str(folder)
    assert (folder / "file").read_text() == "whole"
    assert os.listdir(cache) == ["application-quick-3"]


def test_what_others_laid_beside_the_data_stays(cache):
    folder = pathlib.Path(embedded.ensure("application", 3, write))
    (folder / "derived").mkdir()
    (folder / "derived" / "file").write_text("more")
    embedded.ensure("application", 3, lambda folder: pytest.fail("again"))
    assert (folder / "derived" / "file").read_text() == "more"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="Set XDG_CACHE_HOME"):
        embedded.ensure("application", 3, write)


def test_a_failure_leaves_nothing(cache):
    def fail(folder):
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        embedded.ensure("application", 3, fail)
    assert os.listdir(cache) == []
