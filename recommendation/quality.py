"""HR@10: the share of users whose held-out item is among their ten best candidates."""

import numpy as np

from common.quality import Quality

TOP = 10


def compare(predictions, batch):
    """int64 [B]: how many other items stand before each user's positive.

    predictions: float [B, N + 1], a score for each candidate.  batch: as data.batches gives it.
    A tie goes against the positive, and so does a score that is no number.  An item that was drawn
    several times stands once; the positive, drawn as a negative, does not stand before itself.
    """
    items, positives = batch["items"], batch["items"][:, -1:]
    better = ~(predictions < predictions[:, -1:]) & (items != positives)
    places = better.sum(axis=1)
    # Repeats matter only where they could bring the positive back among the first ten.
    rows = np.flatnonzero(places >= TOP)
    row, column = np.nonzero(better[rows])
    num_items = items.max(initial=0) + 1
    pairs = np.unique(row * num_items + items[rows[row], column])
    places[rows] = np.bincount(pairs // num_items, minlength=len(rows))
    return places


def score(records):
    """The share of hits.  records: what `compare` gave, for every user once."""
    return float((np.concatenate(records) < TOP).mean())


def count(records):
    """How many users the records speak of."""
    return sum(len(record) for record in records)


QUALITY = Quality(("hr_at_10",), True, compare=compare, score=score, count=count)
