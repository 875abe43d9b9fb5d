"""GNU Go 3.8 as a player of matches.py: another program, which is asked in GTP, the Go text
protocol.  Debian's package gnugo has it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading

import numpy as np

from common.errors import UserError
from reinforcement import go, sgf

PLACES = ("gnugo", "/usr/games/gnugo")   # Debian's folder of games is not on every PATH
PATIENCE = 300.0      # seconds for an answer; level 10 thinks for some
LONGEST = 1 << 16     # characters of an answer


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
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
        try:
            self.ask(f"boardsize {size}")
            self.ask(f"komi {komi:g}")
        except BaseException:   # nobody has it yet to close it
            self.close()
            raise

    def ask(self, command):
        """The answer to a command.  Raises UserError where it is refused, or does not come."""
        answer, line = "", ""
        late = threading.Timer(PATIENCE, self.kill)   # then its output ends
        late.start()
        try:
            self.process.stdin.write(f"{command}\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline(LONGEST)).strip():
                answer += f"{line.strip()} "
                if len(answer) > LONGEST:
                    break
        except BrokenPipeError:
            answer = ""
        finally:
            late.cancel()
        if not (answer.startswith("=") and line == "\n"):
            raise self.fault(command, answer)
        return answer[1:].strip()

    def fault(self, command, answer):
        """The UserError of an answer that is none."""
        return UserError(f"{self.process.args[0]}: {command!r} has the answer {answer[:40]!r}. "
                         "Install GNU Go 3.8, or play against playouts.")

    def kill(self):
        """Ends the program and what it has started: it may be a script."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self):
        """Ends the program, which has nothing to save."""
        self.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Player:
    """A player of many games, each with a program of its own.  Close it at the end."""

    def __init__(self, config, level):
        self.size = config.board_size
        self.level = level
        self.games, self.positions = {}, {}

    def begin(self, slot, start, draw):
        """Game `slot` starts."""
        if slot in self.games:
            self.games[slot].close()
        self.games[slot] = GnuGo(self.size, start.komi, self.level, int(draw) % (1 << 31))
        self.positions[slot] = go.Position(self.size, start.komi)
        for move in start.moves:
            self.advance(slot, move)

    def choose(self, slots):
        """Yields (move, None where it resigns; no visits) of each of these games."""
        for slot in slots:
            # It only thinks: `advance` plays the move, as the other player's.
            command = f"reg_genmove {self.colour(slot)}"
            name = self.games[slot].ask(command)
            try:
                move = None if name.lower() == "resign" else sgf.move_of(name, self.size)
            except ValueError:
                raise self.games[slot].fault(command, name) from None
            if move is not None and not self.positions[slot].legal()[move]:
                raise self.games[slot].fault(command, name)
            yield move, np.zeros(self.size**2 + 1, np.int32)

    def advance(self, slot, move):
        """Somebody has played a move."""
        self.games[slot].ask(f"play {self.colour(slot)} {sgf.name_of(move, self.size)}")
        self.positions[slot].play(move)

    def colour(self, slot):
        """Of the side to move."""
        return "black" if self.positions[slot].to_play == go.BLACK else "white"

    def close(self):
        """Ends all programs."""
        for game in self.games.values():
            game.close()
        self.games = {}
