"""MovieLens's ratings as batches: file, split, negatives, numpy out.

    DATA_DIR/ratings.csv     userId,movieId,rating,timestamp

Each rating is a positive, whatever its stars.  A user's latest one is held out for the evaluation,
the others train.  Users and items are numbered in the order in which the file first names them.

Where a negative is drawn, its random number is a function of seed and place alone: Philox, NumPy's
counter-based generator, is set to that place.  So any number of processes sees the same batches.
"""

import functools
import itertools
import os
from dataclasses import dataclass

import numpy as np

from common.data.batches import Batches, examples_at, in_order, mixed_epochs, permutation
from common.data.dataset import with_counts, with_folder
from common.errors import UserError
from common.files import open_regular
from recommendation import quick_data
from recommendation.config import num_train_examples

COLUMNS = "userId,movieId,rating,timestamp"


@dataclass(frozen=True)
class Ratings:
    """A prepared file.  U users, I items, P training positives: by user, then time."""

    users: np.ndarray         # int32 [P]
    items: np.ndarray         # int32 [P]
    test_items: np.ndarray    # int32 [U], each user's latest
    seen: np.ndarray          # uint8 [U, ceil(I / 8)]: a bit for each training positive
    num_items: int


def prepare(config):
    """The config with its data found, checked and counted.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    config = with_folder(config, "recommendation", "MovieLens's ratings.csv", quick_data.ensure)
    ratings = load(config.data_dir, config.min_ratings)
    counts = {
        "num_users": len(ratings.test_items),
        "num_items": ratings.num_items,
        "num_ratings": len(ratings.users) + len(ratings.test_items),
    }
    return with_counts(config, path_of(config.data_dir), counts)


def path_of(data_dir):
    """The file of ratings."""
    return os.path.join(data_dir, "ratings.csv")


@functools.lru_cache(maxsize=2)
def load(data_dir, min_ratings):
    """The Ratings of a folder.  Raises UserError."""
    path = path_of(data_dir)
    users, items, times = read_columns(path)
    users, num_users = in_order_of_appearance(users)
    enough = (np.bincount(users) >= min_ratings)[users] if num_users else np.zeros(0, bool)
    if not enough.any():
        raise UserError(f"{path}: no user has {min_ratings} ratings. See --set min_ratings.")
    if not enough.all():
        items, times = items[enough], times[enough]
        users, num_users = in_order_of_appearance(users[enough])
    items, num_items = in_order_of_appearance(items)
    # Ratings of the same second stay in the file's order.
    order = np.lexsort((times, users))
    users, items = users[order], items[order]
    del order, times
    latest = np.append(users[1:] != users[:-1], True)
    test_items = items[latest]
    users, items = users[~latest], items[~latest]
    seen = bitmap(users, items, num_users, num_items)
    full = np.flatnonzero(np.bitwise_count(seen).sum(axis=1, dtype=np.int64) == num_items)
    if len(full):
        raise UserError(f"{path}: a user has rated each of the {num_items} items: no negative is "
                        "left to draw. Take more ratings, or leave that user out.")
    return Ratings(users, items, test_items, seen, num_items)


def read_columns(path):
    """Users, items and times of a file, in its order: int32, int32, int64.  Raises UserError."""
    import pandas  # here: it takes a second, and the reference alone needs its speed

    try:
        with open_regular(path) as opened:
            header = opened.readline(1000).decode(errors="replace").strip()
            if header != COLUMNS:
                raise UserError(f"{path}:1: expected {COLUMNS}, found {header[:80]!r}.")
            opened.seek(-1, os.SEEK_END)
            if opened.read() != b"\n":
                raise ValueError("cut off in a line")
            opened.seek(0)
            # pandas would take a first column too many for an index, and shift the others.
            chunks = iter(functools.partial(opened.read, 1 << 24), b"")
            counts = [(chunk.count(b","), chunk.count(b"\n")) for chunk in chunks]
            commas, lines = (sum(column) for column in zip(*counts))
            if commas != 3 * lines:
                raise ValueError(f"{commas:,} commas in {lines:,} lines, not three in each")
        types = {"userId": np.int32, "movieId": np.int32, "rating": np.float32,
                 "timestamp": np.int64}  # fmt: skip
        table = pandas.read_csv(path, dtype=types, index_col=False)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}. Expected MovieLens's ratings.csv in --data_dir."
        ) from None
    except (ValueError, OverflowError) as error:  # pandas's own faults among them
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged ({reason}). Fetch the dataset again.") from None
    columns = [table[name].to_numpy() for name in ("userId", "movieId", "timestamp")]
    if any(column.min(initial=0) < 0 for column in columns) or table["rating"].isna().any():
        raise UserError(f"{path}: damaged (a negative number, or no rating). Fetch the dataset "
                        "again.")
    return columns


def in_order_of_appearance(ids):
    """(numbers from 0 in the order in which each id first appears: int32 [N], how many)."""
    import pandas

    numbers, known = pandas.factorize(ids)
    return numbers.astype(np.int32), len(known)


def bitmap(users, items, num_users, num_items):
    """uint8 [U, ceil(I / 8)]: bit i of row u, the lowest of a byte first, where u has rated i."""
    width = -(-num_items // 8)
    places = users * np.int64(width) + (items >> 3)
    bits = np.uint8(1) << (items & 7).astype(np.uint8)
    seen = np.zeros(num_users * width, np.uint8)
    np.bitwise_or.at(seen, places, bits)
    return seen.reshape(num_users, width)


def has_seen(ratings, users, items):
    """bool, of the broadcast shape: whether each pair is a training positive."""
    return (ratings.seen[users, items >> 3] >> (items & 7)) & 1 > 0


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".

    A batch of "train": users, items int64 [B], labels float32 [B].
    A batch of "test": users int64 [B], items int64 [B, N + 1]; the last of a row is the positive.
    """
    if split == "train":
        num_examples = num_train_examples(config)
        permutation(num_examples, epoch, config.seed)  # here: while the epoch before is read
        indices = mixed_epochs(num_examples, config.batch_size, epoch)
        following = functools.partial(batches, config, split, epoch + 1)
    else:
        indices, following = in_order(config.num_users, config.eval_batch_size), None
    return Batches(indices, functools.partial(read, config, split), following=following)


def read(config, split, numbers):
    """One batch.  numbers: positions in the training stream, or users of the test."""
    ratings = load(config.data_dir, config.min_ratings)
    if split == "train":
        return train_pairs(config, ratings, numbers)
    return candidates(config, ratings, numbers)


def train_pairs(config, ratings, positions):
    """The pairs at these positions of the endless stream of shuffled epochs.

    Example n of an epoch is positive n, or from P on a negative of positive n modulo P: all P come
    first in the numbering, the order is a shuffle of all.
    """
    num_positives = len(ratings.users)
    _, examples = examples_at(positions, num_train_examples(config), config.seed)
    rows = examples % num_positives
    users, items = ratings.users[rows].astype(np.int64), ratings.items[rows].astype(np.int64)
    negative = examples >= num_positives
    items[negative] = draw_negatives(
        ratings, users[negative], positions[negative], (config.seed, "train")
    )
    return {"users": users, "items": items, "labels": (~negative).astype(np.float32)}


def candidates(config, ratings, users):
    """Each of these users with the items to rank: the negatives, then the positive."""
    columns = np.arange(config.eval_negatives)
    places = (users[:, None] * config.eval_negatives + columns).ravel()
    owners = np.repeat(users, config.eval_negatives)
    negatives = draw_negatives(ratings, owners, places, (config.eval_seed, "test"))
    negatives = negatives.reshape(len(users), -1)  # [B, N]
    positives = ratings.test_items[users].astype(np.int64)
    return {"users": users, "items": np.column_stack([negatives, positives])}


def draw_negatives(ratings, users, places, stream):
    """int64 [N]: an item for each user, uniform among those without a training positive.

    places: int64 [N], ascending: where in the stream each is drawn.  Drawn again, from the stream
    of the next attempt, while it is a positive; the user's held-out item is not excluded.
    """
    items = np.zeros(len(users), np.int64)
    pending = np.arange(len(users))
    for attempt in itertools.count():
        if not len(pending):
            return items
        drawn = uniform(stream, attempt, places[pending]) * ratings.num_items
        items[pending] = drawn.astype(np.int64)
        pending = pending[has_seen(ratings, users[pending], items[pending])]


def uniform(stream, attempt, places):
    """float64 [N] in 0..1: the numbers at these ascending places of a random stream."""
    seed, name = stream
    generator = np.random.Philox([seed, *name.encode(), attempt])
    first = places[0] // 4 * 4  # a step of Philox's counter gives four numbers
    generator.advance(int(first // 4))
    return np.random.Generator(generator).random(places[-1] + 1 - first)[places - first]
