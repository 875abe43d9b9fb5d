"""The reader of ratings.csv: split and negatives against their rules; every user's fault."""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from recommendation import data
from recommendation.config import QUICK, REFERENCE, num_train_examples

HEADER = "userId,movieId,rating,timestamp"


def config_of(folder, **changes):
    changes = {"seed": 5, "min_ratings": 2} | changes
    return dataclasses.replace(QUICK, data_dir=str(folder), **changes)


def write(folder, rows, header=HEADER):
    lines = [header] + [",".join(str(value) for value in row) for row in rows]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    data.load.cache_clear()


@pytest.fixture
def folder(tmp_path):
    """Thirty users, forty films, ids with gaps, times in no order."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(30):
        films = rng.choice(40, 8, replace=False) * 7 + 3
        for film in np.sort(films):
            rows.append((user * 2 + 10, film, 3.5, rng.integers(10**9, 2 * 10**9)))
    write(tmp_path, rows)
    return tmp_path


# Split.


def test_the_split_by_hand(tmp_path):
    write(tmp_path, [
        (7, 50, 4.0, 300),   # user 0, item 0: the latest of user 7
        (7, 20, 0.5, 100),   # item 1
        (7, 90, 1.0, 200),   # item 2
        (3, 90, 5.0, 900),   # user 1
        (9, 10, 5.0, 900),   # one rating alone: left out, its film as well
        (3, 60, 2.0, 900),   # item 3, the same second: the file's order makes it the latest
    ])
    ratings = data.load(str(tmp_path), 2)
    assert ratings.users.tolist() == [0, 0, 1]
    assert ratings.items.tolist() == [1, 2, 2]  # by time
    assert ratings.test_items.tolist() == [0, 3]
    assert ratings.num_items == 4
    pairs = np.stack(np.meshgrid(range(2), range(4), indexing="ij"))
    assert data.has_seen(ratings, *pairs).tolist() == [
        [False, True, True, False], [False, False, True, False],
    ]


def test_counts_and_batches(folder):
    config = data.prepare(config_of(folder, batch_size=64, eval_batch_size=7))
    assert (config.num_users, config.num_ratings) == (30, 240)
    assert num_train_examples(config) == 210 * 5
    epoch = list(data.batches(config, "train", 1).stream())
    assert len(epoch) == 17
    assert {name: array.shape for name, array in epoch[0].items()} == {
        "users": (64,), "items": (64,), "labels": (64,),
    }
    assert [array.dtype for array in epoch[0].values()] == [np.int64, np.int64, np.float32]
    test = list(data.batches(config, "test").stream())
    assert [batch["items"].shape for batch in test] == [(7, 100)] * 4 + [(2, 100)]


def test_an_epoch_holds_each_positive_once_and_four_negatives_of_its_user(folder):
    config = data.prepare(config_of(folder, batch_size=210 * 5))
    ratings = data.load(config.data_dir, config.min_ratings)
    epochs = [next(data.batches(config, "train", epoch).stream()) for epoch in (1, 2)]
    for batch in epochs:
        positive = batch["labels"] == 1
        pairs = np.column_stack([batch["users"], batch["items"]])
        expected = np.column_stack([ratings.users, ratings.items])
        assert sorted(pairs[positive].tolist()) == sorted(expected.tolist())
        of_user = np.bincount(batch["users"][~positive])
        assert of_user.tolist() == (4 * np.bincount(ratings.users)).tolist()
        assert not data.has_seen(ratings, *pairs[~positive].T).any()
        # A shuffle of all, not of positives with their negatives behind them.
        assert 0.1 < positive[: len(positive) // 2].mean() < 0.3
    one, two = (sorted(zip(b["users"], b["items"], b["labels"])) for b in epochs)
    assert one != two  # negatives are new in each epoch


def test_candidates_end_with_the_positive_and_hold_no_other_rating(folder):
    config = data.prepare(config_of(folder, eval_batch_size=30))
    ratings = data.load(config.data_dir, config.min_ratings)
    batch = next(data.batches(config, "test").stream())
    assert batch["users"].tolist() == list(range(30))
    assert (batch["items"][:, -1] == ratings.test_items).all()
    negatives = batch["items"][:, :-1]
    assert not data.has_seen(ratings, batch["users"][:, None], negatives).any()
    # Drawn with replacement from all that was not trained on: the held-out item may be among them.
    assert any(len(set(row)) < len(row) for row in negatives.tolist())
    assert (negatives == ratings.test_items[:, None]).any()


def test_negatives_are_uniform(folder):
    config = data.prepare(config_of(folder))
    ratings = data.load(config.data_dir, config.min_ratings)
    count = 66_000
    drawn = data.draw_negatives(
        ratings, np.full(count, 3), np.arange(count), (1, "train")
    )
    counts = np.bincount(drawn, minlength=ratings.num_items)
    free = ratings.num_items - len(set(ratings.items[ratings.users == 3]))
    assert (counts > 0).sum() == free
    expected = count / free
    chi_squared = ((counts[counts > 0] - expected) ** 2 / expected).sum()
    assert chi_squared < free + 5 * np.sqrt(2 * free)


# Reproducible.


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 300), st.lists(st.integers(1, 299), max_size=5))
def test_random_numbers_belong_to_their_place(first, count, cuts):
    places = np.arange(first, first + count)
    whole = data.uniform((3, "train"), 0, places)
    parts = [part for part in np.split(places, sorted(cuts)) if len(part)]
    joined = np.concatenate([data.uniform((3, "train"), 0, part) for part in parts])
    assert np.array_equal(whole, joined)
    assert np.array_equal(whole[::3], data.uniform((3, "train"), 0, places[::3]))


def test_streams_differ_by_seed_purpose_and_attempt():
    places = np.arange(50)
    drawn = {
        tuple(data.uniform((seed, name), attempt, places))
        for seed in (1, 2) for name in ("train", "test") for attempt in (0, 1)
    }
    assert len(drawn) == 8


@pytest.mark.parametrize("split", ["train", "test"])
def test_processes_together_see_the_same_batches(folder, split):
    config = data.prepare(config_of(folder, batch_size=101, eval_batch_size=13))
    batches = data.batches(config, split, 2)
    whole = list(batches.stream())
    for world_size in (2, 3):
        parts = [
            batches.stream(rank=rank, world_size=world_size) for rank in range(world_size)
        ]
        for expected, *found in zip(whole, *parts, strict=True):
            for name, array in expected.items():
                assert np.array_equal(np.concatenate([part[name] for part in found]), array)
    resumed = list(batches.stream(first=2, workers=1))
    assert len(resumed) == len(whole) - 2
    assert all(np.array_equal(a["items"], b["items"]) for a, b in zip(whole[2:], resumed))


def test_seeds_change_training_but_not_the_evaluation(folder):
    one, two = (data.prepare(config_of(folder, seed=seed)) for seed in (5, 6))

    def first(config, split):
        return next(data.batches(config, split).stream())["items"]

    assert not np.array_equal(first(one, "train"), first(two, "train"))
    assert np.array_equal(first(one, "test"), first(two, "test"))


# Faults of the user.


def fails(match, call, *arguments, **more):
    with pytest.raises(UserError, match=match) as caught:
        call(*arguments, **more)
    assert "\n" not in str(caught.value)


GOOD = [(1, film, 3.0, 5) for film in range(1, 25)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1, 2, 3.0, 4), ("x", 2, 3.0, 4)], "ratings.csv: damaged"),
        ([(1, 2, 3.0, 4), (1, 2, 3.0, "")], "ratings.csv: damaged"),
        ([(1, 2, 3.0, 4), (3_000_000_000, 2, 3.0, 4)], "ratings.csv: damaged"),
        ([(1, 2, 3.0, 4), (-1, 2, 3.0, 4)], "damaged .a negative number"),
        ([(1, 2, 3.0, 4, 5)] * 20, "damaged .83 commas in 21 lines"),
        ([(1, 2, 3.0, 4, 5), (1, 2, 3.0)], "ratings.csv: damaged"),
        ([(1, 2, "banana", 4)], "ratings.csv: damaged"),
        ([(1, 2, "", 4)], "damaged .a negative number, or no rating"),
        ([], "no user has 20 ratings"),
        (GOOD[:19], "no user has 20 ratings"),
    ],
)
def test_damaged_files_are_named(tmp_path, rows, words):
    write(tmp_path, rows)
    fails(words, data.prepare, config_of(tmp_path, min_ratings=20))


def test_a_file_cut_off_in_a_line_is_named(tmp_path):
    write(tmp_path, GOOD)
    path = tmp_path / "ratings.csv"
    path.write_text(path.read_text()[:-1])
    fails("damaged .cut off in a line", data.prepare, config_of(tmp_path))


def test_faults_of_the_folder(folder, tmp_path):
    fails("nowhere.ratings.csv: No such file", data.prepare, config_of(tmp_path / "nowhere"))
    reference = dataclasses.replace(REFERENCE, seed=1)
    fails("reference profile needs --data_dir", data.prepare, reference)
    changes = {"profile": "reference", "num_users": 138_493}
    config = config_of(folder, **changes)
    fails("ratings.csv: expected 138,493 for users, found 30", data.prepare, config)
    write(tmp_path, GOOD, header="user,item,rating,time")
    fails("ratings.csv:1: expected userId,movieId", data.prepare, config_of(tmp_path))


def test_a_user_who_has_rated_everything(tmp_path):
    write(tmp_path, GOOD + [(2, film, 1.0, 9) for film in range(1, 26)] + [(2, 1, 1.0, 10)])
    fails("a user has rated each of the 25 items", data.prepare, config_of(tmp_path))


def test_a_pipe_is_no_file_of_ratings(tmp_path):
    os.mkfifo(tmp_path / "ratings.csv")
    with pytest.raises(UserError, match="no regular file"):
        data.read_columns(str(tmp_path / "ratings.csv"))
