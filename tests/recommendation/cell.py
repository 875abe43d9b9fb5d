"""What the shared tests need to know of recommendation; tests/cells.py explains each."""

import dataclasses
import shutil

import numpy as np

from recommendation import data, quality
from recommendation.config import REFERENCE

# Of the users with many ratings, to be quick.
TINY = ("--set=min_ratings=100", "--set=batch_size=50000", "--set=eval_batch_size=128")
RANDOM = ()
tiny_data = None
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/ratings.csv"),
    (["--set=mlp_sizes=15,8"], "even first size"),
    (["--set=min_ratings=100000"], "no user has 100000 ratings"),
    (["--set=num_users=12"], "expected 12 for users, found 3,000"),
)
RELAY_GAP = 1e-12  # 2e-15 was seen
QUICK_GAP = 0.02
# The full network but for the number of rows, 999 negatives, the published rate.
REAL = ("--profile=reference", "--set=num_ratings=None", "--set=num_users=None",
        "--set=num_items=None", "--target=1")
REAL_GAP = 0.02  # 0.0025 was seen
REAL_EPOCHS = 6


def examples(config, batch):
    """[(user, film, label)] of a training batch."""
    return list(zip(*(batch[name].tolist() for name in ("users", "items", "labels"))))


def real_data(folder, sample):
    """MovieLens's small sample."""
    shutil.copy(sample / "ml-latest-small" / "ratings.csv", folder)


def real_baseline(data_dir):
    """Three points more than the films' counts reach, by our own split and negatives."""
    config = dataclasses.replace(REFERENCE, seed=1, data_dir=data_dir, num_ratings=None,
                                 num_users=None, num_items=None)
    config = data.prepare(config)
    assert (config.num_ratings, config.num_users, config.num_items) == (64_156, 400, 8_336)
    counts = np.bincount(data.load(data_dir, config.min_ratings).items, minlength=8_336)
    popularity = quality.score([
        quality.compare(counts[batch["items"]].astype(float), batch)
        for batch in data.batches(config, "test").stream()
    ])
    return popularity + 0.03
