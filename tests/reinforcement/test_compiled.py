"""Where the machine code is kept: never in the checkout, and nowhere if nothing can be written."""

import os
import pathlib
import subprocess
import sys

from reinforcement import compiled
from tests.conftest import ROOT

PLAYS = ("from reinforcement import compiled, go\n"
         "position = go.Position(3, 0.5)\n"
         "position.play(4)\n"
         "print(compiled.FOLDER, int(position.score() * 2))\n")


def started(cache):
    return subprocess.Popen([sys.executable, "-c", PLAYS], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=os.environ | {"NUMBA_CACHE_DIR": cache})  # fmt: skip


def test_two_processes_at_once_fill_the_folder_that_was_named(tmp_path):
    both = [started(str(tmp_path)) for _ in range(2)]
    for process in both:
        out, err = process.communicate()
        folder, score = out.split()
        assert process.returncode == 0, err
        assert pathlib.Path(folder).parent == tmp_path and score == "17"
    assert list(tmp_path.rglob("*.nbi"))


def test_without_a_folder_it_works_all_the_same():
    process = started("/dev/null/cache")
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "None 17\n"), err


def test_nothing_is_written_beside_the_sources():
    assert compiled.FOLDER
    assert not list((ROOT / "reinforcement").rglob("*.nbi"))


def test_who_compiles_waits_for_who_does_so(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "FOLDER", str(tmp_path))
    code = ("import fcntl, sys\n"
            "try: fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
            "except BlockingIOError: print('locked')\n")  # fmt: skip
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    with compiled.one_at_a_time():
        assert subprocess.run(command, capture_output=True, text=True).stdout == "locked\n"
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""
