"""What parity records of reinforcement, and what it holds an optimizer step against."""

import dataclasses

import numpy as np

from common import optimizers
from common.parameters import moved
from reinforcement import features, go
from reinforcement.config import learning_rate
from reinforcement.parameters import initial_parameters, specification

# Coefficients that float32 holds: PaddlePaddle keeps some of them so even in float64.
EXACT = {"momentum": 0.875, "batch_norm_momentum": 0.875, "batch_norm_epsilon": 2.0**-16}
CHANGES = {
    # A search's move in a position, as in the reference: a whole game would hide where it differs.
    "quick": EXACT | {"playout_games": 0, "prediction_readouts": 64, "network_rows": 32},
    # Of the network's full size; a hundred searches as long as the published ones take minutes.
    "reference": EXACT | {"prediction_readouts": 40, "network_rows": 32, "positions_at_once": 8},
}  # {profile: what a record changes}


def random_moves(rng, size, length):
    """A game of so many legal moves, seldom a pass; shorter where it is over."""
    position = go.Position(size, 0.5)
    while len(position.moves) < length and not position.is_over():
        legal = np.flatnonzero(position.legal())
        legal = legal[:-1] if len(legal) > 1 and rng.random() < 0.95 else legal[-1:]
        position.play(int(rng.choice(legal)))
    return position


def training(config, num_steps):
    """(config with counts, batches of training), without a game played.

    Positions of random games, each in a symmetry of its own; what the policy is to learn has legal
    moves alone.  The second step is behind the first of rate_steps.
    """
    rng = np.random.default_rng([config.seed, 0])
    size = config.board_size
    config = dataclasses.replace(config, num_positions=8, rate_steps=(0, num_steps))
    return config, [drawn(rng, size, config.batch_size) for _ in range(num_steps)]


def drawn(rng, size, count):
    """A batch of so many positions."""
    planes, policy = [], np.zeros((count, size * size + 1), np.float32)
    ways = rng.integers(8, size=count)
    for row, way in enumerate(ways):
        position = random_moves(rng, size, int(rng.integers(size * size)))
        moves = np.array(position.moves, np.int16)
        planes.append(features.planes_of([moves], [len(moves)], [way], size)[0])
        shares = rng.dirichlet(np.full(size * size + 1, 0.3)) * position.legal() + 1e-6
        policy[row] = (shares / shares.sum())[go.symmetries(size)[way]]
    winner = rng.choice([-1.0, 1.0], count).astype(np.float32)
    return {"planes": np.array(planes), "policy": policy, "winner": winner}


def evaluations(config):
    """[(parameters, batch)] to evaluate: positions of random games."""
    rng = np.random.default_rng([config.seed, 1])
    size = config.board_size
    found = [random_moves(rng, size, int(rng.integers(size * size))) for _ in range(8)]
    found = [position for position in found if not position.is_over()]
    moves = np.full((len(found), go.max_moves(size)), -1, np.int32)
    for row, position in zip(moves, found):
        row[: len(position.moves)] = position.moves
    batch = {
        "moves": moves,
        "lengths": np.array([len(position.moves) for position in found], np.int32),
        "komi": np.full(len(found), 0.5),
        "draws": rng.integers(1 << 62, size=len(found)),
        "answers": np.zeros(len(found), np.int64),
    }
    return [(moved(specification(config), initial_parameters(config), config.seed), batch)]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.
    """
    parameters = specification(config)
    after = {"parameter": {}, "velocity": {}}
    for name, g in gradients.items():
        w, v = (state[group][name] for group in after)
        decay = config.weight_decay if parameters[name].decayed else 0.0
        after["parameter"][name], after["velocity"][name] = optimizers.momentum(
            w, v, g + decay * w, learning_rate(config, step), config.momentum)
    return after
