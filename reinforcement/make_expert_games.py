"""Makes expert_games.sgf, which the quick profile predicts: GNU Go against itself on 5x5.

    python -m reinforcement.make_expert_games reinforcement/expert_games.sgf

Needs gnugo (Debian's package of that name, 3.8).  Four random moves, not asked, open a game.
A game ends with its first pass: what comes behind it is no choice.  It goes on until there are
enough positions that differ up to symmetry: some minutes.  Cut off, start it again: it goes on.
"""

import os
import random
import subprocess
import sys

from reinforcement import experts, go, sgf
from reinforcement.config import QUICK

POSITIONS = 1600
LEVEL = 3
PLACES = ("gnugo", "/usr/games/gnugo")


class GnuGo:
    """A GNU Go that speaks GTP, the Go text protocol."""

    def __init__(self, size, komi, level, seed):
        program = next((p for p in PLACES if os.path.exists(p)), PLACES[0])
        self.size = size
        self.process = subprocess.Popen(
            [program, "--mode", "gtp", "--level", str(level), "--seed", str(seed),
             "--chinese-rules", "--never-resign"],
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


def play(seed):
    """A sgf.Game up to its first pass, the first moves at random."""
    config, rng = QUICK, random.Random(seed)
    size = config.board_size
    game = sgf.Game(size, config.komi, black="GNU Go 3.8", white="GNU Go 3.8")
    position = go.Position(size, config.komi)
    engine = GnuGo(size, config.komi, LEVEL, seed)
    try:
        while size**2 not in game.moves and not position.is_over():
            colour = "white" if position.to_play == go.WHITE else "black"
            if len(game.moves) < config.first_move:
                legal = position.legal()[:-1]
                move = rng.choice([point for point in range(size**2) if legal[point]])
                engine.ask(f"play {colour} {sgf.name_of(move, size)}")
            else:
                move = sgf.move_of(engine.ask(f"genmove {colour}"), size)
            position.play(move)
            game.moves.append(move)
    finally:
        engine.close()
    game.result, game.event = "?", str(seed)
    game.comments = [""] * len(game.moves)
    return game


def main(path):
    """Writes the file.  Returns the exit code."""
    games = sgf.read(path) if os.path.exists(path) else []
    lines, count = {tuple(game.moves) for game in games}, 0
    seed = int(games[-1].event) if games else 0
    with open(path, "a") as opened:
        while count < POSITIONS:
            seed += 1
            game = play(seed)
            if tuple(game.moves) in lines:
                continue
            lines.add(tuple(game.moves))
            games.append(game)
            opened.write(sgf.written(game).replace("\n;", ";"))
            if len(games) % 20 == 0:
                opened.flush()
                choice = (QUICK.first_move, QUICK.distinct, QUICK.skip_plain)
                count = len(list(experts.chosen(games, *choice)))
                print(f"{len(games)} games, {count} positions", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
