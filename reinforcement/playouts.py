"""A player that has learnt nothing and is no fool: random playouts in place of a network.

The quick profile's network is measured against the same search with these.
P points, B positions.
"""

import dataclasses

import numpy as np

from reinforcement import experts, features, go, matches, search
from reinforcement.compiled import compiled

OPENINGS = 5             # of the streams of random numbers: see also selfplay, data, gating


def evaluator(config):
    """evaluate of a search, see search.Forest.search: of a position all moves are alike, and its
    value is the winner of one random game from there.

    It is a function of the position: so neither the order of games nor their number moves it.
    """
    size = config.board_size
    beside, room = go.neighbours(size), go.scratch(size)
    empty = np.zeros(size * size, np.int32)

    def evaluate(planes):
        count = len(planes)
        values = np.empty(count)
        boards = planes.reshape(count, size * size, features.NUM_PLANES)
        play_all(boards, config.komi, beside, room, empty, values)
        return np.full((count, size * size + 1), 1.0 / (size * size + 1), np.float32), values

    return evaluate


def player(config, count):
    """The player of so many games: see matches.py."""
    # Of small batches less is padding, and a playout costs the same in any.
    config = dataclasses.replace(config, network_rows=32)
    return matches.Searcher(config, evaluator(config), count)


@compiled
def play_all(planes, komi, beside, room, empty, values):
    """Sets values, float64 [B], to 1 where Black wins a random game, else -1.

    planes: uint8 [B, P, 17], see features.py; the newest boards, which give the random numbers.
    """
    points = planes.shape[1]
    board = np.zeros(points, np.int8)
    for row in range(len(planes)):
        colour = 1 if planes[row, 0, features.NUM_PLANES - 1] else -1
        state = np.uint64(2 + colour)
        for point in range(points):
            stone = np.int8(planes[row, point, 0]) - np.int8(planes[row, point, 1])
            board[point] = stone * colour
            state = search.mixed(state + np.uint64(2 + stone))
        play_out(board, colour, beside, room, empty, state)
        values[row] = 1.0 if go.area(board, beside, room) > komi else -1.0


@compiled
def play_out(board, colour, beside, room, empty, state):
    """Plays at random to the end, on the board itself: until both pass, or two moves a point.

    No stone is played into a point that own stones alone surround: else no game would end.
    """
    points = len(board)
    passes, ko = 0, -1
    for _ in range(2 * points):
        count = 0
        for point in range(points):
            if board[point] == 0 and point != ko:
                empty[count] = point
                count += 1
        move = points
        while count > 0:
            state += np.uint64(0x9E3779B97F4A7C15)
            index = np.int64(search.mixed(state) >> np.uint64(33)) % count
            point = empty[index]
            count -= 1
            empty[index] = empty[count]
            if is_sensible(board, beside, point, colour, room):
                move = point
                break
        ko = -1
        if move < points:
            passes = 0
            ko = go.place(board, beside, move, colour, room)
        else:
            passes += 1
            if passes == 2:
                break
        colour = -colour


@compiled
def is_sensible(board, beside, point, colour, room):
    """Whether an empty point, no ko, is legal for a side, and not surrounded by its stones alone.
    """
    is_own, is_legal = True, False
    for way in range(4):
        there = beside[point, way]
        if there < 0:
            break
        stone = board[there]
        if stone == 0:
            return True
        if stone != colour:
            is_own = False
        if not is_legal:
            liberties = go.group(board, beside, there, room)[1]
            is_legal = (liberties > 1) == (stone == colour)
    return is_legal and not is_own


def questions(config):
    """[experts.Question] of the match that measures a network: each opening twice, once with each
    colour for the network, which is the answer.

    An opening is a stone of each side; a run's openings are drawn by its seed and differ.
    """
    points = config.board_size**2
    rng = np.random.default_rng([config.seed, OPENINGS])
    drawn = rng.permutation(points * (points - 1))[: config.playout_games // 2]
    found = []
    for black, white in zip(*np.divmod(drawn, points - 1)):
        white = (black + 1 + white) % points
        moves = (int(black), int(white))
        found += [experts.Question(moves, config.komi, colour) for colour in (go.BLACK, go.WHITE)]
    return found


def winners(config, evaluate, batch):
    """Who has won each game of a batch, see data.ask: int64 [B], 1 Black, -1 White.

    evaluate: of the network, see search.Forest.search.  Both sides have config.prediction_readouts.
    """
    config = dataclasses.replace(config, readouts=config.prediction_readouts)
    starts = [
        matches.Start(int(colour), (draw, ~draw), komi, tuple(moves[:length].tolist()))
        for colour, draw, komi, moves, length in zip(
            batch["answers"], batch["draws"].astype(np.uint64), batch["komi"], batch["moves"],
            batch["lengths"])
    ]  # fmt: skip
    first = matches.Searcher(config, evaluate, len(starts))
    found = matches.play(config, first, player(config, len(starts)), starts, together=True)
    return np.array([game.winner for game in found], np.int64)
