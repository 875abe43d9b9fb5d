"""Every number of the reinforcement benchmark: Minigo, 9x9 Go by self-play.

MLPerf Training v0.5's reference, reinforcement/tensorflow/minigo: params/final.json, mcts.py,
strategies.py, dual_net.py, preprocessing.py, go.py.  An epoch is a generation.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from common.errors import UserError
from common.options import (
    Amount,
    Bounds,
    Count,
    Decay,
    Depth,
    Options,
    Positive,
    Share,
    Size,
    Whole,
    Width,
)

BoardSize = Annotated[int, Bounds(2, 19)]
Komi = Annotated[float, Bounds(-400.0, 400.0)]
Value = Annotated[float, Bounds(-1.0, 1.0)]


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Rules of the game; go.py has those without a number.
    board_size: BoardSize = 9
    komi: Komi = 7.5

    # Network.
    filters: Width = 32                               # 2 to the nearest of log2(points / 3)
    num_blocks: Depth = 9
    value_hidden: Width = 64
    batch_norm_momentum: Share = 0.997                # share of the old value
    batch_norm_epsilon: Positive = 1e-5

    # Search, in self-play and gating.
    readouts: Count = 200                             # a move: so many visits more
    leaves: Count = 8                                 # of a game, in one batch of the network
    c_puct: Positive = 1.38

    # Self-play.
    games_per_generation: Count = 2000
    noise_alpha: Positive = 0.03                      # of 361 points; Dirichlet's
    noise_share: Share = 0.25
    pi_power: Positive = 0.95                         # of the visits, while moves are sampled
    resign_value: Value = -0.95                       # below it the side to move gives up
    no_resign_share: Share = 0.05                     # games that are played to their end

    # Training.
    batch_size: Size = 16                             # global
    steps_per_generation: Count = 6250
    window_positions: Count = 2_000_000               # the newest
    sample_share: Share = 0.05                        # of the window, drawn anew in each pass
    augment: bool = False                             # positions in a random symmetry
    learning_rate: Positive = 1e-2
    rate_steps: tuple[Whole, ...] = (1_000_000, 2_000_000)   # above: a tenth, a hundredth
    momentum: Decay = 0.9
    weight_decay: Amount = 1e-4                       # of kernels and of batch norm's own weights

    # Prediction of the experts' moves.
    num_positions: Count | None = 181                 # None: as many as the games hold
    prediction_rounds: Count = 2                      # each position is asked so often
    prediction_readouts: Count = 1000
    prediction_leaves: Count = 4

    # Or, as the quality, games won against the same search with random playouts.
    playout_games: Whole = 0                          # half with each colour; 0: prediction

    # Gating: the new network against the best one.
    gate_games: Count = 100                           # half with each colour
    gate_share: Share = 0.55                          # won: the new one plays from now on
    gate_resign_value: Value = -0.90

    # How it is computed; no result depends on it.
    games_at_once: Count = 256                        # a process
    positions_at_once: Count = 64                     # predicted in one batch
    network_rows: Size = 256                          # of the network's batches in search


REFERENCE = Config(
    profile="reference",
    target=0.40,                                      # share of the moves, or of the games
    num_epochs=1000,
    evaluate_every_epochs=1,
    evaluate_first_epoch=1,
)

# A minute or less on two cores, without a network connection: see README.md, "Quick".
QUICK = replace(
    REFERENCE,
    profile="quick",
    target=0.62,
    num_epochs=16,
    evaluate_first_epoch=4,
    board_size=5,
    komi=0.5,
    filters=8,
    num_blocks=2,
    value_hidden=16,
    batch_norm_momentum=0.9,
    readouts=32,
    games_per_generation=256,
    no_resign_share=1.0,                              # an untrained value is sure of anything
    batch_size=64,
    steps_per_generation=256,
    window_positions=35_000,
    sample_share=1.0,
    augment=True,
    learning_rate=2e-2,
    num_positions=None,
    prediction_rounds=1,
    prediction_readouts=128,
    playout_games=128,
    gate_games=20,
    gate_resign_value=-1.0,
    positions_at_once=256,
    network_rows=512,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}

# Free in the closed division: what changes speed, not numbers.
FREE_FIELDS = (
    "games_at_once",
    "positions_at_once",
    "network_rows",
)


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    for name in ("gate_games", "playout_games"):
        if getattr(config, name) % 2:
            raise UserError(f"{name}={getattr(config, name)}: expected an even number, half for "
                            "each colour.")
    openings = config.board_size**2 * (config.board_size**2 - 1)
    if config.playout_games > 2 * openings:
        raise UserError(f"playout_games={config.playout_games}: expected at most {2 * openings}, "
                        "two for each opening.")
    if config.sample_share == 0.0:
        raise UserError("sample_share=0.0: expected above 0.")
    if 2 * config.komi % 2 != 1:  # other fractions decide alike, and a game's file rounds them
        raise UserError(f"komi={config.komi:g}: expected no whole number, but a half as 7.5: games "
                        "have no draw.")
    if list(config.rate_steps) != sorted(config.rate_steps):
        raise UserError(f"rate_steps={config.rate_steps}: expected them to ascend.")
    return config


def sampled_moves(config):
    """Self-play draws so many moves by their visits, and one more; from then on the most visited is
    played."""
    return config.board_size**2 // 12


def dirichlet_alpha(config):
    """Of the noise in self-play, for each move."""
    return config.noise_alpha * 361 / config.board_size**2


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0: a tenth behind each of rate_steps."""
    return config.learning_rate * 0.1 ** sum(step > last for last in config.rate_steps)
