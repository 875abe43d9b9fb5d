"""The 29 symbols: 0 is CTC's blank, then the apostrophe, A to Z and the space.

The reference's labels.json.
"""

import collections

import numpy as np

SYMBOLS = "_'ABCDEFGHIJKLMNOPQRSTUVWXYZ "
BLANK = 0

# The label of each of the first 128 characters; 0 where there is none.
_LABELS = np.zeros(128, np.uint8)
_LABELS[[ord(symbol) for symbol in SYMBOLS[1:]]] = np.arange(1, len(SYMBOLS))


def encode(text):
    """(labels, dropped) of a transcript: uint8 [L] of 1..28, and {symbol: how often it is dropped}.

    Stripped and upper-cased.  As in the reference, a symbol outside the alphabet is left out, and
    so is the blank's own.
    """
    text = text.strip().upper()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    labels = _LABELS[np.where(codes < len(_LABELS), codes, 0)]
    odd = labels == BLANK
    dropped = collections.Counter(chr(code) for code in codes[odd]) if odd.any() else {}
    return labels[~odd], dict(dropped)


def decode(labels):
    """The text of labels, int [L] of 1..28."""
    return "".join(SYMBOLS[label] for label in labels)
