"""The embedded data of the quick profile: generated ratings, as a ratings.csv like MovieLens's.

Films have a genre and a style, and a popularity that falls off as Zipf's law has it; each was
released at some time.  A user likes three pairs of genre and style: two from the start, the third
discovered half-way, when one of the first two is dropped.  So popularity says little of the latest
rating, and which pairs a user likes neither genre nor style alone can tell.
"""

import os

import numpy as np

from common.data import embedded

VERSION = 1        # of the ratings: another number, another folder
NUM_USERS = 3000
NUM_ITEMS = 600
NUM_GENRES = 6
NUM_STYLES = 6
MEAN_RATINGS = 60  # of a user; none has fewer than 20
TASTE = 5.0        # log of how much likelier a liked film is than another of its popularity
ZIPF = 0.6         # exponent of the popularity
SEED = 20180512
FIRST_TIME, LAST_TIME = 800_000_000, 1_500_000_000  # seconds since 1970


def generate(rng):
    """(user, item, half-stars, time), int64 [N] each, by user, then item."""
    cells = rng.integers(NUM_GENRES * NUM_STYLES, size=NUM_ITEMS)
    popularity = -ZIPF * np.log(rng.permutation(NUM_ITEMS) + 1.0)
    released = rng.integers(FIRST_TIME - 300_000_000, LAST_TIME - 200_000_000, NUM_ITEMS)
    rows = []
    for user in range(NUM_USERS):
        count = 20 + int(rng.geometric(1.0 / (MEAN_RATINGS - 20)))
        start = rng.integers(FIRST_TIME, LAST_TIME - 100_000_000)
        times = np.sort(start + rng.integers(0, 100_000_000, count))
        kept, dropped, late = rng.choice(NUM_GENRES * NUM_STYLES, 3, replace=False)
        taken = np.zeros(NUM_ITEMS, bool)
        for liked, moments in (((kept, dropped), times[: count // 2]),
                               ((kept, late), times[count // 2 :])):
            # The largest of score + Gumbel noise: a draw without replacement.
            score = popularity + TASTE * np.isin(cells, liked) + rng.gumbel(size=NUM_ITEMS)
            score[taken | (released > moments[0])] = -np.inf
            items = np.argsort(-score)[: len(moments)]
            taken[items] = True
            stars = 5 + 3 * np.isin(cells[items], liked) + rng.integers(0, 3, len(items))
            rows.append((np.full(len(items), user), rng.permutation(items), stars, moments))
    users, items, stars, times = (np.concatenate(column) for column in zip(*rows))
    order = np.lexsort((items, users))
    return users[order], items[order], stars[order], times[order]


def write(folder):
    """Writes ratings.csv into an empty folder: some 180,000 ratings."""
    rng = np.random.default_rng(SEED)
    users, items, stars, times = generate(rng)
    item_ids = np.sort(rng.choice(np.arange(1, 5 * NUM_ITEMS), NUM_ITEMS, replace=False))
    with open(os.path.join(folder, "ratings.csv"), "w", encoding="utf-8") as opened:
        opened.write("userId,movieId,rating,timestamp\n")
        for user, item, half_stars, time in zip(users, item_ids[items], stars, times):
            opened.write(f"{user + 1},{item},{half_stars / 2},{time}\n")


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("recommendation", VERSION, write)
