"""Phase 3 of a generation: how good is the trained network?  Which move does its search choose
where an expert played?  Minigo's predict_games.py.  Or, in the quick profile: see playouts.py.
"""

import numpy as np

from reinforcement import playouts, search


def answers(config, evaluate, batch):
    """What the quality compares with the batch's answers, see data.ask.  Returns int64 [B]."""
    if config.playout_games:
        return playouts.winners(config, evaluate, batch)
    return choose(config, evaluate, batch)[0]


def choose(config, evaluate, batch):
    """The moves of a batch of positions, see data.ask, each searched from the beginning.

    evaluate: see search.Forest.search.  Returns the move visited most, of several the first,
    int64 [B]; the visits of each, int32 [B, A]; Q of the side to move, float64 [B].
    """
    count = len(batch["lengths"])
    forest = search.Forest(config, count)
    for row, length in enumerate(batch["lengths"]):
        moves = batch["moves"][row, :length]
        forest.begin(row, batch["draws"][row], batch["komi"][row], moves)
    active = np.arange(count, dtype=np.int32)
    while len(active):
        wanted = np.full(len(active), config.prediction_leaves, np.int32)
        forest.search(active, wanted, evaluate)
        active = active[forest.visits(active) < config.prediction_readouts]
    visits, values = zip(*map(forest.counts, range(count)))
    return np.argmax(visits, axis=1), np.array(visits), np.array(values)
