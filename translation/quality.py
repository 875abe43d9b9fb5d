"""BLEU of the test set, as a fraction: uncased, of text as people write it.

Papineni et al. 2002 by sacrebleu, with the international tokenisation and the smoothing of the
reference's compute_bleu.py.  Case does not count.
"""

import functools

from common.quality import Quality
from translation import text, vocabulary


def quality(config):
    """The Quality of a prepared config."""
    return Quality(
        ("bleu",),
        higher_is_better=True,
        compare=functools.partial(compare, config),
        score=functools.partial(score, config),
        count=count,
    )


def compare(config, predictions, batch):
    """[(number, text)]: the translations of a batch.

    predictions: int [B, L] pieces, cut at the first END.  batch: as data.read gives it; a number
    below 0 is no sentence.
    """
    processor = text.processor(config)
    return [
        (int(number), vocabulary.decode(processor, pieces))
        for number, pieces in zip(batch["numbers"], predictions, strict=True)
        if number >= 0
    ]


def score(config, records):
    """BLEU / 100.  records: what `compare` gave, for every sentence of the test set once."""
    found = sorted(pair for record in records for pair in record)
    references = text.references(config)
    if [number for number, _ in found] != list(range(len(references))):
        raise RuntimeError(
            f"expected the sentences 0 to {len(references) - 1:,} once each, found {len(found):,}, "
            f"{len({number for number, _ in found}):,} of them different"
        )
    return bleu([sentence for _, sentence in found], references)


def count(records):
    """How many sentences the records speak of."""
    return sum(len(record) for record in records)


def bleu(translations, references):
    """BLEU / 100 of a whole set.  Two lists of str."""
    return metric().corpus_score(translations, [references]).score / 100.0


def metric():
    """sacrebleu's BLEU, with the benchmark's choices."""
    # Late: whoever reads logs imports this module, and another application's environment lacks it.
    from sacrebleu.metrics import BLEU

    return BLEU(lowercase=True, tokenize="intl")


def signature():
    """str: the choices in sacrebleu's words, for the log."""
    used = metric()
    used.corpus_score(["one"], [["one"]])  # it knows the number of references only after a score
    return used.get_signature().format()
