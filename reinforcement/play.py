"""Plays with a trained network for any Go program that speaks GTP, the Go text protocol, version 2:

    python -m reinforcement.play FRAMEWORK CHECKPOINT [READOUTS]

CHECKPOINT is a file, or a run folder, whose newest one is taken; any of the frameworks may have
written it.  READOUTS: of a move; the run's own by default.  Farneback 2002, "Specification of the
Go Text Protocol, version 2, draft 2".
"""

import dataclasses
import re
import sys

from common import trained
from common.command import FRAMEWORKS
from common.errors import UserError, told
from reinforcement import go, matches, sgf

USAGE = "usage: python -m reinforcement.play FRAMEWORK CHECKPOINT [READOUTS]"
COLOURS = {"b": go.BLACK, "black": go.BLACK, "w": go.WHITE, "white": go.WHITE}
MOST_READOUTS = 1_000_000


class Refused(Exception):
    """What a command is answered with after a question mark."""


class Engine:
    """A game, and the commands that change it and ask for it.  evaluate: see search.Forest.search.
    """

    def __init__(self, config, evaluate):
        self.config = config
        self.player = matches.Searcher(config, evaluate, 1)
        self.komi = config.komi
        self.past = []             # how many moves there were before each command that played one
        self.count = 0             # games begun: each has symmetries of its own
        self.start([])
        self.commands = {
            "protocol_version": lambda: "2",
            "name": lambda: "Minigo",
            "version": lambda: f"{config.framework} {config.readouts} readouts",
            "known_command": lambda name: str(name in self.commands).lower(),
            "list_commands": lambda: "\n".join(self.commands),
            "boardsize": self.boardsize,
            "clear_board": self.clear_board,
            "komi": self.set_komi,
            "play": self.play,
            "genmove": self.genmove,
            "reg_genmove": self.reg_genmove,
            "undo": self.undo,
            "showboard": self.showboard,
            "final_score": self.final_score,
            "quit": lambda: "",
        }

    def start(self, moves):
        """The board stands as after these moves."""
        self.position = go.Position(self.config.board_size, self.komi)
        for move in moves:
            self.position.play(move)
        begun = matches.Start(go.BLACK, (0, 0), self.komi, tuple(moves))
        self.player.begin(0, begun, (self.config.seed or 0) + self.count)

    def boardsize(self, size):
        """The network knows one size."""
        if size != str(self.config.board_size):
            raise Refused("unacceptable size")
        return self.clear_board()

    def clear_board(self):
        """A new game."""
        self.past, self.count = [], self.count + 1
        self.start([])
        return ""

    def set_komi(self, komi):
        """Where it is a whole number, equal scores are White's for the search."""
        if not re.fullmatch(r"[+-]?\d{1,3}(\.\d{0,4})?", komi, re.ASCII):
            raise Refused("syntax error")
        self.komi = float(komi)
        self.start(self.position.moves)
        return ""

    def play(self, colour, vertex):
        """A move of either side.  Who plays twice lets the other one pass between."""
        colour = colour_of(colour)
        try:
            move = sgf.move_of(vertex, self.position.size)
        except ValueError:
            raise Refused("syntax error") from None
        before = list(self.position.moves)
        self.give_turn(colour)
        if not self.position.legal()[move]:
            self.start(before)
            raise Refused("illegal move")
        self.past.append(len(before))
        self.add(move)
        return ""

    def give_turn(self, colour):
        """Lets the other side pass where it is to move."""
        if colour != self.position.to_play:
            self.add(self.position.size**2)

    def add(self, move):
        """Plays a legal move of the side to move."""
        self.position.play(move)
        self.player.advance(0, move)

    def genmove(self, colour):
        """Plays the move that the search visits most, or resigns."""
        colour = colour_of(colour)
        self.past.append(len(self.position.moves))
        self.give_turn(colour)
        move = self.choose()
        if move is None:
            return "resign"
        self.add(move)
        return sgf.name_of(move, self.position.size)

    def reg_genmove(self, colour):
        """The same, without playing it."""
        before = list(self.position.moves)
        self.give_turn(colour_of(colour))
        move = self.choose()
        if before != self.position.moves:
            self.start(before)
        return "resign" if move is None else sgf.name_of(move, self.position.size)

    def choose(self):
        """A move, None where it resigns; a pass where the game is over."""
        if self.position.is_over():
            return self.position.size**2
        ((move, _),) = self.player.choose([0])
        return move

    def undo(self):
        """Takes the last move back."""
        if not self.past:
            raise Refused("cannot undo")
        self.start(self.position.moves[: self.past.pop()])
        return ""

    def showboard(self):
        """X Black, O White."""
        size, rows = self.position.size, []
        letters = "   " + " ".join(sgf.COLUMNS[:size])
        for row, stones in enumerate(self.position.board.reshape(size, size)):
            rows.append(f"{size - row:2} " + " ".join(".XO"[stone] for stone in stones))
        return "\n".join(["", letters, *rows, letters])

    def final_score(self):
        """Of the board as it stands: no stone counts as dead."""
        score = self.position.score()
        return f"{'B' if score > 0 else 'W'}+{abs(score):g}" if score else "0"

    def answer(self, line):
        """The whole answer to a line of input, and whether the game goes on.  None: no command."""
        line = re.sub(r"[^\t -~\x80-\U0010ffff]", "", line).partition("#")[0]
        words = line.split()
        number = words.pop(0) if words and re.fullmatch(r"\d{1,20}", words[0], re.ASCII) else ""
        if not words:
            return (None if not number else f"?{number} unknown command\n\n"), True
        name, *arguments = words
        mark, text = "=", ""
        try:
            if name not in self.commands:
                raise Refused("unknown command")
            command = self.commands[name]
            wanted = command.__code__.co_argcount - hasattr(command, "__self__")
            if len(arguments) < wanted:
                raise Refused("syntax error")
            text = command(*arguments[:wanted])
        except Refused as refused:
            mark, text = "?", str(refused)
        return f"{mark}{number} {text}".rstrip() + "\n\n", not (mark == "=" and name == "quit")


def colour_of(text):
    """A side by its name.  Raises Refused."""
    if text.lower() not in COLOURS:
        raise Refused("syntax error")
    return COLOURS[text.lower()]


def player_config(path, readouts=None):
    """The config of a checkpoint's run, for a single game.  Raises UserError."""
    config = trained.config_of(path, "reinforcement")
    if readouts is not None:
        if not (re.fullmatch(r"\d{1,7}", readouts, re.ASCII)
                and 1 <= int(readouts) <= MOST_READOUTS):
            raise UserError(f"READOUTS {readouts[:20]!r}: expected 1 to {MOST_READOUTS:,}.")
        config = dataclasses.replace(config, readouts=int(readouts))
    return dataclasses.replace(config, network_rows=config.leaves)


def main(arguments):
    """Returns the exit code: 0, or 1 for a fault of the user."""
    return told(lambda: run(*arguments))


def run(framework_name="", path="", readouts=None, *more):
    """Answers commands until `quit` or the end of the input.  Raises UserError.  Returns 0."""
    if framework_name not in FRAMEWORKS or not path or more:
        raise UserError(f"{USAGE}; FRAMEWORK is one of {', '.join(FRAMEWORKS)}.")
    path = trained.newest(path)
    config = dataclasses.replace(player_config(path, readouts), framework=framework_name)
    engine = Engine(config, trained.trainer_of(config, framework_name, path).infer)
    for line in sys.stdin.buffer:
        answer, goes_on = engine.answer(line.decode(errors="replace"))
        if answer:
            print(answer, end="", flush=True)
        if not goes_on:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
