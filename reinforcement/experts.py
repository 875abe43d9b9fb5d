"""The experts' games, and the positions whose next move is to be predicted.

DATA_DIR/sgf/ holds them as SGF, in folders of any depth.  The reference's are four games of
professionals.
"""

import functools
import os
from dataclasses import dataclass

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
    return _questions(config.data_dir, config.board_size)


@functools.lru_cache(maxsize=4)
def _questions(data_dir, size):
    found = []
    for path in files(data_dir):
        for game in sgf.read(path):
            if game.size != size:
                raise UserError(f"{path}: a board of {game.size}x{game.size}, expected {size}x"
                                f"{size}. Say --set board_size={game.size}, or remove it.")
            found += asked(game)
    return found


def asked(game):
    """Yields a Question of each move but the passes, until the game is over by our rules."""
    position = go.Position(game.size, game.komi)
    for number, move in enumerate(game.moves):
        if position.is_over():
            return
        if move != game.size**2:
            yield Question(tuple(game.moves[:number]), game.komi, move)
        position.play(move)
