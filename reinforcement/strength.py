"""How strong the networks of a run are: games against GNU Go, or against random playouts.

    python -m reinforcement.strength FRAMEWORK RUN_FOLDER [GAMES [OPPONENT...]]

OPPONENT: playouts, see playouts.py, or gnugo:LEVEL, 0 to 10.  By default GNU Go at level 1, where
it is installed, else playouts; 100 games.  Each network that has played a generation plays them:
half with each colour, each opening twice.  A line for each is printed, and the run folder gets
strength.json and strength.svg, which shows the run's quality beside.
"""

import dataclasses
import html
import json
import math
import os
import re
import sys

import numpy as np

from common import checkpoint, trained
from common.command import FRAMEWORKS
from common.errors import UserError, told
from common.files import replaced
from reinforcement import config as numbers
from reinforcement import games, gating, gnugo, matches, playouts

USAGE = "usage: python -m reinforcement.strength FRAMEWORK RUN_FOLDER [GAMES [OPPONENT...]]"
AT_ONCE = 32          # games: each has a GNU Go of its own


def elo(wins, count):
    """(Elo above the opponent, its standard error) of so many wins in `count` games.

    Elo 1978: 400 points are odds of ten to one.  Half a win and half a loss are added, so that a
    clean sweep has a number too.  Error: of the logarithm of the odds.
    """
    won, lost = wins + 0.5, count - wins + 0.5
    scale = 400.0 / math.log(10.0)
    return scale * math.log(won / lost), scale * math.sqrt(1.0 / won + 1.0 / lost)


def opponents(names):
    """{name: (config, count) -> a player of matches.py}.  Raises UserError."""
    found = {}
    for name in names or ["gnugo:1" if gnugo.program() else "playouts"]:
        level = re.fullmatch(r"gnugo:([0-9]|10)", name, re.ASCII)
        if name != "playouts" and not level:
            raise UserError(f"{name[:20]!r}: no opponent. Say playouts, or gnugo:0 to gnugo:10.")
        if level and gnugo.program() is None:
            raise UserError(f"{name}: gnugo is not installed. Install it, or play playouts.")
        found[name] = opponent(int(level[1]) if level else None)
    return found


def opponent(level):
    """What makes a player: GNU Go at a level; None: playouts."""
    def make(config, count):
        if level is None:
            return playouts.player(config, count)
        return gnugo.Player(config, level)

    return make


def wins_against(config, evaluate, make, generation):
    """How many of config.playout_games a network wins.  make: see opponents."""
    asked = playouts.questions(config)
    rng = np.random.default_rng([config.seed, playouts.OPENINGS, generation])
    draws = rng.integers(1 << 62, size=(len(asked), 2), dtype=np.uint64)
    wins = 0
    for first in range(0, len(asked), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        starts = [matches.Start(one.answer, tuple(draw), one.komi, one.moves)
                  for one, draw in zip(asked[part], draws[part])]
        other = make(config, len(starts))
        try:
            player = matches.Searcher(config, evaluate, len(starts))
            found = matches.play(config, player, other, starts)
        finally:
            other.close()
        wins += sum(game.winner == start.colour for game, start in zip(found, starts))
    return wins


def players(folder):
    """[(generations that it was trained for at most, path)] of a run folder.  Raises UserError."""
    place = os.path.dirname(games.player_path(folder, 1))
    names = os.listdir(place) if os.path.isdir(place) else []
    found = [re.fullmatch(r"(\d{6})\.safetensors", name, re.ASCII) for name in sorted(names)]
    found = [(int(one[1]) - 1, os.path.join(place, one[0])) for one in found if one]
    if not found:
        raise UserError(f"{folder}: no run folder with networks in players/.")
    return found


def measure(config, trainer, folder, chosen):
    """Yields {generation, opponent, games, wins, elo, error} of each network and opponent."""
    known = {}
    for generation, path in players(folder):
        parameters = gating.load(trainer, path)
        gating.take(trainer, parameters)
        for name, make in chosen.items():
            key = games.name_of(parameters), name   # a rejected network: the one before again
            if key not in known:
                known[key] = wins_against(config, trainer.infer, make, generation)
            points, error = elo(known[key], config.playout_games)
            yield {"generation": generation, "opponent": name, "games": config.playout_games,
                   "wins": known[key], "elo": points, "error": error}  # fmt: skip


WIDTH, HEIGHT, LEFT, TOP = 640, 300, 60, 30   # of a picture, of its margins
COLOURS = ("#0067a5", "#b84a00", "#00785a", "#8a3c8f")


def drawn(curves, last):
    """SVG: pictures one above the other.  curves: {title: {name: [(x, y, error)]}}; x: 0 to last.
    """
    parts = []
    for number, (title, lines) in enumerate(curves.items()):
        every = [y + sign * e for line in lines.values() for _, y, e in line for sign in (-1, 1)]
        low, high = min(every), max(every)
        low, high = (low - 0.5, high + 0.5) if low == high else (low, high)

        def place(x, y, low=low, high=high):
            return (LEFT + (WIDTH - 2 * LEFT) * x / max(last, 1),
                    HEIGHT - TOP - (HEIGHT - 2 * TOP) * (y - low) / (high - low))

        parts.append(f'<g transform="translate(0 {number * HEIGHT})">'
                     f'<text x="{LEFT}" y="18">{html.escape(title)}</text>')
        for y in np.linspace(low, high, 5):
            _, row = place(0, y)
            parts.append(f'<path class="grid" d="M{LEFT} {row:.1f}H{WIDTH - LEFT}"/>'
                         f'<text x="{LEFT - 6}" y="{row + 4:.1f}" text-anchor="end">{y:.3g}</text>')
        for x in sorted({round(x) for x in np.linspace(0, last, 7)}):
            column, row = place(x, low)
            parts.append(f'<text x="{column:.1f}" y="{row + 18:.1f}" text-anchor="middle">{x}'
                         "</text>")
        for index, (name, line) in enumerate(lines.items()):
            colour = COLOURS[index % len(COLOURS)]
            points = [place(x, y) for x, y, _ in line]
            bars = "".join("M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*place(x, y - e), *place(x, y + e))
                           for x, y, e in line if e)
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            parts.append(f'<g fill="none" stroke="{colour}"><path d="M{path}"/>'
                         f'<path class="bar" d="{bars}"/></g>'
                         f'<text x="{WIDTH - LEFT}" y="{TOP + 16 * index}" text-anchor="end" '
                         f'fill="{colour}">{html.escape(name)}</text>')
        parts.append("</g>")
    style = (".grid{stroke:#999;stroke-width:.3}text{font:12px sans-serif}path{stroke-width:2}"
             ".bar{stroke-width:1}svg{background:#fff}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} '
            f'{HEIGHT * len(curves)}"><style>{style}</style>{"".join(parts)}</svg>\n')


def curves_of(rows, position):
    """{title: {name: [(generation, value, error)]}} of what was measured, and of the run's curve.
    """
    strengths = {}
    for row in rows:
        line = strengths.setdefault(f"against {row['opponent']}", [])
        line.append((row["generation"], row["elo"], row["error"]))
    qualities = {}
    for entry in position["curve"]:
        for name, value in entry["quality"].items():
            qualities.setdefault(name, []).append((entry["epoch"], value, 0.0))
    found = {"Elo of the network that plays, with its standard error; generations": strengths}
    return found | ({"Quality of the network trained last; generations": qualities}
                    if qualities else {})


def main(arguments):
    """Returns the exit code: 0, or 1 for a fault of the user."""
    return told(lambda: run(*arguments))


def run(framework_name="", folder="", number="100", *names):
    """Plays, prints and writes.  Raises UserError.  Returns 0."""
    if framework_name not in FRAMEWORKS or not folder:
        raise UserError(f"{USAGE}; FRAMEWORK is one of {', '.join(FRAMEWORKS)}.")
    if not re.fullmatch(r"\d{1,6}", number, re.ASCII) or int(number) < 2:
        raise UserError(f"GAMES {number[:20]!r}: expected a number from 2 on.")
    path = trained.newest(folder)
    config = dataclasses.replace(trained.config_of(path, "reinforcement"), framework=framework_name,
                                 playout_games=int(number))  # fmt: skip
    numbers.check(config)
    chosen = opponents(names)
    players(folder)   # before the framework starts
    trainer = trained.trainer_of(config, framework_name, path)
    position = checkpoint.read_position(path)
    rows = []
    for row in measure(config, trainer, folder, chosen):
        rows.append(row)
        print(f"generation {row['generation']} against {row['opponent']}: {row['wins']} of "
              f"{row['games']} won, Elo {row['elo']:+.0f} +- {row['error']:.0f}", flush=True)
        write(folder, rows, position)   # a match may take an hour
    return 0


def write(folder, rows, position):
    """Writes strength.json and strength.svg.  position: of the run's newest checkpoint."""
    with replaced(os.path.join(folder, "strength.json")) as opened:
        json.dump(rows, opened, indent=1)
    last = max([row["generation"] for row in rows] + [e["epoch"] for e in position["curve"]])
    with replaced(os.path.join(folder, "strength.svg")) as opened:
        opened.write(drawn(curves_of(rows, position), last))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
