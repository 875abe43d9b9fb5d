"""What the network sees of a position: 17 planes.  Minigo's features.py in MLPerf Training v0.5.

Planes 2 i and 2 i + 1, i = 0..7: the stones of the side to move now, and the other's, i moves ago;
where the game is younger, its oldest board is repeated.  Plane 16: 1 where Black is to move.
"""

import numpy as np

from reinforcement import go
from reinforcement.compiled import compiled

NUM_BOARDS = 8
NUM_PLANES = 2 * NUM_BOARDS + 1


@compiled
def write_board(board, colour, back, planes, index):
    """Sets planes 2 index and 2 index + 1 of uint8 [P, 17], zeros before, the board turned.

    back: see go.inverses.
    """
    for point in range(len(board)):
        stone = board[point]
        if stone != 0:  # few are there
            planes[back[point], 2 * index + (stone != colour)] = 1


@compiled
def write_side(colour, planes):
    """Sets plane 16 for the side to move."""
    for point in range(len(planes)):
        planes[point, NUM_PLANES - 1] = colour == 1


@compiled
def write_planes(moves, number, back, beside, room, boards, planes):
    """Sets planes, uint8 [P, 17], zeros before, to the position before move `number` of a game.

    moves: int16, legal ones.  back: see go.inverses.  boards: int8 [8, P]: room.
    """
    boards[:] = 0
    colour, points, newest = 1, boards.shape[1], 0
    for index in range(number):
        before = boards[newest]
        newest = (newest + 1) % NUM_BOARDS
        boards[newest] = before
        if moves[index] < points:
            go.place(boards[newest], beside, moves[index], colour, room)
        colour = -colour
    for index in range(NUM_BOARDS):
        age = min(index, number)
        write_board(boards[(newest - age) % NUM_BOARDS], colour, back, planes, index)
    write_side(colour, planes)


def planes_of(games, numbers, ways, size):
    """uint8 [B, size, size, 17]: positions of games, each turned by one of the 8 symmetries.

    games: [int16 array of moves].  numbers: of the move that is next.
    """
    found = np.zeros((len(games), size * size, NUM_PLANES), np.uint8)
    beside, back, room = go.neighbours(size), go.inverses(size), go.scratch(size)
    boards = np.empty((NUM_BOARDS, size * size), np.int8)
    for moves, number, way, planes in zip(games, numbers, ways, found, strict=True):
        write_planes(moves, number, back[way], beside, room, boards, planes)
    return found.reshape(len(games), size, size, NUM_PLANES)
