"""Batches of examples of about the same length, so that there are few shapes and little padding.

Bucket k holds the lengths below bounds[k], from bounds[k - 1] on.  What a length counts (pieces,
samples) and where the bounds lie is the application's choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Packed(Sequence):
    """The example numbers of each batch, as parts of one array: numbers[starts[i]:][:counts[i]].

    A batch has rows[i] numbers; where that is more than counts[i], fillers[i] makes up the rest.
    One array and not a list of them: a worker process gets a copy, and an epoch has tens of
    thousands of batches.
    """

    numbers: np.ndarray          # int [N]: the members of all batches, concatenated
    starts: np.ndarray           # int64 [batches]
    counts: np.ndarray           # int64 [batches]
    rows: np.ndarray             # int64 [batches]
    fillers: np.ndarray          # int64 [batches]

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        if isinstance(index, slice):
            parts = (self.starts, self.counts, self.rows, self.fillers)
            return Packed(self.numbers, *(part[index] for part in parts))
        found = np.full(self.rows[index], self.fillers[index], np.int64)
        start, count = self.starts[index], self.counts[index]
        found[:count] = self.numbers[start : start + count]
        return found


def bucket_of(bounds: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64, in the shape of lengths: the bucket of each; len(bounds) beyond the last bound."""
    return np.searchsorted(bounds, lengths, side="right")


def longest_in(bounds: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """The longest length in each of these buckets: the padded length of their batches."""
    return bounds[buckets] - 1


def filler(bucket: int) -> int:
    """The number, below 0, of an empty example of this bucket.  Also the other way round."""
    return -1 - bucket


def as_they_fill(buckets: np.ndarray, rows: np.ndarray, order: np.ndarray) -> Packed:
    """A training epoch: examples are taken in order, and a batch comes when its bucket is full.

    The batches that are not full at the epoch's end come last, the lowest bucket first.  Fillers
    complete them, so that all batches of a bucket have one shape.

    buckets: int [N], of each example; below 0: the example is left out.
    rows: int64 [buckets], the batch size of each bucket.
    order: int [N], a permutation of the examples.
    """
    order = order[buckets[order] >= 0]
    buckets = buckets[order]
    grouped = np.argsort(buckets, kind="stable")  # places in the order, bucket by bucket
    bucket, starts, counts = _cut(np.bincount(buckets, minlength=len(rows)), rows)
    full = counts == rows[bucket]
    # A full batch comes when its last example does, the others after all examples.
    comes = np.where(full, grouped[starts + counts - 1], len(order) + bucket)
    first = np.argsort(comes)
    return Packed(
        order[grouped], starts[first], counts[first], rows[bucket[first]], filler(bucket[first])
    )


def longest_first(buckets: np.ndarray, batch_size: int) -> Packed:
    """An evaluation: every example once, the highest bucket first, each batch of one bucket.

    A bucket's last batch may be short; there are no fillers.

    buckets: int [N], of each example, 0 or more.
    """
    rank = buckets.max() - buckets
    order = np.argsort(rank, kind="stable")
    sizes = np.bincount(rank)
    _, starts, counts = _cut(sizes, np.full(len(sizes), batch_size))
    return Packed(order, starts, counts, counts, np.zeros_like(counts))


def _cut(sizes, rows):
    """(bucket, start, count) of each batch, int64 [batches], where buckets lie one after another.

    sizes, rows: int64 [buckets], how many examples, and how many at most in a batch.
    """
    num_batches = -(-sizes // rows)
    bucket = np.repeat(np.arange(len(sizes)), num_batches)
    before = np.repeat(np.cumsum(num_batches) - num_batches, num_batches)
    within = (np.arange(len(bucket)) - before) * rows[bucket]
    starts = (np.cumsum(sizes) - sizes)[bucket] + within
    return bucket, starts, np.minimum(rows[bucket], sizes[bucket] - within)
