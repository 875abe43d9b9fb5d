"""Top-1 accuracy over the whole evaluation set, one centre crop per image."""

import numpy as np

from common.quality import Quality


def compare(predictions, batch):
    """bool [B]: whether each image was classified rightly.

    predictions: int [B], the likeliest class.  batch: as data.batches gives it.
    """
    return predictions == batch["labels"]


def score(records):
    """The share of right answers.  records: what `compare` gave, for every image once."""
    return float(np.concatenate(records).mean())


def count(records):
    """How many images the records speak of."""
    return sum(len(record) for record in records)


QUALITY = Quality(("top1_accuracy",), True, compare=compare, score=score, count=count)
