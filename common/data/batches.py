"""The order of the data, the same for every framework and any number of processes.

Batches are a function of seed, epoch, rank and number of processes alone: global batch k is the
same set of examples whoever reads it, and reading can start at any batch.
"""

import functools
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common import processes


@dataclass(frozen=True)
class Batches:
    """The global batches of an epoch, and how to read one.

    indices: an int64 array of example numbers per global batch: a list, or Cuts.
    read: int64 [B] -> {name: array of B rows}; picklable, so that worker processes can have it.
    """

    indices: Sequence[np.ndarray]
    read: Callable[[np.ndarray], dict[str, np.ndarray]]

    def __len__(self):
        return len(self.indices)

    def stream(
        self,
        first: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        threads: int = 2,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process's part of each batch from `first` on, read ahead of the model.

        workers: processes that read; with 0, as many `threads` of this process do.  Neither changes
        what comes, or in which order.
        """
        grain = _grain()
        # One element is a whole batch, so a batch of any shape is read by one worker at a time.
        dataset = grain.MapDataset.source(_Source(self.indices[first:], rank, world_size))
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        iterator = iter(_in_workers(dataset.map(self.read).to_iter_dataset(options), workers))
        try:
            yield from iterator
        finally:
            iterator.close()  # or worker processes outlive a reader who stops early


def _grain():
    """The library.  It greets with a warning that it finds no jax, which nobody here misses."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import grain
    finally:
        logger.setLevel(level)
    return grain


def _in_workers(dataset, workers):
    """The same elements in the same order, read by as many processes."""
    if not workers:
        return dataset
    grain = _grain()
    return dataset.mp_prefetch(
        grain.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=2
        )
    )


class _Source:
    """This process's example numbers in each batch, as grain asks for them: by numpy's integers."""

    def __init__(self, indices, rank, world_size):
        self.indices = indices
        self.rank = rank
        self.world_size = world_size

    def __setstate__(self, state):
        # In a worker process, which else would wait for ever for a reader that was killed.
        vars(self).update(state)
        if multiprocessing.parent_process():
            processes.end_with_parent()

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return np.array_split(self.indices[int(index)], self.world_size)[self.rank]


@dataclass(frozen=True)
class Cuts(Sequence):
    """The numbers from `first` to before `last` in batches of `size`, the last one maybe short.

    Made when asked for: an epoch may hold a hundred million, and worker processes get a copy.
    """

    first: int
    last: int
    size: int

    def __len__(self):
        return -(-(self.last - self.first) // self.size)

    def __getitem__(self, index):
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError(f"expected step 1, found {step}")
            ends = (min(self.first + place * self.size, self.last) for place in (start, stop))
            return Cuts(*ends, self.size)
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = self.first + (index % len(self)) * self.size
        return np.arange(start, min(start + self.size, self.last), dtype=np.int64)


def dealt(indices: Sequence[np.ndarray], rank: int, world_size: int) -> list[np.ndarray]:
    """Every world_size-th batch, whole, from number `rank` on: what one process evaluates."""
    return [indices[number] for number in range(rank, len(indices), world_size)]


_shuffling = threading.Lock()


def permutation(num_examples: int, epoch: int, seed: int) -> np.ndarray:
    """int [num_examples]: the order of an epoch, in the smallest type that does."""
    with _shuffling:  # the cache alone would let each thread of a reader make it
        return _permutation(num_examples, epoch, seed)


@functools.lru_cache(maxsize=2)  # a batch touches two epochs at most
def _permutation(num_examples, epoch, seed):
    order = np.arange(num_examples, dtype=np.min_scalar_type(-num_examples))
    np.random.default_rng([seed, epoch]).shuffle(order)
    return order


def mixed_epochs(num_examples: int, batch_size: int, epoch: int) -> Cuts:
    """The batches of an epoch, counted from 1, all of the same size.

    Training is one endless stream of shuffled epochs, cut into equal batches; a batch that holds
    the end of one epoch and the start of the next belongs to the first, as MLPerf's rules allow.
    Each number is a position in that stream; `examples_at` tells epoch and example.
    """
    first = -(-(epoch - 1) * num_examples // batch_size)
    last = -(-epoch * num_examples // batch_size)
    return Cuts(first * batch_size, last * batch_size, batch_size)


def examples_at(positions: np.ndarray, num_examples: int, seed: int):
    """(epoch, example) of each position in the endless stream: two int64 arrays, epochs from 1."""
    epochs = positions // num_examples + 1
    examples = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order = permutation(num_examples, int(epoch), seed)
        examples[here] = order[positions[here] % num_examples]
    return epochs, examples


def in_order(num_examples: int, batch_size: int) -> Cuts:
    """Every example once, in order; the last batch is short."""
    return Cuts(0, num_examples, batch_size)
