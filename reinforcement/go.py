"""The rules of Go on flat arrays, compiled.

Simple ko, no suicide, area score without removal of dead stones, as Minigo's go.py in MLPerf
Training v0.5.  A board is int8 [P]: 1 Black, -1 White, 0 empty; point = size row + column, row 0 on
top; a move is a point, or P: a pass.  P points, A = P + 1 moves.
"""

import functools
import math

import numpy as np

from reinforcement.compiled import compiled

BLACK, WHITE = 1, -1
NO_KO = -1


def max_moves(size):
    """A game ends after as many moves: 1.4 times the points, rounded up."""
    return math.ceil(14 * size * size / 10)


@functools.cache
def neighbours(size):
    """int16 [P, 4]: the points beside each; -1 behind the last."""
    table = np.full((size * size, 4), -1, np.int16)
    for point in range(size * size):
        row, column = divmod(point, size)
        beside = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
        inside = [r * size + c for r, c in beside if 0 <= r < size and 0 <= c < size]
        table[point, : len(inside)] = inside
    return table


@functools.cache
def symmetries(size):
    """int16 [8, A]: what lies on a point of each turned board lay on this one; passes stay."""
    points = np.arange(size * size).reshape(size, size)
    turned = [np.rot90(way, times).ravel() for way in (points, points.T) for times in range(4)]
    return np.array([[*one, size * size] for one in turned], np.int16)


@functools.cache
def inverses(size):
    """int16 [8, A]: where each point of this board lies on each turned one: see symmetries."""
    return np.argsort(symmetries(size), axis=1).astype(np.int16)


def scratch(size):
    """int32 [3, P + 1]: room that the functions below work in: a stack, marks, liberties."""
    return np.zeros((3, size * size + 1), np.int32)


@compiled
def group(board, beside, point, room):
    """(stones of the point's group, liberties, of which 2 stand for more).

    The group's points are then room[0, :stones], their marks in room[1] the newest.
    """
    stack, marks = room[0], room[1]
    last = len(marks) - 1
    marks[last] += 1
    mark, colour = marks[last], board[point]
    stack[0] = point
    marks[point] = mark
    count, done, liberty, liberties = 1, 0, -1, 0
    while done < count:
        here = stack[done]
        done += 1
        for way in range(4):
            there = beside[here, way]
            if there < 0:
                break
            if board[there] == colour:
                if marks[there] != mark:
                    marks[there] = mark
                    stack[count] = there
                    count += 1
            elif board[there] == 0 and there != liberty:
                liberty = there
                liberties = min(liberties + 1, 2)
    return count, liberties


@compiled
def place(board, beside, point, colour, room):
    """Plays a stone on a legal point: takes what it captures off.  Returns the ko, or NO_KO.

    The ko: a lone stone has captured a lone one; it must not be recaptured at once.
    """
    board[point] = colour
    captured, last, is_surrounded = 0, -1, True
    for way in range(4):
        there = beside[point, way]
        if there < 0:
            break
        if board[there] != -colour:
            is_surrounded = False
        else:
            stones, liberties = group(board, beside, there, room)
            if liberties == 0:
                for index in range(stones):
                    board[room[0, index]] = 0
                captured += stones
                last = there
    return last if captured == 1 and is_surrounded else -1


@compiled
def find_legal(board, beside, colour, ko, room, legal):
    """Sets legal, int8 [A]: 1 where the side of that colour may play, that is no ko and no suicide;
    a pass is always legal."""
    liberties = room[2]
    points = len(board)
    for point in range(points):
        liberties[point] = 0
    for point in range(points):
        if board[point] != 0 and liberties[point] == 0:
            stones, count = group(board, beside, point, room)
            for index in range(stones):
                liberties[room[0, index]] = count
    for point in range(points):
        legal[point] = 0
        if board[point] != 0 or point == ko:
            continue
        for way in range(4):
            there = beside[point, way]
            if there < 0:
                break
            if board[there] == 0 or (liberties[there] > 1) == (board[there] == colour):
                legal[point] = 1  # a liberty, a friend with another one, or a capture
                break
    legal[points] = 1


@compiled
def area(board, beside, room):
    """Black's stones and empty regions less White's; a region that touches both is nobody's."""
    stack, marks = room[0], room[1]
    last = len(marks) - 1
    marks[last] += 1
    mark, total = marks[last], 0
    for start in range(len(board)):
        total += board[start]
        if board[start] != 0 or marks[start] == mark:
            continue
        stack[0] = start
        marks[start] = mark
        count, done, black, white = 1, 0, False, False
        while done < count:
            here = stack[done]
            done += 1
            for way in range(4):
                there = beside[here, way]
                if there < 0:
                    break
                if board[there] == 1:
                    black = True
                elif board[there] == -1:
                    white = True
                elif marks[there] != mark:
                    marks[there] = mark
                    stack[count] = there
                    count += 1
        if black != white:
            total += count if black else -count
    return total


class Position:
    """One game as it stands, for all that is not in a hurry: files, hosts that ask, tests."""

    def __init__(self, size, komi):
        self.size = size
        self.komi = komi
        self.board = np.zeros(size * size, np.int8)
        self.to_play = BLACK
        self.ko = NO_KO
        self.moves = []
        self.room = scratch(size)

    def legal(self):
        """int8 [A]: 1 for each move that the side to move may play, else 0."""
        found = np.zeros(self.size**2 + 1, np.int8)
        find_legal(self.board, neighbours(self.size), self.to_play, self.ko, self.room, found)
        return found

    def play(self, move):
        """Plays a move.  Raises ValueError where the rules forbid it."""
        if not (0 <= move <= self.size**2 and self.legal()[move]):
            raise ValueError(f"move {len(self.moves) + 1} is not legal")
        self.ko = NO_KO
        if move < self.size**2:
            self.ko = place(self.board, neighbours(self.size), move, self.to_play, self.room)
        self.moves.append(move)
        self.to_play = -self.to_play

    def is_over(self):
        """Whether both have passed, or the moves are used up."""
        passes = [self.size**2] * 2
        return self.moves[-2:] == passes or len(self.moves) >= max_moves(self.size)

    def score(self):
        """Black's points less White's and the komi."""
        return area(self.board, neighbours(self.size), self.room) - self.komi
