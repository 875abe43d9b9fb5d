"""Games between two players: many at once, each a function of its Start and of the players.

A player has begin(slot, start, draw), choose(slots) and advance(slot, move): see Searcher.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from reinforcement import games, go, search


@dataclass(frozen=True)
class Start:
    """How a game begins."""

    colour: int                    # the first player's
    draws: tuple[int, int]         # the players' seeds
    komi: float
    moves: tuple[int, ...] = ()    # that are there already


class Searcher:
    """A player by search.  evaluate: see search.Forest.search.

    No noise; the most visited move is played, of several the first.  Each side has a tree of its
    own, which both sides' moves prune.
    """

    def __init__(self, config, evaluate, count):
        self.config = config
        self.evaluate = evaluate
        self.forest = search.Forest(config, count)

    def begin(self, slot, start, draw):
        """Game `slot` of the player starts."""
        self.forest.begin(slot, draw, start.komi, start.moves)

    def choose(self, slots):
        """Yields (move, None where it resigns; visits, int32 [A]) of each of these games."""
        config, forest = self.config, self.forest
        slots = active = np.array(slots, np.int32)
        goal = forest.visits(slots) + config.readouts
        while len(active):
            forest.search(active, np.full(len(active), config.leaves, np.int32), self.evaluate)
            is_due = forest.visits(active) >= goal
            active, goal = active[~is_due], goal[~is_due]
        for slot in slots:
            counts, q = forest.counts(slot)
            yield None if q < config.gate_resign_value else int(np.argmax(counts)), counts

    def advance(self, slot, move):
        """Somebody has played a move."""
        self.forest.advance(slot, move)

    def close(self):
        """Nothing is left behind."""


def play(config, first, second, starts, together=False):
    """[Played] of games from these Starts.

    together: the second player thinks in a thread of its own while the first one does; it must not
    use the framework.  No move depends on it: at any time each game waits for one of them.
    """
    players = (first, second)
    positions = [go.Position(config.board_size, start.komi) for start in starts]
    visits = [[np.zeros(config.board_size**2 + 1, np.int32) for _ in start.moves]
              for start in starts]
    found = [None] * len(starts)
    for slot, (start, position) in enumerate(zip(starts, positions)):
        for move in start.moves:
            position.play(move)
        for player, draw in zip(players, start.draws):
            player.begin(slot, start, draw)
    with ThreadPoolExecutor(1) as pool:
        while None in found:
            waiting = [slot for slot in range(len(starts)) if found[slot] is None]
            own = [s for s in waiting if positions[s].to_play == starts[s].colour]
            others = [s for s in waiting if positions[s].to_play != starts[s].colour]
            if together:
                thought = pool.submit(lambda slots=others: list(second.choose(slots)))
                chosen = [*first.choose(own), *thought.result()]
            else:
                chosen = [*first.choose(own), *second.choose(others)]
            for slot, (move, counts) in zip(own + others, chosen):
                position = positions[slot]
                winner = -position.to_play if move is None else 0
                if not winner:
                    position.play(move)
                    visits[slot].append(counts)
                    for one in players:
                        one.advance(slot, move)
                    if position.is_over():
                        winner = go.BLACK if position.score() > 0 else go.WHITE
                if winner:
                    found[slot] = games.Played(
                        np.array(position.moves, np.int16),
                        np.array(visits[slot], np.int32).reshape(-1, config.board_size**2 + 1),
                        winner,
                        move is None,
                    )
    return found
