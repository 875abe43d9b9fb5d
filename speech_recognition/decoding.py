"""From a network's log-probabilities to symbols, in numpy, once for all frameworks.

The likeliest symbol of each step as in the reference's decoder.py; or, with beam_size, a prefix
beam search: Graves et al. 2006, sec. 3.2, and Hannun et al. 2014, algorithm 1, without a language
model.  B utterances, T time steps, S symbols, K prefixes.
"""

import numpy as np

from speech_recognition.alphabet import BLANK


def decode(config, log_probabilities, lengths):
    """The symbols of each utterance and the logarithm of their probability.

    log_probabilities: [B, T, S].  lengths: int [B], of T; what lies behind is not looked at.
    Returns int64 [B, T], zeros behind the last symbol, and float [B].
    """
    if config.beam_size:
        return beam_search(log_probabilities, lengths, config.beam_size)
    return best_path(log_probabilities, lengths)


def best_path(log_probabilities, lengths):
    """The likeliest symbol of each step, without repeats and blanks; that one path's probability.

    Arguments and results as of `decode`.
    """
    path = log_probabilities.argmax(axis=2)  # [B, T]
    exists = np.arange(path.shape[1]) < lengths[:, None]
    before = np.pad(path[:, :-1], ((0, 0), (1, 0)), constant_values=BLANK)
    kept = exists & (path != BLANK) & (path != before)
    best = np.take_along_axis(log_probabilities, path[:, :, None], axis=2)[:, :, 0]
    return to_the_left(path, kept), np.where(exists, best, 0.0).sum(axis=1)


def to_the_left(values, kept):
    """The values that are kept, in their order from each row's left; zeros behind them.

    values: int64 [B, T].  kept: bool [B, T].
    """
    places = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(np.where(kept, values, 0), places, axis=1)


def beam_search(log_probabilities, lengths, beam_size):
    """The likeliest symbols, all paths to them counted; beam_size prefixes are followed.

    Arguments and results as of `decode`.
    """
    num_utterances, num_steps, num_symbols = log_probabilities.shape
    rows = np.arange(num_utterances)[:, None]
    prefixes = Prefixes()
    nodes = np.full((num_utterances, beam_size), NONE)
    nodes[:, 0] = EMPTY
    parents, last = np.full_like(nodes, NONE), np.full_like(nodes, BLANK)  # of each node
    # Log-probabilities of the paths that end in a blank, and in the prefix's last symbol.
    blank, symbol = np.full(nodes.shape, -np.inf), np.full(nodes.shape, -np.inf)
    blank[:, 0] = 0.0
    for step in range(int(lengths.max(initial=0))):
        now = log_probabilities[:, step]  # [B, S]
        both = np.logaddexp(blank, symbol)  # [B, K]
        once_more = np.where(last == BLANK, -np.inf, now[rows, last])
        # The same prefix after a blank, or after its last symbol once more.
        same_blank, same_symbol = both + now[:, [BLANK]], symbol + once_more
        # A longer one; by its last symbol only after a blank, or it would be a repeat.
        longer = both[:, :, None] + now[:, None, :]  # [B, K, S]
        np.put_along_axis(longer, last[:, :, None], (blank + once_more)[:, :, None], axis=2)
        longer[:, :, BLANK] = -np.inf
        # A longer one that is followed already: the same prefix.
        is_child = (parents[:, :, None] == nodes[:, None, :]) & (nodes > EMPTY)[:, :, None]
        row, child, parent = is_child.nonzero()
        place = (row, parent, last[row, child])
        same_symbol[row, child] = np.logaddexp(same_symbol[row, child], longer[place])
        longer[place] = -np.inf

        scores = np.concatenate(
            [np.logaddexp(same_blank, same_symbol), longer.reshape(num_utterances, -1)], axis=1
        )  # [B, K + K S]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :beam_size]
        scores = scores[rows, best]
        is_same = best < beam_size
        origin, added = np.divmod(np.maximum(best - beam_size, 0), num_symbols)
        origin = np.where(is_same, best, origin)  # the beam that each follows
        followed = nodes[rows, origin]
        goes_on = (step < lengths)[:, None]
        is_new = goes_on & ~is_same & np.isfinite(scores)
        longer_nodes = prefixes.longer(followed, added, is_new)

        def take(old, same, new):
            return np.where(goes_on, np.where(is_same, same[rows, origin], new), old)  # noqa: B023

        nodes, parents, last = (
            take(nodes, nodes, longer_nodes),
            take(parents, parents, followed),
            take(last, last, added),
        )
        blank, symbol = take(blank, same_blank, -np.inf), take(symbol, same_symbol, scores)
    both = np.logaddexp(blank, symbol)
    best = both.argmax(axis=1)[:, None]
    found = np.zeros((num_utterances, num_steps), np.int64)
    for row, node in zip(found, nodes[rows, best][:, 0]):
        symbols = prefixes.symbols(node)
        row[: len(symbols)] = symbols
    return found, both[rows, best][:, 0]


NONE, EMPTY = -1, 0


class Prefixes:
    """Every prefix that was found has a number, the same whenever it is found.  EMPTY is of none.
    """

    def __init__(self):
        self.numbers = {}
        self.ways = [(NONE, BLANK)]    # of each number: the prefix before, and the last symbol

    def longer(self, prefixes, symbols, wanted):
        """The numbers of prefixes with a symbol more; NONE where none is wanted.  int [B, K]."""
        found = np.full_like(prefixes, NONE)
        for place in zip(*wanted.nonzero()):
            way = (int(prefixes[place]), int(symbols[place]))
            found[place] = self.numbers.setdefault(way, len(self.ways))
            if found[place] == len(self.ways):
                self.ways.append(way)
        return found

    def symbols(self, number):
        """The symbols of a prefix, in order."""
        symbols = []
        while number > EMPTY:
            number, symbol = self.ways[number]
            symbols.append(symbol)
        return symbols[::-1]
