"""Games that networks have played, as files of the run folder: whole or not at all.

    games/000001/00000.sgf     self-play: generation, number of the game
    matches/000002/000.sgf     the matches for the right to play generation 2
    players/000002.safetensors the network that plays it

A file says which networks played, by a sum of their weights, and where it lies; the comment of a
move how often the search visited each.  A game of other networks, or of another place, or a damaged
one, is played anew.
"""

import contextlib
import functools
import os
from dataclasses import dataclass

import numpy as np

from common import checkpoint
from common.errors import UserError
from common.files import open_regular
from reinforcement import go, sgf


@dataclass(frozen=True)
class Played:
    """A finished game.  n moves."""

    moves: np.ndarray      # int16 [n]
    visits: np.ndarray     # int32 [n, A], of the root's children before each move
    winner: int            # 1 Black, -1 White
    resigned: bool = False


def games_folder(folder, generation):
    """Of a run folder: where a generation's games of self-play lie."""
    return os.path.join(folder, "games", f"{generation:06d}")


def matches_folder(folder, generation):
    """Where the games lie that decide which network plays a generation."""
    return os.path.join(folder, "matches", f"{generation:06d}")


def player_path(folder, generation):
    """The file of the network that plays a generation."""
    return os.path.join(folder, "players", f"{generation:06d}.safetensors")


def path(folder, number):
    """The file of a game."""
    return os.path.join(folder, f"{number:05d}.sgf")


def place_of(file):
    """games/000001/00000: what a file says of its place, in whatever run folder."""
    return "/".join(os.path.abspath(file).removesuffix(".sgf").split(os.sep)[-3:])


def name_of(parameters):
    """A network's name: a sum of its weights."""
    return checkpoint.digest(parameters)[:16]


@functools.cache
def moves_of(size):
    """{name: move} of all moves, as `save` writes them."""
    return {sgf.name_of(move, size): move for move in range(size**2 + 1)}


def save(file, game, config, black, white):
    """Writes a Played game, whole or not at all.  black, white: the networks' names.

    A power cut may leave an empty file; `load` takes it for none.
    """
    size = config.board_size
    comments = [
        ", ".join(f"{sgf.name_of(int(move), size)} {row[move]}" for move in np.flatnonzero(row))
        for row in game.visits
    ]
    record = sgf.Game(size, config.komi, game.moves.tolist(), comments, black, white,
                      event=place_of(file))  # fmt: skip
    winner = "B" if game.winner == go.BLACK else "W"
    margin = "R" if game.resigned else f"{abs(record.end().score()):g}"
    record.result = f"{winner}+{margin}"
    temporary = f"{file}.tmp"   # one process alone plays a game
    try:
        with open_regular(temporary, "wb", own=True) as opened:
            opened.write(sgf.written(record).encode())
        os.replace(temporary, file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror}). Make room and --resume."
                        ) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def load(file, config, black=None, white=None):
    """The Played game of a file; None where there is none of these networks that is whole.

    None: whoever has played.
    """
    if not os.path.exists(file):
        return None
    try:
        (record,) = sgf.read(file)
        names = (black or record.black, white or record.white)
        if (record.black, record.white, record.event) != (*names, place_of(file)):
            return None
        if (record.size, record.komi) != (config.board_size, config.komi):
            return None
        position = record.end()
        visits = np.zeros((len(record.moves), record.size**2 + 1), np.int32)
        moves = moves_of(record.size)
        for row, comment in zip(visits, record.comments):
            for entry in comment.split(", "):
                name, count = entry.split(" ")
                row[moves[name]] = int(count)
        if (visits < 0).any() or not visits.any(axis=1).all():
            return None
        winner = {"B": go.BLACK, "W": go.WHITE}[record.result[:1]]
        resigned = record.result[1:] == "+R"
        if not resigned and (not position.is_over() or (position.score() > 0) != (winner > 0)):
            return None
    except (UserError, ValueError, KeyError, OverflowError):
        return None
    return Played(np.array(record.moves, np.int16), visits, winner, resigned)
