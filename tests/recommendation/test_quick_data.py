"""The embedded ratings: the same everywhere, laid out as MovieLens's, and beyond cheap methods."""

import dataclasses

import numpy as np
import pytest

from recommendation import data, quality, quick_data
from recommendation.config import QUICK


@pytest.fixture(scope="module")
def config():
    """The config of the embedded data."""
    return data.prepare(dataclasses.replace(QUICK, seed=1))


def hit_rate(config, predict):
    batches = data.batches(config, "test").stream()
    return quality.score([quality.compare(predict(batch), batch) for batch in batches])


def test_counts_and_layout(config):
    assert (config.num_users, config.num_items) == (quick_data.NUM_USERS, quick_data.NUM_ITEMS)
    assert 150_000 < config.num_ratings < 210_000
    with open(data.path_of(config.data_dir)) as opened:
        assert opened.readline() == "userId,movieId,rating,timestamp\n"
        rows = [line.strip().split(",") for line in opened]
    users, films = np.array([row[:2] for row in rows], int).T
    assert (np.lexsort((films, users)) == np.arange(len(rows))).all()  # MovieLens's order
    assert len({(row[0], row[1]) for row in rows}) == len(rows)
    assert np.bincount(users)[1:].min() >= config.min_ratings
    assert {float(row[2]) for row in rows} <= {half / 2 for half in range(1, 11)}
    assert np.unique(films).tolist() != list(range(1, quick_data.NUM_ITEMS + 1))  # ids have gaps


def test_the_file_depends_on_nothing_but_the_program(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        quick_data.write(tmp_path / name)
    one, two = (tmp_path / name / "ratings.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_popularity_stays_far_below_the_target(config):
    ratings = data.load(config.data_dir, config.min_ratings)
    popularity = np.bincount(ratings.items, minlength=config.num_items)
    found = hit_rate(config, lambda batch: popularity[batch["items"]].astype(float))
    print(f"popularity: {found:.3f}, target {config.target}")
    assert 0.15 < found < 0.35 < config.target - 0.25


@pytest.mark.parametrize("rate", [0.002, 0.02])
def test_an_epoch_of_matrix_factorisation_stays_below_the_target(config, rate):
    """Vectors of the quick network's size and an item bias; Adam, on the same batches."""
    rng = np.random.default_rng(0)
    weights = {
        "user": rng.normal(0, 0.01, (config.num_users, config.mf_size)).astype(np.float32),
        "item": rng.normal(0, 0.01, (config.num_items, config.mf_size)).astype(np.float32),
        "bias": np.zeros((config.num_items, 1), np.float32),
    }
    moments = {name: [np.zeros_like(w), np.zeros_like(w)] for name, w in weights.items()}
    for step, batch in enumerate(data.batches(config, "train", 1).stream(), 1):
        users, items = batch["users"], batch["items"]
        user, item = weights["user"][users], weights["item"][items]
        logits = (user * item).sum(axis=1) + weights["bias"][items, 0]
        error = ((1 / (1 + np.exp(-logits)) - batch["labels"]) / len(users))[:, None]
        gradients = {name: np.zeros_like(weight) for name, weight in weights.items()}
        np.add.at(gradients["user"], users, error * item)
        np.add.at(gradients["item"], items, error * user)
        np.add.at(gradients["bias"], items, error)
        for name, weight in weights.items():
            first, second = moments[name]
            first += 0.1 * (gradients[name] - first)
            second += 0.001 * (gradients[name] ** 2 - second)
            root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
            weight -= rate * first / (1 - 0.9**step) / root

    def predict(batch):
        user, items = weights["user"][batch["users"]], batch["items"]
        scores = np.einsum("bd,bnd->bn", user, weights["item"][items])
        return scores + weights["bias"][items, 0]

    found = hit_rate(config, predict)
    print(f"matrix factorisation, one epoch at {rate}: {found:.3f}, target {config.target}")
    assert found < config.target - 0.08
