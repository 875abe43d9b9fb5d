"""Parallel text as batches: files, pieces, buckets, numpy out.

    DATA_DIR/NAME.en and DATA_DIR/NAME.de, UTF-8, a sentence a line, line n of one for line n of
    the other; NAME is train_name or test_name of the config.

What `prepare` makes of it stands beside it, once for all runs: DATA_DIR/encoded-*/ with the
vocabulary and the pieces.

A bucket holds the pairs whose longer side has about the same length, and all its batches have one
shape, so there are as many shapes as buckets: 42 for the reference, whatever the order.  Padding
both sides by the longer one costs little beyond that (tests/translation/test_data.py measures it);
buckets of both lengths leave more partly filled at an epoch's end than they save.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.data import folder
from common.data.batches import Batches, permutation
from common.errors import UserError
from translation import quick_data, vocabulary

VERSION = 1                      # of the encoded folder: another number, another folder
LANGUAGES = ("en", "de")         # source, target
SPLITS = ("train", "test")
FIRST_BOUND = 8                  # the first bucket has the pairs of fewer pieces than this
VOCABULARY_PAIRS = 500_000       # the vocabulary is learnt from about as many, evenly taken
FIRST_PIECE = vocabulary.UNKNOWN + 1
CHUNK = 1 << 14                  # sentences encoded at once


@dataclass(frozen=True, eq=False)
class Sentences:
    """One language of a split: the pieces of all sentences behind each other, not in memory."""

    pieces: np.ndarray           # uint16 or int32, END after each sentence
    starts: np.ndarray           # int64 [N + 1]: sentence n is pieces[starts[n]:starts[n + 1]]

    def lengths(self):
        """int64 [N]: pieces of each sentence, END counted."""
        return np.diff(self.starts)

    def fill(self, numbers, length):
        """int32 [B, length]: sentences behind which zeros stand; negative numbers: zeros alone."""
        filled = np.full((len(numbers), length), vocabulary.PAD, np.int32)
        for row, number in enumerate(numbers):
            if number >= 0:
                pieces = self.pieces[self.starts[number] : self.starts[number + 1]]
                filled[row, : len(pieces)] = pieces
        return filled


def prepare(config):
    """The config with its data found, checked, counted and encoded.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    if not config.data_dir:
        if config.profile == "reference":
            raise UserError(
                "the reference profile needs --data_dir=FOLDER with WMT17's text in it. "
                "translation/download_dataset.sh FOLDER fetches it."
            )
        config = dataclasses.replace(config, data_dir=quick_data.ensure())
    found, name = survey(config)
    for field, count in found.items():
        expected = getattr(config, field)
        if expected is not None and count != expected:
            what = field.removeprefix("num_").replace("_", " ")
            raise UserError(
                f"{config.data_dir}: expected {expected:,} for {what}, found {count:,}. Unpack the "
                f"dataset again, or say --set {field}=None for a dataset of your own."
            )
    config = dataclasses.replace(config, encoded=name, **found)
    encode(config)
    if not (kept_pairs(config) >= 0).any():
        raise UserError(
            f"{config.data_dir}: no training pair has max_length={config.max_length} pieces or "
            "fewer. Raise it with --set."
        )
    lengths = load(config, "test")[0].lengths()
    bounds = bucket_bounds(config.max_length, int(lengths.max()))
    bucket = np.searchsorted(bounds, lengths.max(), side="right")
    places = int(longest_in(bounds, bucket)) + config.extra_decode_length
    if places > config.max_positions:
        raise UserError(
            f"{text_path(config, 'test', 'en')}, line {lengths.argmax() + 1:,}: a sentence of "
            f"{lengths.max():,} pieces is decoded to {places:,} places. Say --set "
            f"max_positions={places}, or shorten it."
        )
    return config


def text_path(config, split, language):
    """The file of one language of a split."""
    return os.path.join(config.data_dir, f"{getattr(config, split + '_name')}.{language}")


def survey(config):
    """({field of config: count}, name of the encoded folder).  Raises UserError.

    The name changes with all that the folder's content depends on: the text and the vocabulary.
    """
    digest = hashlib.sha256(repr((VERSION, config.vocabulary_size)).encode())
    counts = {}
    for split in SPLITS:
        found = []
        for language in LANGUAGES:
            path = text_path(config, split, language)
            count, text_sum = count_lines(path)
            digest.update(text_sum)
            found.append(count)
        if found[0] != found[1]:
            paths = [text_path(config, split, language) for language in LANGUAGES]
            raise UserError(
                f"{paths[0]} has {found[0]:,} lines, {paths[1]} has {found[1]:,}: expected as many "
                "of both, a line for a line. Unpack the dataset again."
            )
        if not found[0]:
            raise UserError(f"{text_path(config, split, 'en')}: no line in this file.")
        counts[split] = found[0]
    fields = {"num_train_pairs": counts["train"], "num_eval_sentences": counts["test"]}
    return fields, f"encoded-{digest.hexdigest()[:16]}"


def count_lines(path):
    """(lines, sha256 as bytes) of a file.  Raises UserError."""
    digest, count, last = hashlib.sha256(), 0, b"\n"
    try:
        with open(path, "rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
                count += chunk.count(b"\n")
                last = chunk
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file. Expected NAME.en and NAME.de in --data_dir; --set "
            "train_name=NAME and --set test_name=NAME say which."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    return count + (not last.endswith(b"\n")), digest.digest()


def read_lines(path, every=1):
    """Yields each line of a file, or every so-manieth; see lines."""
    with open(path, "rb") as opened:
        yield from lines(opened, path, every)


def lines(opened, name, every=1):
    """Yields each line of a binary file, or every so-manieth, without white space at its ends.

    A line ends with "\n" alone: the corpora hold other signs that Unicode calls an end of line,
    and to split there would bring the two languages out of step.  Raises UserError.
    """
    for number, line in enumerate(opened):
        if number % every == 0:
            try:
                yield line.decode().strip()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{name}, line {number + 1:,}: not UTF-8 ({error.reason}). "
                    "Unpack the dataset again."
                ) from None


def encode(config):
    """Makes the encoded folder, once for all runs, whole or not at all.  Raises UserError.

    vocabulary.model, and for each split and language SPLIT.LANGUAGE.npy with the pieces and
    SPLIT.LANGUAGE.starts.npy; see Sentences.
    """
    path = os.path.join(config.data_dir, config.encoded)
    advice = "Make room, or start once from a copy of the dataset in a folder that can be written."
    folder.make(path, functools.partial(write_encoded, config), "the encoded text", advice)


def write_encoded(config, folder):
    """Fills an empty folder; at most one language's pieces are in memory."""
    model = os.path.join(folder, "vocabulary.model")
    every = -(-config.num_train_pairs // VOCABULARY_PAIRS)
    sample = (
        line
        for language in LANGUAGES
        for line in read_lines(text_path(config, "train", language), every)
    )
    with open(model, "wb") as opened:
        opened.write(vocabulary.learn(sample, config.vocabulary_size))
    processor = vocabulary.load(model)
    dtype = np.uint16 if config.vocabulary_size <= 1 << 16 else np.int32
    for split in SPLITS:
        for language in LANGUAGES:
            pieces, lengths = [], [np.zeros(1, np.int64)]
            for texts in chunks(read_lines(text_path(config, split, language))):
                encoded = processor.encode(texts, add_eos=True)
                lengths.append(np.array([len(sentence) for sentence in encoded], np.int64))
                flat = (piece for sentence in encoded for piece in sentence)
                pieces.append(np.fromiter(flat, dtype, count=lengths[-1].sum()))
            name = os.path.join(folder, f"{split}.{language}")
            np.save(f"{name}.npy", np.concatenate(pieces))
            np.save(f"{name}.starts.npy", np.cumsum(np.concatenate(lengths)))


def chunks(texts):
    """Yields lists of CHUNK texts, the last one shorter."""
    found = []
    for text in texts:
        found.append(text)
        if len(found) == CHUNK:
            yield found
            found = []
    if found:
        yield found


@functools.lru_cache(maxsize=4)
def load_encoded(folder, split):
    """(Sentences of the source, Sentences of the target) of an encoded folder's split."""
    sides = []
    for language in LANGUAGES:
        name = os.path.join(folder, f"{split}.{language}")
        pieces = np.load(f"{name}.npy", mmap_mode="r")
        sides.append(Sentences(pieces, np.load(f"{name}.starts.npy")))
    return tuple(sides)


def load(config, split):
    """load_encoded of a prepared config."""
    return load_encoded(os.path.join(config.data_dir, config.encoded), split)


def processor(config):
    """The vocabulary of a prepared config: see vocabulary.load."""
    return vocabulary.load(os.path.join(config.data_dir, config.encoded, "vocabulary.model"))


@functools.lru_cache(maxsize=1)
def references(config):
    """[str]: the right translations of the test set, as they are written."""
    return list(read_lines(text_path(config, "test", "de")))


@functools.lru_cache(maxsize=8)
def bucket_bounds(max_length, longest=0):
    """int64 [buckets]: bucket k has the lengths below its bound, from the bound of k - 1 on.

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


def longest_in(bounds, buckets):
    """The places that batches of buckets have: the longest length below the bound."""
    return bounds[buckets] - 1


@functools.lru_cache(maxsize=1)
def kept_pairs(config):
    """int16 [pairs]: the bucket of each training pair; -1 for one longer than max_length."""
    source, target = load(config, "train")
    bounds = bucket_bounds(config.max_length)
    buckets = np.searchsorted(bounds, np.maximum(source.lengths(), target.lengths()), side="right")
    return np.where(buckets < len(bounds), buckets, -1).astype(np.int16)


@dataclass(frozen=True, eq=False)
class Packed(Sequence):
    """Arrays of example numbers of different lengths: the parts of one array.

    A worker process gets a copy, and an epoch has tens of thousands of batches.
    """

    numbers: np.ndarray          # int32 or int64: all members behind each other
    starts: np.ndarray           # int64 [batches]: where the members of a batch begin
    counts: np.ndarray           # int64 [batches]: how many they are
    rows: np.ndarray             # int64 [batches]: length of the batch's array
    fillers: np.ndarray          # int64 [batches]: what fills it up

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


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".  A batch: see read."""
    indices = train_indices(config, epoch) if split == "train" else test_indices(config)
    return Batches(indices, functools.partial(read, config, split))


def train_indices(config, epoch):
    """Packed: the pairs in the order of (seed, epoch), collected in buckets.

    A batch comes when its bucket is full; what is left at the epoch's end comes behind, the short
    pairs first, filled up with empty ones: -1 - k for bucket k, so that the shape is known.
    """
    pairs_bucket = kept_pairs(config)
    order = permutation(len(pairs_bucket), epoch, config.seed)
    order = order[pairs_bucket[order] >= 0]
    buckets = pairs_bucket[order]
    grouped = np.argsort(buckets, kind="stable")  # places in the order, bucket by bucket
    sizes = np.bincount(buckets, minlength=len(bucket_bounds(config.max_length)))
    rows = bucket_rows(config)
    num_batches = -(-sizes // rows)
    bucket = np.repeat(np.arange(len(sizes)), num_batches)
    within = np.arange(len(bucket)) - np.repeat(np.cumsum(num_batches) - num_batches, num_batches)
    starts = (np.cumsum(sizes) - sizes)[bucket] + within * rows[bucket]
    counts = np.minimum(rows[bucket], sizes[bucket] - within * rows[bucket])
    full = counts == rows[bucket]
    # A full batch comes when its last pair does, the others after all pairs.
    comes = np.where(full, grouped[starts + counts - 1], len(order) + bucket)
    first = np.argsort(comes)
    return Packed(
        order[grouped], starts[first], counts[first], rows[bucket[first]], -1 - bucket[first]
    )


def test_indices(config):
    """Packed: every test sentence once, long ones first, those of a length's bucket together."""
    lengths = load(config, "test")[0].lengths()
    bounds = bucket_bounds(config.max_length, int(lengths.max()))
    buckets = np.searchsorted(bounds, lengths, side="right")
    order = np.argsort(-buckets, kind="stable")
    sizes = np.bincount(-buckets[order] + buckets.max())  # of each bucket, the longest first
    size = config.eval_batch_size
    within = [np.arange(0, count, size) for count in sizes]
    offsets = np.cumsum(sizes) - sizes
    starts = np.concatenate([offset + w for offset, w in zip(offsets, within)])
    counts = np.concatenate([np.minimum(size, n - w) for n, w in zip(sizes, within)])
    return Packed(order, starts, counts, counts, np.zeros_like(counts))


def read(config, split, numbers):
    """One batch, of sentences that end with END and zeros behind it.

    Training: sources and targets, int32 [B, S], S the longest length of the pairs' bucket.
    numbers: of pairs, or -1 - k for an empty pair of bucket k, which is zeros alone.

    Test: sources, int32 [B, S], S the longest length of the sentences' bucket; numbers, int64 [B],
    the sentences' own.  A sentence's S does not depend on who else is in the batch.

    Any part of a batch has the same S.  A part of nothing is one row of zeros, with number -1.
    """
    source, target = load(config, split)
    if not len(numbers):
        numbers = np.array([-1])
    if split == "train":
        first = numbers[0]
        bucket = -1 - first if first < 0 else kept_pairs(config)[first]
        length = longest_in(bucket_bounds(config.max_length), bucket)
        return {"sources": source.fill(numbers, length), "targets": target.fill(numbers, length)}
    first = max(0, numbers[0])
    own = source.starts[first + 1] - source.starts[first]
    bounds = bucket_bounds(config.max_length, int(own))
    length = longest_in(bounds, np.searchsorted(bounds, own, side="right"))
    return {"sources": source.fill(numbers, length), "numbers": numbers.astype(np.int64)}


def padding_share(batch):
    """The share of a training batch's places that hold no piece, of both sides."""
    sides = (batch["sources"], batch["targets"])
    return float(sum((side == vocabulary.PAD).sum() for side in sides) / sum(s.size for s in sides))


def parity_batches(config, num_steps):
    """(config with counts, the first batches of training) for parity, without a dataset.

    Drawn pieces, and no dropout, which each framework draws in its own way.  Every other batch is
    of the longest bucket.  As far as a batch has rows, it holds a pair of the longest length on
    both sides, sentences of END alone on either side, and last an empty pair, as the batches at an
    epoch's end have them.
    """
    bounds, rows = bucket_bounds(config.max_length), bucket_rows(config)
    rng = np.random.default_rng([config.seed, 0])
    found = []
    for step in range(num_steps):
        bucket = len(bounds) - 1 if step % 2 else int(rng.integers(len(bounds)))
        num_pairs, longest = int(rows[bucket]), int(longest_in(bounds, bucket))
        lengths = rng.integers(1, longest + 1, (2, num_pairs))
        lengths[:, 0] = longest
        lengths[0, 1:2] = 1
        lengths[1, 2:3] = 1
        lengths[:, 3:][:, -1:] = 0
        places = np.arange(longest)
        sides = []
        for ends in lengths[:, :, None]:
            size = (num_pairs, longest)
            pieces = rng.integers(FIRST_PIECE, config.vocabulary_size, size, np.int32)
            pieces[places == ends - 1] = vocabulary.END
            pieces[places >= ends] = vocabulary.PAD
            sides.append(pieces)
        found.append({"sources": sides[0], "targets": sides[1]})
    config = dataclasses.replace(
        config,
        dropout=0.0,
        num_train_pairs=sum(len(batch["sources"]) for batch in found),
        num_eval_sentences=config.eval_batch_size,
    )
    return config, found
