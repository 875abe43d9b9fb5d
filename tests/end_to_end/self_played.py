"""Plays the first generation's games in one framework, in float64, with a network whose moving
statistics have moved:

    self_played.py FRAMEWORK FILE COUNT
"""

import dataclasses
import importlib
import sys

import numpy as np

from reinforcement import parity, selfplay
from reinforcement.config import QUICK


def main(framework_name, path, count):
    """Writes all moves, visits and winners of so many games."""
    module = importlib.import_module(f"reinforcement.{framework_name}.train")
    config = dataclasses.replace(QUICK, seed=1, precision="fp64", readouts=16, **parity.EXACT)
    module.framework.start(config)
    ((parameters, _),) = parity.evaluations(config)
    trainer = module.Trainer(config, parameters)
    found = {}
    selfplay.play_all(config, trainer.infer, 1, range(int(count)), found.__setitem__)
    games = [found[number] for number in sorted(found)]
    np.savez(
        path,
        lengths=[len(game.moves) for game in games],
        moves=np.concatenate([game.moves for game in games]),
        visits=np.concatenate([game.visits for game in games]),
        winners=[game.winner for game in games],
        resigned=[game.resigned for game in games],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
