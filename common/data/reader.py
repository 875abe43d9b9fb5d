"""Reads batches ahead of the model, in threads or processes that live as long as a run.

Our own pool: training and evaluation share it, it goes on into the next epoch, which batches it is
to read is known only as the run goes on, and when the run ends it ends at once.  PyTorch's
DataLoader and its like are made for one stream each.
"""

import collections
import contextlib
import math
import mmap
import multiprocessing
import multiprocessing.reduction
import os
import pickle
import queue
import signal
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from common import processes
from common.errors import UserError

ALIGNMENT = 64  # bytes, of an array's content


class Reader:
    """A pool that reads batches: `workers` processes, or with 0 `threads` of this process.

        with Reader(workers=4) as reader:
            for indices, batch in reader.stream(batches): ...

    Neither number changes what comes, or in which order.
    """

    def __init__(self, workers: int = 0, threads: int = 2):
        self.ahead = 2 * (workers or threads)  # batches read, or being read, before one asks
        self.pool = ThreadPoolExecutor(workers or threads, "reader")
        self.workers = [Worker() for _ in range(workers)]
        self.idle = queue.SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.close()

    def close(self):
        """Ends all at once.  A thread that reads a batch finishes that one first."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        for worker in self.workers:
            worker.kill()
        self.pool.shutdown()
        for worker in self.workers:
            worker.connection.close()  # now that no thread waits for it

    def stream(
        self,
        batches,
        first: int = 0,
        rank: int = 0,
        world_size: int = 1,
        epochs: float = math.inf,
    ):
        """Yields (indices, this process's part) of each batch from `first` on, in order.

        indices: int64, the example numbers of the global batch.
        Behind the last batch come those of `batches.following()`, if there is one: that is called
        while the epoch before is read, and its first batches are read with that epoch's last.
        epochs: how many there are at most.
        """
        waiting = collections.deque()
        while batches is not None:
            epochs -= 1
            follow, following = batches.following if epochs > 0 else None, None
            for count, indices in enumerate(batches.indices[first:]):
                if count == self.ahead + 1 and follow:
                    # This epoch's first batch is out, so nothing of the epoch before is needed.
                    following = self.pool.submit(follow)
                own = np.array_split(indices, world_size)[rank]
                waiting.append((indices, self.pool.submit(self._read, batches, own)))
                if len(waiting) > self.ahead:
                    yield _result(waiting.popleft())
            if follow and not following:
                following = self.pool.submit(follow)
            batches, first = following and following.result(), 0
        while waiting:
            yield _result(waiting.popleft())

    def _read(self, batches, numbers):
        found = batches.look_up(numbers)
        if not self.workers:
            return batches.read(found)
        worker = self.idle.get()
        try:
            return worker.read(batches.read, found)
        finally:
            self.idle.put(worker)


def _result(pair):
    indices, future = pair
    return indices, future.result()


class Worker:
    """A process that reads one batch after another, and its end of the connection."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")  # a fork beside threads may hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        # Ctrl-C in a terminal is the parent's to handle, from the process's first moment on.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()

    def read(self, read, found):
        """read(found), done there.  Raises what it raises."""
        try:
            self.connection.send((read, found))
            answer, sizes = self.connection.recv()
            if sizes is not None:
                descriptor = multiprocessing.reduction.recv_handle(self.connection)
        except (EOFError, OSError):
            self.process.join()
            raise UserError(
                f"a data process ended with {self.process.exitcode}. If memory ran out, take fewer "
                "--workers; else start again with --resume."
            ) from None
        if sizes is None:
            raise answer
        return unpacked(answer, sizes, descriptor)

    def kill(self):
        """Ends the process, whatever it does."""
        self.process.kill()
        self.process.join()


def serve(connection):
    """What a worker process does: answers each (read, found) until its parent is gone."""
    processes.end_with_parent()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            read, found = connection.recv()
            try:
                answer, sizes, file = packed(read(found))
            except Exception as error:
                connection.send((portable(error), None))
                continue
            with file:
                connection.send((answer, sizes))
                multiprocessing.reduction.send_handle(connection, file.fileno(), os.getppid())


def portable(error):
    """The error, with where it happened as a note; a RuntimeError of its text where pickle would
    not bring it over.
    """
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))


# A batch travels in a file without a name, in memory where the system has such: nothing is copied
# on the way, nothing is left when a process is killed, and a small /dev/shm does not matter.


def packed(batch):
    """(its pickle, but for the arrays' content; the contents' sizes; a file of the contents)."""
    buffers = []
    head = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    contents = [buffer.raw() for buffer in buffers]
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("batch"), "wb")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115, the caller closes it
    for content in contents:
        file.write(content)
        file.write(bytes(-content.nbytes % ALIGNMENT))
    file.flush()
    return head, [content.nbytes for content in contents], file


def unpacked(head, sizes, descriptor):
    """The batch of `packed`.  Its arrays lie in the file, which goes when they do."""
    ends = np.cumsum([size + -size % ALIGNMENT for size in sizes], dtype=np.int64)
    try:
        whole = memoryview(mmap.mmap(descriptor, int(ends[-1])) if any(sizes) else b"")
    finally:
        os.close(descriptor)
    starts = [0, *ends[:-1].tolist()]
    return pickle.loads(head, buffers=[whole[a : a + size] for a, size in zip(starts, sizes)])
