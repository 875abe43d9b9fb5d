"""Hosts meet, know why they did not, and learn how the others end."""

import concurrent.futures
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from common import launch, processes
from common.command import Layout
from common.errors import UserError, told
from common.hosts import Hosts, listening, receive, send

FLAGS = {"seed": 1, "sizes": (1, 2)}


@pytest.fixture
def port():
    return processes.free_port()


@pytest.fixture
def meet(port):
    """meet(node_rank, ...): the Future of that host's Hosts."""
    pool = concurrent.futures.ThreadPoolExecutor()
    met = []

    def start(node_rank, nodes=2, seconds=60, flags=FLAGS, host="127.0.0.1"):
        layout = Layout(nodes=nodes, node_rank=node_rank, host=host, port=port,
                        wait_seconds=seconds)  # fmt: skip
        met.append(pool.submit(Hosts, layout, flags))
        return met[-1]

    yield start
    for future in met:
        with contextlib.suppress(UserError):
            future.result().end()
    pool.shutdown()


def fault_of(check):
    """The one line that check(), called again and again, ends with."""
    with pytest.raises(UserError) as caught:
        while True:
            check()
            time.sleep(0.01)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def knock(port, said):
    """A connection to host 0, on which something was said."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(said)
            return connection
        time.sleep(0.01)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_three_hosts_meet_in_any_order(host, meet, port, capsys):
    last, middle, first = (meet(rank, 3, host=host).result for rank in (2, 1, 0))
    assert {hosts().address for hosts in (first, middle, last)} <= {"127.0.0.1", "::1"}
    assert middle().first == first().address
    for hosts in (first, middle, last):
        hosts().check()
    listening(port).close()  # the framework's launcher can have it
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3
    for rank, whom in ((0, "the others"), (1, "host 0"), (2, "host 0")):
        assert any(line.startswith(f"host {rank} of 3 waits for {whom} at ") for line in shown)
    assert all(line.endswith(f":{port}, 60 s at most") for line in shown)


@pytest.mark.parametrize(("node_rank", "words"), [
    (0, "without host 1, 2."), (1, "host 0 does not answer (Connection refused)."),
])  # fmt: skip
def test_a_host_waits_no_longer_than_said(node_rank, words, meet):
    shown = fault_of(meet(node_rank, 3, seconds=1).result)
    assert shown.startswith("waited 1 s at 127.0.0.1:")
    assert words in shown


def test_a_host_that_waits_for_a_third_waits_no_longer_than_said(meet):
    first, second = meet(0, 3), meet(1, 3, seconds=1)
    assert "host 0 waits for others still" in fault_of(second.result)
    meet(1, 3)  # it may come again
    meet(2, 3).result()
    first.result().check()


STRANGERS = [b"", b"\n", b"GET / HTTP/1.0\r\n\r\n", b"[" * 100_000 + b"\n", b"\xff\xfe\n", b"{}\n",
             b'{"node_rank": true, "flags": {}}\n', b'{"node_rank": 1}\n', b"1" * 5000 + b"\n"]


def test_strangers_do_not_hinder(meet, port):
    first = meet(0)
    for said in STRANGERS:
        knock(port, said).close()
    meet(1).result()
    first.result().check()


def test_a_host_of_another_run_is_told_why(meet):
    first = meet(0)
    other = meet(1, flags=FLAGS | {"seed": 2})
    assert "seed is 2 here and 1 on host 0." in fault_of(other.result)
    assert "--node_rank=5 is there already, or is none" in fault_of(meet(5).result)
    meet(1).result()
    first.result().check()


def test_a_host_that_left_may_come_again(meet, port):
    first = meet(0, 3)
    gone = knock(port, b'{"node_rank": 1, "flags": {"seed": 1, "sizes": [1, 2]}}\n')
    assert "is there already" in fault_of(meet(1, 3).result)
    gone.close()
    time.sleep(0.1)
    second = meet(1, 3)
    meet(2, 3).result()
    second.result().check()
    first.result().check()


def test_a_port_in_use_is_told_at_once(meet, port):
    with listening(port):
        assert f"port {port}: is in use on this host" in fault_of(meet(0).result)


def test_a_host_that_nobody_knows(meet):
    assert "no address of that host" in fault_of(meet(1, host="nowhere.invalid").result)


@pytest.mark.parametrize("ends", [0, 1])
def test_a_good_end_is_no_fault(ends, meet):
    hosts = [meet(0).result, meet(1).result]
    hosts[ends]().end()
    time.sleep(0.1)
    hosts[1 - ends]().check()
    assert hosts[1 - ends]().connections == {}


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_each_learns_of_a_bad_end(ends, meet):
    hosts = [future.result() for future in [meet(rank, 3) for rank in range(3)]]
    others = [rank for rank in (0, 1, 2) if rank != ends]
    with pytest.raises(KeyboardInterrupt), hosts[ends]:
        raise KeyboardInterrupt
    for rank in others:  # host 0 before the third, whom it tells
        shown = fault_of(hosts[rank].check)
        assert shown.endswith(f"host {ends} has ended: it was interrupted.")
        with pytest.raises(UserError), hosts[rank]:
            raise UserError(shown)


def test_a_killed_host_is_gone(meet, port):
    layout = Layout(nodes=2, node_rank=1, host="127.0.0.1", port=port)
    code = f"from common.hosts import Hosts\nfrom common.command import Layout\nimport time\n" \
           f"hosts = Hosts({layout}, {FLAGS})\ntime.sleep(600)"
    first = meet(0)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as other:
        first.result().check()
        other.send_signal(signal.SIGKILL)
    assert fault_of(first.result().check).startswith("host 1 is gone. ")


def test_a_message_is_read_to_its_end_alone():
    one, other = socket.socketpair()
    with one, other:
        send(one, {"start": True})
        send(one, {"end": ""})
        assert [receive(other), receive(other)] == [{"start": True}, {"end": ""}]
        one.close()
        assert receive(other) == {}


@pytest.mark.parametrize(("text", "words"), [
    ("", "expected 2 hosts, by commas"),
    ("here", "expected 2 hosts, by commas"),
    ("here,::1", "'::1': expected HOST or HOST:PORT"),
    ("here,there:http", "'there:http': expected HOST or HOST:PORT"),
    ("here,there:0", "ports from 0 on"),
    ("here,there:65535", "2 ports from 65535 on: expected 1 to 65535"),
    ("here,", "'': expected HOST or HOST:PORT"),
])  # fmt: skip
def test_faults_in_tensorflows_hosts(text, words, monkeypatch):
    monkeypatch.setenv("TF_HOSTS", text)
    layout = Layout(processes=2, nodes=2, node_rank=1, host="here", port=7000)
    assert words in fault_of(lambda: launch.workers_of(layout))


def test_tensorflows_hosts(monkeypatch, port):
    layout = Layout(processes=2, nodes=2, node_rank=1, host="here", port=7000)
    monkeypatch.setenv("TF_HOSTS", f"here,[::1]:{port}")
    assert launch.workers_of(layout) == [
        "here:7000", "here:7001", f"[::1]:{port}", f"[::1]:{port + 1}",
    ]  # fmt: skip
    with listening(port):
        assert f"port {port}: is in use" in fault_of(lambda: launch.workers_of(layout))


def test_of_processes_that_find_a_fault_one_tells(capfd, monkeypatch):
    voice = processes.Voice()
    monkeypatch.setenv(processes.LAUNCHED, voice.path)
    assert not voice.was_heard()

    def fail():
        raise UserError("a fault of all")

    assert [told(fail, may_speak=processes.may_speak) for _ in range(3)] == [1, 1, 1]
    assert capfd.readouterr().err == "error: a fault of all\n"
    assert voice.was_heard()
    monkeypatch.delenv(processes.LAUNCHED)
    assert processes.may_speak()


def test_a_process_whose_peer_has_gone_ends_without_a_word():
    """PaddlePaddle says so with an OSError, before the launcher can know; who is alone says it."""
    code = ("import sys; from common.errors import told; from common.processes import may_speak\n"
            "def fail(): print(flush=True); raise OSError('the peer has closed')\n"
            "sys.exit(told(fail, may_speak=may_speak if sys.argv[1:] else None))")  # fmt: skip
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    peer = processes.start([sys.executable, "-c", code, "launched"], {}, **said)
    peer.stdout.readline()  # it has failed
    time.sleep(0.5)
    assert processes.wait_for_all([peer], check=peer.kill) == -9
    alone = processes.start([sys.executable, "-c", code], {}, **said)
    assert [peer.communicate(), alone.communicate()] == [
        ("", ""), ("\n", "error: input or output: the peer has closed.\n"),
    ]  # fmt: skip


@pytest.mark.parametrize("dies", [0, 1])
def test_each_process_is_watched(dies):
    """Whichever of them dies, the others are ended."""
    codes = ["import time; time.sleep(600)"] * 2
    codes[dies] = "import os; os.kill(os.getpid(), 9)"
    children = [processes.start([sys.executable, "-c", code], {}) for code in codes]
    assert processes.wait_for_all(children) == -9
    assert [child.returncode for child in children] == [-9, -9]


def test_what_the_check_raises_ends_the_processes():
    child = processes.start([sys.executable, "-c", "import time; time.sleep(600)"], {})
    calls = threading.Event()

    def check():
        if calls.is_set():
            raise UserError("host 1 is gone")
        calls.set()

    with pytest.raises(UserError, match="host 1 is gone"):
        processes.wait_for_all([child], check)
    assert child.returncode == -9
