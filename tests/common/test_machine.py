"""What others do on the machine, and the system's caches."""

import os
import subprocess
import sys

import pytest

from common import machine
from common.errors import UserError


def test_what_others_use_by_hand(monkeypatch):
    """Ten seconds on all cores, of which half were busy: a fifth by the run, the rest by others."""
    cores = os.cpu_count()
    monkeypatch.setattr(machine, "busy_seconds", lambda: 100.0)
    load = machine.Load()
    load.started -= 10.0
    monkeypatch.setattr(machine, "busy_seconds", lambda: 100.0 + 5.0 * cores)
    assert load.others(2.0 * cores) == pytest.approx(0.3, abs=0.01)
    assert load.others(6.0 * cores) == 0.0  # the two are not read at the same time


def test_too_short_a_run_says_nothing():
    assert machine.Load().others(0.0) is None


def test_own_seconds_hold_those_of_what_was_started():
    before = machine.own_seconds()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"],
                   check=True)
    assert machine.own_seconds() - before > 0.4


def test_clearing_caches_without_the_right_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "DROP_CACHES", str(tmp_path / "no" / "such"))
    with pytest.raises(UserError, match=r"--clear_caches: .*It needs root"):
        machine.clear_caches()
    monkeypatch.setattr(machine, "DROP_CACHES", str(tmp_path / "caches"))
    machine.clear_caches()
    assert (tmp_path / "caches").read_text() == "3"


@pytest.mark.parametrize("file", [machine.BOOT_ID, "/nowhere"])
def test_processes_of_this_host_say_the_same(file, monkeypatch):
    monkeypatch.setattr(machine, "BOOT_ID", file)
    code = f"from common import machine; machine.BOOT_ID = {file!r}; print(machine.host())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{machine.host()}\n" != "\n"
