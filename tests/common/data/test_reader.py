"""The reader of a run: one pool for training and evaluation, ahead of both, ended at once."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import Batches, Cuts, mixed_epochs
from common.data.reader import Reader, packed, unpacked
from common.errors import UserError
from tests.conftest import ROOT

LONG = 1000  # seconds: of a batch that is never read to its end


def read(numbers):
    return {"numbers": numbers, "process": np.array(os.getpid())}


def endless(num_examples, batch_size, epoch, read=read):
    """The Batches of an epoch, and behind it of all that follow."""
    following = functools.partial(endless, num_examples, batch_size, epoch + 1, read)
    return Batches(mixed_epochs(num_examples, batch_size, epoch), read, following=following)


def take(stream, count):
    return [next(stream)[1] for _ in range(count)]


def numbers_of(batches):
    return [batch["numbers"].tolist() for batch in batches]


def eventually(holds):
    """Whether something comes true; it is waited for at most half a minute."""
    for _ in range(600):
        if holds():
            return True
        time.sleep(0.05)
    return False


def alive(pid):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as opened:
            return opened.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# What comes, and in which order.


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.data())
def test_a_stream_goes_on_through_the_epochs_from_any_batch_on(
    num_examples, batch_size, world_size, threads, data
):
    epochs = [mixed_epochs(num_examples, batch_size, epoch) for epoch in (1, 2, 3, 4)]
    first = data.draw(st.integers(0, len(epochs[0])))
    rank = data.draw(st.integers(0, world_size - 1))
    expected = [indices for epoch in epochs for indices in epoch][first:]
    with Reader(threads=threads) as reader:
        stream = reader.stream(endless(num_examples, batch_size, 1), first, rank, world_size)
        for indices in expected:
            whole, batch = next(stream)
            assert whole.tolist() == indices.tolist()
            own = np.array_split(indices, world_size)[rank]
            assert batch["numbers"].tolist() == own.tolist()


def test_epochs_and_evaluations_are_read_by_the_same_processes():
    batches = endless(20, 4, 1)
    with Reader(workers=2) as reader:
        training = reader.stream(batches)
        evaluation = Batches(Cuts(0, 12, 4), read)
        parts = [take(training, 5), list(zip(*reader.stream(evaluation)))[1], take(training, 5)]
        assert numbers_of(parts[0] + parts[2]) == [list(range(k, k + 4)) for k in range(0, 40, 4)]
        assert numbers_of(parts[1]) == [list(range(k, k + 4)) for k in range(0, 12, 4)]
        own = {worker.process.pid for worker in reader.workers}
    read_by = [{int(batch["process"]) for batch in part} for part in parts]
    assert len(own) == 2 and os.getpid() not in own
    assert all(pids <= own for pids in read_by)


def test_the_next_epochs_first_batch_is_read_before_one_asks():
    seen = []

    def noted(numbers):
        seen.append(numbers.tolist())
        return read(numbers)

    with Reader(threads=1) as reader:
        take(reader.stream(endless(20, 4, 1, noted)), 5)
        assert eventually(lambda: [20, 21, 22, 23] in seen)


def test_the_next_epoch_is_prepared_once_all_of_the_one_before_is_out():
    asked = threading.Event()

    def following():
        asked.set()

    with Reader(threads=1) as reader:
        stream = reader.stream(Batches(Cuts(0, 100, 1), read, following=following))
        take(stream, 1)
        assert not asked.is_set()
        take(stream, 1)
        assert asked.wait(30)
        assert len(take(stream, 98)) == 98
        assert next(stream, None) is None


def test_what_is_looked_up_here_is_what_a_process_reads():
    names = {number: f"name {number}" for number in range(6)}  # which no process gets a copy of

    def look_up(numbers):
        return [names[number] for number in numbers], os.getpid()

    batches = Batches(Cuts(0, 6, 3), functools.partial(pair_with, "x"), look_up)
    found = list(batches.stream(workers=1))
    assert [batch["names"].tolist() for batch in found] == [
        ["xname 0", "xname 1", "xname 2"], ["xname 3", "xname 4", "xname 5"],
    ]
    assert found[0]["here"] == os.getpid() and found[0]["there"] != os.getpid()


def pair_with(prefix, found):
    names, here = found
    return {"names": np.array([prefix + name for name in names]), "here": np.array(here),
            "there": np.array(os.getpid())}


def test_a_batch_arrives_as_it_was():
    batch = {
        "images": np.arange(600_000, dtype=np.uint8).reshape(2, 100, 1000, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "none": np.empty((0, 7), np.float32),
        "number": np.array(3.5),
        "flags": np.array([True, False, True]),
    }
    head, sizes, file = packed(batch)
    with file:
        again = unpacked(head, sizes, os.dup(file.fileno()))
    del file
    assert again.keys() == batch.keys()
    for name, array in batch.items():
        assert again[name].dtype == array.dtype and again[name].shape == array.shape
        assert again[name].tobytes() == array.tobytes()
        assert again[name].flags.writeable  # a framework may take it over as it lies
    again["images"][:] = 1
    nothing = {"none": np.empty((0, 7), np.float32)}
    head, sizes, file = packed(nothing)
    with file:
        assert unpacked(head, sizes, os.dup(file.fileno()))["none"].shape == (0, 7)


# Faults, and the end.


def fail(numbers):
    raise ZeroDivisionError(f"by {numbers[0]}")


def test_a_fault_in_a_process_comes_with_the_place_where_it_struck():
    with pytest.raises(ZeroDivisionError, match="by 0") as caught:
        list(Batches(Cuts(0, 4, 2), fail).stream(workers=1))
    assert "in fail" in caught.value.__notes__[0]


def end(numbers):
    os._exit(3)


def test_a_process_that_ends_by_itself_is_told_in_one_line():
    with pytest.raises(UserError, match=r"a data process ended with 3\. If memory ran out"):
        list(Batches(Cuts(0, 4, 2), end).stream(workers=1))


def sleep(numbers):
    time.sleep(LONG)


def test_closing_ends_processes_that_read_at_once():
    before = set(threading.enumerate())
    reader = Reader(workers=2)
    stream = reader.stream(Batches(Cuts(0, 100, 1), sleep))
    told = []

    def taking():
        with pytest.raises(UserError) as caught:
            next(stream)
        told.append(str(caught.value))

    taker = threading.Thread(target=taking)
    taker.start()
    assert eventually(lambda: reader.idle.empty())
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < LONG / 10
    assert [worker.process.exitcode for worker in reader.workers] == [-signal.SIGKILL] * 2
    taker.join()
    assert len(told) == 1
    assert not set(threading.enumerate()) - before


def test_closing_drops_what_threads_have_not_begun():
    seen, go_on, before = [], threading.Event(), set(threading.enumerate())

    def wait(numbers):
        seen.append(numbers)
        go_on.wait()
        return read(numbers)

    reader = Reader(threads=1)
    stream = reader.stream(Batches(Cuts(0, 100, 1), wait))
    threading.Thread(target=next, args=(stream,)).start()
    assert eventually(lambda: len(seen) == 1)
    threading.Timer(0.2, go_on.set).start()
    reader.close()
    assert len(seen) == 1
    assert eventually(lambda: not set(threading.enumerate()) - before)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process of its parent")
@pytest.mark.parametrize("busy", [True, False])
def test_processes_end_with_a_parent_that_is_killed(busy):
    code = (
        "import time\n"
        "from common.data.batches import Batches, Cuts\n"
        "from common.data.reader import Reader\n"
        "from tests.common.data.test_reader import read, sleep\n"
        "if __name__ == '__main__':\n"
        "    reader = Reader(workers=2)\n"
        "    list(reader.stream(Batches(Cuts(0, 4, 1), read)))\n"
        "    print(*(worker.process.pid for worker in reader.workers), flush=True)\n"
        f"    next(reader.stream(Batches(Cuts(0, 4, 1), sleep))) if {busy} else time.sleep({LONG})"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
                          text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(alive, pids))
        parent.kill()
    assert eventually(lambda: not any(map(alive, pids)))
