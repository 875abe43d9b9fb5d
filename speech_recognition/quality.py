"""Word error rate in percent: the mean over the utterances, as the reference has it.

Of an utterance: the fewest words to change, drop and add, over the words that were said; by jiwer.
The corpus form, all errors over all words, stands beside it in the log.
"""

import functools

from common.quality import Quality
from speech_recognition import alphabet


def quality(config):
    """The Quality of a config."""
    return Quality(
        ("wer",),
        higher_is_better=False,
        compare=compare,
        score=score,
        count=count,
        beside=functools.partial(beside, config),
    )


def compare(predictions, batch):
    """[(said, heard)]: the texts of a batch's utterances.

    predictions: int [B, T], symbols, zeros behind the last.  batch: as data.batches gives it; a row
    of length 0 is no utterance.
    """
    return [
        (text(said), text(heard))
        for said, heard, length in zip(batch["labels"], predictions, batch["lengths"], strict=True)
        if length > 0
    ]


def text(symbols):
    """The text of one row of symbols, without spaces around it.  int [L], zeros behind the last."""
    return alphabet.decode(symbols[symbols != alphabet.BLANK]).strip()


def score(records):
    """The mean of the utterances' rates, x 100.  records: what `compare` gave."""
    rates = [word_error_rate([pair]) for record in records for pair in record]
    return 100.0 * sum(rates) / len(rates)


def beside(config, records):
    """{name: rate, x 100} that stands beside the score in the log.

    corpus_wer: all errors over all words.  unheard_wer, of the quick profile's data: the mean over
    the utterances of words that no training utterance has.
    """
    pairs = [pair for record in records for pair in record]
    found = {"corpus_wer": 100.0 * word_error_rate(pairs)}
    if config.profile == "quick":
        from speech_recognition import quick_data  # late, as below

        unheard = [pair for pair in pairs if quick_data.unheard(pair[0])]
        if unheard:  # data of one's own has none
            found["unheard_wer"] = score([unheard])
    return found


def count(records):
    """How many utterances the records speak of."""
    return sum(len(record) for record in records)


def word_error_rate(pairs):
    """All errors over all words that were said.  pairs: [(said, heard)]."""
    # Late: whoever reads logs imports this module, and another application's environment lacks it.
    import jiwer

    said, heard = map(list, zip(*pairs))
    return jiwer.wer(said, heard)
