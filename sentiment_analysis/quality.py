"""Accuracy over the whole test set: the share of reviews whose sentiment was told rightly."""

import numpy as np

from common.quality import Quality


def compare(predictions, batch):
    """bool [B]: whether each review was classified rightly.

    predictions: int [B], the likelier class.  batch: as data.batches gives it.
    """
    return predictions == batch["labels"]


def score(records):
    """The share of right answers.  records: what `compare` gave, for every review once."""
    return float(np.concatenate(records).mean())


def count(records):
    """How many reviews the records speak of."""
    return sum(len(record) for record in records)


# The reference stops above 0.906, not at it.
QUALITY = Quality(("accuracy",), True, compare, score, count, strictly=True)
