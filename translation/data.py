"""Parallel text as batches: buckets of pairs of about the same length, numpy out.

A bucket holds the pairs whose longer side has about the same length, and all its batches have one
shape.  So there are as many shapes as buckets, 42 for the reference, whatever the order.  Both
sides are padded to the longer one's length, which costs little (tests/translation/test_data.py
measures it).  Buckets by both lengths would leave more places empty in the batches that are not
full at an epoch's end than they save in the others.
"""

import dataclasses
import functools

import numpy as np

from common.data.batches import Batches, permutation
from common.data.buckets import as_they_fill, bucket_of, filler, longest_first, longest_in
from common.data.dataset import with_counts, with_folder
from common.errors import UserError
from translation import quick_data, text, vocabulary

FIRST_BOUND = 8                  # the first bucket has the pairs of fewer pieces than this
FIRST_PIECE = vocabulary.UNKNOWN + 1


def prepare(config):
    """The config with its data found, checked, counted and encoded.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    config = with_folder(config, "translation", "WMT17's text", quick_data.ensure)
    counts, encoded = text.survey(config)
    config = with_counts(config, config.data_dir, counts)
    config = dataclasses.replace(config, encoded=encoded)
    text.encode(config)
    if not (kept_pairs(config) >= 0).any():
        raise UserError(
            f"{config.data_dir}: no training pair has max_length={config.max_length} pieces or "
            "fewer. Raise it with --set."
        )
    lengths = text.load(config, "test")[0].lengths()
    bounds = bucket_bounds(config.max_length, int(lengths.max()))
    places = int(longest_in(bounds, bucket_of(bounds, lengths.max()))) + config.extra_decode_length
    if places > config.max_positions:
        raise UserError(
            f"{text.path_of(config, 'test', 'en')}, line {lengths.argmax() + 1:,}: a sentence of "
            f"{lengths.max():,} pieces is decoded to {places:,} places. Say --set "
            f"max_positions={places}, or shorten it."
        )
    return config


@functools.lru_cache(maxsize=8)
def bucket_bounds(max_length, longest=0):
    """int64 [buckets]: the bound of each bucket, see common/data/buckets.py.

    The reference's rule: each bound is a tenth more than the one before, from 8 on, and the last is
    max_length + 1.  Test sentences may be longer: up to `longest` the same rule goes on from there.
    """
    bounds = []
    bound = FIRST_BOUND
    while bound <= max_length:
        bounds.append(bound)
        bound = next_bound(bound)
    bounds.append(max_length + 1)
    while bounds[-1] <= longest:
        bounds.append(next_bound(bounds[-1]))
    return np.array(bounds)


def next_bound(bound):
    """A tenth more, rounded down, and at least one."""
    return max(bound + 1, int(1.1 * bound))


def bucket_rows(config):
    """int64 [buckets]: pairs in a batch of each bucket of training."""
    return np.maximum(1, config.batch_tokens // bucket_bounds(config.max_length))


@functools.lru_cache(maxsize=1)
def kept_pairs(config):
    """int16 [pairs]: the bucket of each training pair; -1 for one longer than max_length."""
    source, target = text.load(config, "train")
    bounds = bucket_bounds(config.max_length)
    buckets = bucket_of(bounds, np.maximum(source.lengths(), target.lengths()))
    return np.where(buckets < len(bounds), buckets, -1).astype(np.int16)


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".  A batch: see read."""
    if split == "train":
        indices = train_indices(config, epoch)
        following = functools.partial(batches, config, split, epoch + 1)
    else:
        indices, following = test_indices(config), None
    return Batches(indices, functools.partial(read, config, split), following=following)


def train_indices(config, epoch):
    """Packed: the pairs in the order of (seed, epoch), each batch when its bucket is full."""
    buckets = kept_pairs(config)
    order = permutation(len(buckets), epoch, config.seed)
    return as_they_fill(buckets, bucket_rows(config), order)


def test_indices(config):
    """Packed: every test sentence once, long ones first, those of a length's bucket together."""
    lengths = text.load(config, "test")[0].lengths()
    bounds = bucket_bounds(config.max_length, int(lengths.max()))
    return longest_first(bucket_of(bounds, lengths), config.eval_batch_size)


def read(config, split, numbers):
    """One batch.  END ends each sentence, and zeros, which are PAD, follow it.

    Training: sources and targets, int32 [B, S], where S is the longest length of the pairs' bucket.
    numbers: of pairs, or filler(k) for an empty pair of bucket k, which is zeros alone.

    Test: sources, int32 [B, S], where S is the longest length of the sentences' bucket; numbers,
    int64 [B], the sentences' own.  A sentence's S does not depend on the batch's other sentences.

    Any part of a batch has the same S.  A part without numbers gives one row of zeros, with number
    -1.
    """
    source, target = text.load(config, split)
    if not len(numbers):
        numbers = np.array([-1])
    if split == "train":
        first = numbers[0]
        bucket = filler(first) if first < 0 else kept_pairs(config)[first]
        length = longest_in(bucket_bounds(config.max_length), bucket)
        sides = [side.fill(numbers, length, np.int32) for side in (source, target)]
        return {"sources": sides[0], "targets": sides[1]}
    first = max(0, numbers[0])
    own = len(source[first])
    bounds = bucket_bounds(config.max_length, own)
    length = longest_in(bounds, bucket_of(bounds, own))
    return {"sources": source.fill(numbers, length, np.int32), "numbers": numbers.astype(np.int64)}


def padding_share(batch):
    """The share of a training batch's places that hold no piece, of both sides."""
    sides = (batch["sources"], batch["targets"])
    return float(sum((side == vocabulary.PAD).sum() for side in sides) / sum(s.size for s in sides))
