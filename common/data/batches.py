"""The order of the data, the same for every framework and any number of processes.

Batches are a function of seed, epoch, rank and number of processes alone: global batch k is the
same set of examples whoever reads it, and reading can start at any batch.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.data.reader import Reader


@dataclass(frozen=True)
class Batches:
    """The global batches of an epoch, and how to read one.

    indices: an int64 array of example numbers per global batch: a list, or Cuts.
    read: what look_up gives -> {name: array of B rows}; picklable, for worker processes call it.
    look_up: int64 [B] -> what `read` gets, the numbers themselves by default.  It runs in this
        process: worker processes need no copy of what it looks them up in.
    following: gives the Batches of the next epoch; None: nobody reads on.
    """

    indices: Sequence[np.ndarray]
    read: Callable[[Any], dict[str, np.ndarray]]
    look_up: Callable[[np.ndarray], Any] = np.asarray
    following: Callable[[], "Batches"] | None = None

    def __len__(self):
        return len(self.indices)

    def at(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The batch of these numbers."""
        return self.read(self.look_up(numbers))

    def stream(
        self,
        first: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        threads: int = 2,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process's part of each batch from `first` on, read ahead: see Reader."""
        alone = replace(self, following=None)
        with Reader(workers, threads) as reader:
            for _, batch in reader.stream(alone, first, rank, world_size):
                yield batch


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
_orders = {}


def permutation(num_examples: int, epoch: int, seed: int) -> np.ndarray:
    """int [num_examples]: the order of an epoch, in the smallest type that does.

    Two orders are kept, so that the next epoch's can be made while this one's is used.
    """
    key = num_examples, epoch, seed
    order = _orders.get(key)
    if order is None:
        with _shuffling:  # one thread makes it, for all
            order = _orders.get(key)
            if order is None:
                for older in list(_orders)[:-1]:
                    del _orders[older]
                order = np.arange(num_examples, dtype=np.min_scalar_type(-num_examples))
                np.random.default_rng([seed, epoch]).shuffle(order)
                _orders[key] = order
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
