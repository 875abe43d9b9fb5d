"""The order of the data, the same for every framework and any number of processes.

Batches are a function of seed, epoch, rank and number of processes alone: global batch k is the
same set of examples whoever reads it, and reading can start at any batch.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batches:
    """The global batches of an epoch, and how to read one.

    indices: an int64 array of example numbers per global batch.
    read: int64 [B] -> {name: array of B rows}; picklable, so that worker processes can have it.
    """

    indices: list[np.ndarray]
    read: Callable[[np.ndarray], dict[str, np.ndarray]]

    def __len__(self):
        return len(self.indices)

    def local(self, first, rank, world_size):
        """This process's example numbers in each batch from `first` on."""
        return [np.array_split(batch, world_size)[rank] for batch in self.indices[first:]]

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
        dataset = grain.MapDataset.source(_Source(self.local(first, rank, world_size)))
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
    """A list as grain wants it: with numpy's integers for indices too."""

    def __init__(self, elements):
        self.elements = elements

    def __len__(self):
        return len(self.elements)

    def __getitem__(self, index):
        return self.elements[int(index)]


@functools.lru_cache(maxsize=2)  # a batch touches two epochs at most
def permutation(num_examples: int, epoch: int, seed: int) -> np.ndarray:
    """int64 [num_examples]: the order of an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(num_examples)


def mixed_epochs(num_examples: int, batch_size: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch, counted from 1, all of the same size.

    Training is one endless stream of shuffled epochs, cut into equal batches; a batch that holds
    the end of one epoch and the start of the next belongs to the first, as MLPerf's rules allow.
    Each number is a position in that stream; `examples_at` tells epoch and example.
    """
    first = -(-(epoch - 1) * num_examples // batch_size)
    last = -(-epoch * num_examples // batch_size)
    positions = np.arange(first * batch_size, last * batch_size, dtype=np.int64)
    return list(positions.reshape(-1, batch_size))


def examples_at(positions: np.ndarray, num_examples: int, seed: int):
    """(epoch, example) of each position in the endless stream: two int64 arrays, epochs from 1."""
    epochs = positions // num_examples + 1
    examples = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order = permutation(num_examples, int(epoch), seed)
        examples[here] = order[positions[here] % num_examples]
    return epochs, examples


def in_order(num_examples: int, batch_size: int) -> list[np.ndarray]:
    """Every example once, in order; the last batch is short."""
    numbers = np.arange(num_examples, dtype=np.int64)
    return [numbers[i : i + batch_size] for i in range(0, num_examples, batch_size)]
