"""The joint English and German vocabulary of sub-word pieces.

Byte-pair encoding, Sennrich et al. 2016, by Google's sentencepiece.  The reference has a greedy
sub-word list of the same size; BLEU is of text, so the two compare.  Nothing is normalised: case
and every character survive.  Characters outside the vocabulary are encoded as bytes.
"""

import functools
import io

from common.errors import UserError

PAD, END, UNKNOWN = 0, 1, 2      # with byte pieces behind them, nothing is unknown
COVERAGE = 0.9999                # of the training text's characters; rarer ones are bytes


def learn(sentences, size):
    """bytes: sentencepiece's model, of exactly `size` pieces.  Raises UserError.

    sentences: an iterable of str.  The same text gives the same pieces on any machine.
    """
    # Late: whoever reads logs imports this module, and another application's environment lacks it.
    import sentencepiece

    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=made,
            model_type="bpe",
            vocab_size=size,
            pad_id=PAD,
            eos_id=END,
            unk_id=UNKNOWN,
            bos_id=-1,
            byte_fallback=True,
            character_coverage=COVERAGE,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=3,
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"vocabulary_size={size}: the training text gives no vocabulary of that size "
            f"({reason}). Choose another with --set."
        ) from None
    processor = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    found = processor.get_piece_size()
    if found != size:
        raise UserError(
            f"vocabulary_size={size}: the training text gives {found} pieces. "
            f"Say --set vocabulary_size={found}, or give more text."
        )
    return made.getvalue()


@functools.lru_cache(maxsize=4)
def load(path):
    """The SentencePieceProcessor of a model file: encode(text) and decode(pieces)."""
    import sentencepiece  # late: see learn

    return sentencepiece.SentencePieceProcessor(model_file=path)


def decode(processor, pieces):
    """str: the text of one sentence.  pieces: int [L]; what follows the first END is ignored."""
    pieces = [int(piece) for piece in pieces]
    if END in pieces:
        pieces = pieces[: pieces.index(END)]
    return processor.decode(pieces)
