"""What cheap players reach on the experts' positions: shares of the experts' moves."""

import collections
import dataclasses

import numba
import numpy as np

from reinforcement import data, experts, go, prediction, quality


def positions(config):
    """[(Question, Position)] of a prepared config."""
    found = []
    for question in experts.questions(config):
        position = go.Position(config.board_size, question.komi)
        for move in question.moves:
            position.play(move)
        found.append((question, position))
    return found


def random_move(config):
    """Any legal point, all alike: the share to be expected."""
    return float(np.mean([1.0 / position.legal()[:-1].sum() for _, position in positions(config)]))


def commonest_point(config):
    """The legal point that the experts choose most often, counted on these very positions, and
    alike for symmetrical points."""
    counts, ways = collections.Counter(), go.symmetries(config.board_size)
    for question, _ in positions(config):
        counts.update({int(np.flatnonzero(way == question.answer)[0]) for way in ways})
    ranks = np.array([counts[point] for point in range(config.board_size**2)])
    # Of symmetrical points, which are equal, the first that is legal.
    hits = [np.argmax(np.where(position.legal()[:-1], ranks, -1)) == question.answer
            for question, position in positions(config)]
    return float(np.mean(hits))


def searched(config, evaluate):
    """A search with a network, or what stands in the place of one."""
    batches = data.batches(config, "test", 1)
    records = []
    for numbers in batches.indices:
        batch = batches.at(numbers)
        moves = prediction.choose(config, evaluate, batch)[0]
        records.append(quality.compare(moves, batch))
    return quality.score(records)


def playouts(config):
    """evaluate of a search: all moves alike, and the winner of one random game from the leaf.

    No stone is played into a point that only own stones surround.
    """
    size = config.board_size
    beside, room, rng = go.neighbours(size), go.scratch(size), np.random.default_rng(config.seed)

    def evaluate(planes):
        boards = planes[..., 0].astype(np.int8) - planes[..., 1].astype(np.int8)
        colours = np.where(planes[:, 0, 0, 16], 1, -1).astype(np.int8)
        boards = (boards.reshape(len(planes), -1) * colours[:, None]).astype(np.int8)
        values = play_out(boards, colours, beside, room, config.komi, rng.integers(1 << 31))
        return np.full((len(planes), size**2 + 1), 1.0 / (size**2 + 1)), values

    return evaluate


@numba.njit
def play_out(boards, colours, beside, room, komi, seed):
    """float64 [B]: who wins when both play at random."""
    np.random.seed(seed)
    points = boards.shape[1]
    legal, found = np.zeros(points + 1, np.int8), np.zeros(len(boards))
    for row in range(len(boards)):
        board, colour, ko, passes = boards[row], np.int64(colours[row]), -1, 0
        for _ in range(3 * points):
            go.find_legal(board, beside, colour, ko, room, legal)
            move, count = points, 0
            for point in range(points):
                if not legal[point]:
                    continue
                is_eye = True
                for way in range(4):
                    there = beside[point, way]
                    if there < 0:
                        break
                    if board[there] != colour:
                        is_eye = False
                if not is_eye:
                    count += 1
                    if np.random.randint(count) == 0:
                        move = point
            passes = passes + 1 if move == points else 0
            if passes == 2:
                break
            ko = -1
            if move < points:
                ko = go.place(board, beside, move, colour, room)
            colour = -colour
        found[row] = 1.0 if go.area(board, beside, room) > komi else -1.0
    return found


def all_of(config, untrained):
    """{name: share}, the searches with as many readouts as the config's.

    untrained: evaluate of a network that has learnt nothing.
    """
    config = dataclasses.replace(config, seed=config.seed or 1)
    return {
        "random move": random_move(config),
        "commonest point": commonest_point(config),
        "untrained network": searched(config, untrained),
        "random playouts": searched(config, playouts(config)),
    }
