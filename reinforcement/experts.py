"""The experts' games, and the positions whose next move is to be predicted.

DATA_DIR/sgf/ holds them as SGF, in folders of any depth.  The reference's are four games of
professionals; the quick profile's are GNU Go's, see quick_data.py.
"""

import functools
import os
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from reinforcement import go, sgf


@dataclass(frozen=True)
class Question:
    """What to play after these moves?"""

    moves: tuple[int, ...]
    komi: float
    answer: int            # the expert's move


def files(data_dir):
    """The paths of all games, sorted.  Raises UserError where there is none."""
    root = os.path.join(data_dir, "sgf")
    found = [os.path.join(base, name) for base, _, names in os.walk(root) for name in names
             if name.endswith(".sgf")]
    if not found:
        raise UserError(f"{root}: holds no .sgf file. --data_dir names the folder that has sgf/.")
    return sorted(found)


def questions(config):
    """[Question] of a prepared config, in the games' order.  Raises UserError."""
    size = config.board_size
    return _questions(config.data_dir, size, config.first_move, config.distinct, config.skip_plain)


@functools.lru_cache(maxsize=4)
def _questions(data_dir, size, *choice):
    def all_games():
        for path in files(data_dir):
            for game in sgf.read(path):
                if game.size != size:
                    raise UserError(f"{path}: a board of {game.size}x{game.size}, expected {size}x"
                                    f"{size}. Say --set board_size={game.size}, or remove it.")
                yield game

    return list(chosen(all_games(), *choice))


def chosen(games, first_move, distinct, skip_plain):
    """Yields the Questions of games; the further arguments are the config's."""
    seen = set()
    for game in games:
        for question, position in asked(game):
            if len(question.moves) < first_move:
                continue
            if skip_plain and question.answer == most_central(position):
                continue
            if distinct and key(position) in seen:
                continue
            seen.add(key(position))
            yield question


def asked(game):
    """Yields (Question, Position) of each move but the passes, until the game is over by our rules.
    """
    position = go.Position(game.size, game.komi)
    for number, move in enumerate(game.moves):
        if position.is_over():
            return
        if move != game.size**2:
            yield Question(tuple(game.moves[:number]), game.komi, move), position
        position.play(move)


def most_central(position):
    """The legal point nearest to the board's centre, of several the first; else a pass."""
    size = position.size
    points = np.flatnonzero(position.legal()[:-1])
    rows, columns = np.divmod(points, size)
    distances = (2 * rows - size + 1) ** 2 + (2 * columns - size + 1) ** 2
    return int(points[np.argmin(distances)]) if len(points) else size * size


def key(position):
    """bytes: the same for all eight turned forms of a position, and for no other."""
    turned = go.symmetries(position.size)
    ko = np.zeros(position.size**2, np.int8)
    if position.ko != go.NO_KO:
        ko[position.ko] = 1
    forms = [position.board[way[:-1]].tobytes() + ko[way[:-1]].tobytes() for way in turned]
    return bytes([position.to_play + 1]) + min(forms)
