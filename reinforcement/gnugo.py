"""GNU Go 3.8 as a player of matches.py: another program, which is asked in GTP, the Go text
protocol.  Debian's package gnugo has it.
"""

import shutil
import subprocess

import numpy as np

from common.errors import UserError
from reinforcement import go, sgf

PLACES = ("gnugo", "/usr/games/gnugo")   # Debian's folder of games is not on every PATH


def program():
    """The path of the program; None where it is not installed."""
    return next(filter(None, map(shutil.which, PLACES)), None)


class GnuGo:
    """One game of the program."""

    def __init__(self, size, komi, level, seed):
        """Raises UserError where it is not installed."""
        if program() is None:
            raise UserError("gnugo: not found. Install the package gnugo, or play against playouts."
                            )
        self.process = subprocess.Popen(
            [program(), "--mode", "gtp", "--level", str(level), "--seed", str(seed),
             "--chinese-rules"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ask(f"boardsize {size}")
        self.ask(f"komi {komi:g}")

    def ask(self, command):
        """The answer to a command.  Raises ValueError where it is refused."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        lines = []
        while line := self.process.stdout.readline().strip():
            lines.append(line)
        answer = " ".join(lines)
        if not answer.startswith("="):
            raise ValueError(f"{command}: {answer}")
        return answer[1:].strip()

    def close(self):
        """Ends the program."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Player:
    """A player of many games, each with a program of its own.  Close it at the end."""

    def __init__(self, config, level):
        self.size = config.board_size
        self.level = level
        self.games, self.to_play = {}, {}

    def begin(self, slot, start, draw):
        """Game `slot` starts."""
        if slot in self.games:
            self.games[slot].close()
        self.games[slot] = GnuGo(self.size, start.komi, self.level, int(draw) % (1 << 31))
        self.to_play[slot] = go.BLACK
        for move in start.moves:
            self.advance(slot, move)

    def choose(self, slots):
        """Yields (move, None where it resigns; no visits) of each of these games."""
        for slot in slots:
            # It only thinks: `advance` plays the move, as the other player's.
            name = self.games[slot].ask(f"reg_genmove {self.colour(slot)}")
            move = None if name.lower() == "resign" else sgf.move_of(name, self.size)
            yield move, np.zeros(self.size**2 + 1, np.int32)

    def advance(self, slot, move):
        """Somebody has played a move."""
        self.games[slot].ask(f"play {self.colour(slot)} {sgf.name_of(move, self.size)}")
        self.to_play[slot] = -self.to_play[slot]

    def colour(self, slot):
        """Of the side to move."""
        return "black" if self.to_play[slot] == go.BLACK else "white"

    def close(self):
        """Ends all programs."""
        for game in self.games.values():
            game.close()
        self.games = {}
