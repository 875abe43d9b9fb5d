"""Phase 4 of a generation: the network just trained plays the best one for its place.  Minigo's
evaluation.py and main.py, but that every finished game counts.

A game is a function of both networks, the seed, the generation and the game's number.
"""

import os

import numpy as np

from common import checkpoint
from common.errors import UserError
from common.parity import inputs
from reinforcement import games, go, matches

MATCH = 4                # of the streams of random numbers: see also selfplay, data


def promote(run, trainer, player, generation):
    """Lets the better network play a generation: `player` has its weights when this returns.

    It is the trained one, if it wins enough games against the one that has played the generation
    before.  A run resumed amid a generation's training finds it decided.  Returns {name: number}
    for the log.
    """
    config, framework = run.config, run.framework
    path = games.player_path(config.output_dir, generation)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if run.steps > (generation - 1) * config.steps_per_generation:
        take(player, load(player, path))
        return {}
    best = trainer.state()["parameter"]
    found = {}
    if generation > 1:
        before = load(player, games.player_path(config.output_dir, generation - 1))
        take(player, before)
        wins, found = play(run, trainer, player, generation)
        if wins / config.gate_games < config.gate_share:
            best = before
    if framework.rank() == 0:
        checkpoint.save_tensors(path, best)
    framework.gather(None)   # it is there
    take(player, best)
    return found


def load(player, path):
    """{name: array}: the weights in a file, for this Trainer.  Raises UserError."""
    parameters = inputs.load(path)
    found, expected = ({name: np.shape(array) for name, array in arrays.items()}
                       for arrays in (parameters, player.state()["parameter"]))
    if found != expected:
        raise UserError(f"{path}: no network of this run. Put back the one that was there.")
    return parameters


def take(player, parameters):
    """Gives a Trainer other weights."""
    player.load_state(player.state() | {"parameter": parameters})


def play(run, trainer, player, generation):
    """Plays what is missing of a match, each process its share.

    Returns how many games the trained network has won in all; {name: number} for the log.
    """
    config, framework = run.config, run.framework
    folder = games.matches_folder(config.output_dir, generation)
    os.makedirs(folder, exist_ok=True)
    new, old = (games.name_of(one.state()["parameter"]) for one in (trainer, player))
    own = range(framework.rank(), config.gate_games, framework.world_size())
    names = {n: (new, old) if is_black(config, n) else (old, new) for n in own}
    played = {n: games.load(games.path(folder, n), config, *names[n]) for n in own}
    missing = [n for n, game in played.items() if game is None]
    for start in range(0, len(missing), config.games_at_once):
        part = missing[start : start + config.games_at_once]
        for number, game in match(config, trainer.infer, player.infer, generation, part).items():
            games.save(games.path(folder, number), game, config, *names[number])
            played[number] = game
    wins = sum(game.winner == (go.BLACK if is_black(config, number) else go.WHITE)
               for number, game in played.items())
    found = {"gating_games": len(played), "gating_wins": wins}
    return sum(framework.gather(wins)), found


def is_black(config, number):
    """Whether the new network has Black in a game of a match: in the first half of them."""
    return number < config.gate_games // 2


def match(config, new, old, generation, numbers):
    """{number: Played} of the games of these numbers, all at once.

    new, old: evaluate of each network, see search.Forest.search.
    """
    starts = []
    for number in numbers:
        rng = np.random.default_rng([config.seed, MATCH, generation, number])
        colour = go.BLACK if is_black(config, number) else go.WHITE
        draws = tuple(rng.integers(1 << 64, size=2, dtype=np.uint64))
        starts.append(matches.Start(colour, draws, config.komi))
    sides = (matches.Searcher(config, evaluate, len(numbers)) for evaluate in (new, old))
    return dict(zip(numbers, matches.play(config, *sides, starts)))
