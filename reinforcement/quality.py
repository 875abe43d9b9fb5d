"""Share of the experts' moves that the search chooses, pooled over all positions and rounds; or
share of the games that it wins."""

from common.quality import Quality


def compare(predictions, batch):
    """(predictions that are the answer, how many there are) of a batch.  predictions: int [B]."""
    return int((predictions == batch["answers"]).sum()), len(batch["answers"])


def score(records):
    """The share of hits.  records: what `compare` gave."""
    return sum(hits for hits, _ in records) / count(records)


def count(records):
    """How many positions or games the records speak of."""
    return sum(asked for _, asked in records)


def quality(config):
    """The Quality of a config."""
    return Quality(
        ("win_rate" if config.playout_games else "prediction_accuracy",),
        higher_is_better=True,
        compare=compare,
        score=score,
        count=count,
    )
