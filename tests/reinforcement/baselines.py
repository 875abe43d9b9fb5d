"""What cheap players reach: of the quick profile's games, and of the experts' moves."""

import dataclasses

import numpy as np

from reinforcement import data, experts, go, matches, playouts, prediction, quality


def random_move(config):
    """The share of the experts' moves that any legal point would have, all alike."""
    shares = []
    for question in experts.questions(config):
        position = go.Position(config.board_size, question.komi)
        for move in question.moves:
            position.play(move)
        shares.append(1.0 / position.legal()[:-1].sum())
    return float(np.mean(shares))


def searched(config, evaluate, generation=1):
    """A search with a network, or with what stands in the place of one: the quality."""
    batches = data.batches(config, "test", generation)
    records = []
    for numbers in batches.indices:
        batch = batches.at(numbers)
        predictions = prediction.answers(config, evaluate, batch)
        records.append(quality.compare(predictions, batch))
    return quality.score(records)


class Ranked:
    """A player without search: of the moves that are legal, and fill no eye of its own, the one
    that ranks first; else a pass.

    ranks(position): a number for each point.
    """

    def __init__(self, config, ranks):
        self.config, self.ranks, self.positions = config, ranks, {}

    def begin(self, slot, start, draw):
        position = go.Position(self.config.board_size, start.komi)
        for move in start.moves:
            position.play(move)
        self.positions[slot] = position

    def choose(self, slots):
        for slot in slots:
            position = self.positions[slot]
            beside = go.neighbours(position.size)
            able = [point for point in range(position.size**2) if position.legal()[point]
                    and playouts.is_sensible(position.board, beside, point, position.to_play,
                                             position.room)]  # fmt: skip
            ranks = self.ranks(position)
            move = max(able, key=lambda point: ranks[point]) if able else position.size**2
            yield move, np.zeros(position.size**2 + 1, np.int32)

    def advance(self, slot, move):
        self.positions[slot].play(move)


def random_points(config):
    """A player of random moves."""
    rng = np.random.default_rng(config.seed)
    return Ranked(config, lambda position: rng.random(position.size**2))


def commonest_points(config):
    """A player of the point where stones are laid most: the centre, then what is nearest to it."""
    size = config.board_size
    rows, columns = np.divmod(np.arange(size**2), size)
    ranks = -((2 * rows - size + 1) ** 2 + (2 * columns - size + 1) ** 2)
    return Ranked(config, lambda position: ranks)


def played(config, player):
    """The quality of a player of `matches`."""
    found = []
    for question in playouts.questions(config):
        found.append(matches.Start(question.answer, (0, len(found)), question.komi, question.moves))
    config = dataclasses.replace(config, readouts=config.prediction_readouts)
    second = playouts.player(config, len(found))
    games = matches.play(config, player, second, found)
    return float(np.mean([game.winner == start.colour for game, start in zip(games, found)]))
