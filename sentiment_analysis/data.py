"""IMDB's folders of reviews as batches: files, words, dictionary, numpy out.

    DATA_DIR/train/{pos,neg}/<id>_<rating>.txt and DATA_DIR/test/{pos,neg}/<id>_<rating>.txt

A batch is one stream of words: all its reviews' words, concatenated.  No review is cut or padded to
the length of another.  Empty places lie between two reviews, so that no convolution sees words of
both.
"""

import collections
import dataclasses
import functools
import os
import string
from dataclasses import dataclass

import numpy as np

from common.data.batches import Batches, examples_at, in_order, mixed_epochs
from common.data.dataset import with_counts, with_folder
from common.data.ragged import Ragged
from common.errors import UserError
from common.files import open_regular
from sentiment_analysis import quick_data
from sentiment_analysis.config import halo

SPLITS = ("train", "test")
CLASSES = ("pos", "neg")     # a label is the place here: 0 positive, as in paddle.dataset.imdb
LAYOUT = "Expected train/pos, train/neg, test/pos and test/neg with a review in each *.txt"
PUNCTUATION = string.punctuation.encode()


@dataclass(frozen=True, eq=False)
class Reviews:
    """A split in memory."""

    words: Ragged           # int32: each review's words, by their numbers in the dictionary
    labels: np.ndarray      # int64 [N]


def prepare(config):
    """The config with its data found, checked and counted.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    config = with_folder(config, "sentiment_analysis", "IMDB's aclImdb", quick_data.ensure)
    folder = root(config.data_dir)
    dictionary, reviews = load(folder, config.min_count)
    counts = {
        "num_train_reviews": len(reviews["train"].labels),
        "num_eval_reviews": len(reviews["test"].labels),
        "vocabulary_size": len(dictionary),
    }
    return with_counts(dataclasses.replace(config, data_dir=folder), folder, counts)


def root(data_dir):
    """The folder that holds train/ and test/: data_dir, or aclImdb in it.  Raises UserError."""
    inside = os.path.join(data_dir, "aclImdb")
    folder = inside if os.path.isdir(inside) else data_dir
    for split in SPLITS:
        for name in CLASSES:
            path = os.path.join(folder, split, name)
            if not os.path.isdir(path):
                raise UserError(f"{path}: no such folder. {LAYOUT} in --data_dir={data_dir}.")
    return folder


@functools.lru_cache(maxsize=2)
def load(folder, min_count):
    """(dictionary, {split: Reviews}) of a dataset.  Raises UserError."""
    texts, labels = {}, {}
    for split in SPLITS:
        texts[split], labels[split] = [], []
        for label, name in enumerate(CLASSES):
            found = read_folder(os.path.join(folder, split, name))
            texts[split] += found
            labels[split] += [label] * len(found)
    counts = collections.Counter()
    for split in SPLITS:
        for text in texts[split]:
            counts.update(text)
    dictionary = build_dictionary(counts, min_count)
    return dictionary, {s: encode(texts[s], labels[s], dictionary) for s in SPLITS}


def read_folder(folder):
    """[words] of each review in a folder, by the names of the files.  Raises UserError."""
    with os.scandir(folder) as entries:
        paths = sorted(entry.path for entry in entries if entry.name.endswith(".txt"))
    if not paths:
        raise UserError(f"{folder}: no *.txt in this folder. {LAYOUT}.")
    reviews = []
    for path in paths:
        try:
            with open_regular(path) as opened:
                words = tokenize(opened.read())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
        if not words:
            raise UserError(f"{path}: no word in this review. Unpack the dataset again.")
        reviews.append(words)
    return reviews


def tokenize(text):
    """[bytes]: the words of a review as paddle.dataset.imdb makes them.  text: bytes.

    Punctuation is deleted, not replaced by a space: "don't" is dont, "<br />" leaves br.  Only
    ASCII letters become lower case.
    """
    return text.translate(None, PUNCTUATION).lower().split()


def build_dictionary(counts, min_count):
    """{word: number}: the commonest word is 0, equals go by the alphabet; <unk> is the last.

    counts: {word: how often}.  A word seen less than min_count times is <unk>.
    """
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    dictionary = {word: number for number, (_, word) in enumerate(kept)}
    dictionary[b"<unk>"] = len(dictionary)  # no review holds it: its brackets are punctuation
    return dictionary


def encode(texts, labels, dictionary):
    """Reviews of texts, each a list of words."""
    unknown = dictionary[b"<unk>"]
    lengths = np.array([len(text) for text in texts], np.int64)
    words = np.fromiter(
        (dictionary.get(word, unknown) for text in texts for word in text),
        np.int32,
        count=lengths.sum(),
    )
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Reviews(Ragged(words, starts), np.array(labels, np.int64))


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".  A batch: see pack."""
    if split == "train":
        indices = mixed_epochs(config.num_train_reviews, config.batch_size, epoch)
        following = functools.partial(batches, config, split, epoch + 1)
    else:
        indices, following = in_order(config.num_eval_reviews, config.eval_batch_size), None
    return Batches(indices, functools.partial(read, config, split), following=following)


def read(config, split, numbers):
    """One batch.  numbers: positions in the training stream, or review numbers of the test."""
    reviews = load(config.data_dir, config.min_count)[1][split]
    if split == "train":
        _, numbers = examples_at(numbers, config.num_train_reviews, config.seed)
    return pack(config, [reviews.words[n] for n in numbers], reviews.labels[numbers])


def pack(config, reviews, labels):
    """One batch; `efficiency` reports its share of filled places.

    tokens: int32 [before + T + after], the reviews, concatenated.  Each starts with a block of
        block_size places, and is followed by at least as many empty ones as a convolution reaches.
        Empty is the number after the dictionary's last.  `before` and `after`, see config.halo, are
        empty places around the whole stream.  T is a multiple of stream_multiple, and never 0.
    blocks: int32 [B, M], the blocks of each review, its last one repeated up to M, a multiple of
        blocks_multiple.
    seen: bool [vocabulary], the words that are in the batch.
    labels: int64 [B].
    """
    before, after = halo(config)
    lengths = np.array([len(review) for review in reviews], np.int64)
    num_blocks = -(-(lengths + max(before, after)) // config.block_size)
    first_blocks = np.cumsum(num_blocks) - num_blocks
    size = round_up(max(1, num_blocks.sum()) * config.block_size, config.stream_multiple)
    tokens = np.full(before + size + after, config.vocabulary_size, np.int32)
    for first, review in zip(before + first_blocks * config.block_size, reviews):
        tokens[first : first + len(review)] = review
    filled = -(-lengths // config.block_size)
    widest = round_up(filled.max(initial=1), config.blocks_multiple)
    blocks = first_blocks[:, None] + np.minimum(np.arange(widest), filled[:, None] - 1)
    seen = np.zeros(config.vocabulary_size + 1, bool)
    seen[tokens] = True
    return {
        "tokens": tokens,
        "blocks": blocks.astype(np.int32),
        "seen": seen[:-1],
        "labels": np.asarray(labels, np.int64),
    }


def round_up(number, multiple):
    """The next multiple."""
    return -(-int(number) // multiple) * multiple


def efficiency(config, batch):
    """The share of a batch's stream that is words."""
    return float(np.mean(batch["tokens"] != config.vocabulary_size))
