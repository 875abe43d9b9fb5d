"""Share of the experts' moves that the search chooses: pooled over all positions and rounds."""

from common.quality import Quality


def compare(predictions, batch):
    """(moves that were the expert's, positions) of a batch.  predictions: int [B]."""
    return int((predictions == batch["answers"]).sum()), len(batch["answers"])


def score(records):
    """The share of hits.  records: what `compare` gave."""
    return sum(hits for hits, _ in records) / count(records)


def count(records):
    """How many positions the records speak of."""
    return sum(asked for _, asked in records)


QUALITY = Quality(
    ("prediction_accuracy",),
    higher_is_better=True,
    compare=compare,
    score=score,
    count=count,
)
