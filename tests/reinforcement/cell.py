"""What the shared tests need to know of reinforcement; tests/cells.py explains each."""

import dataclasses
import shutil
import types

from reinforcement import selfplay
from reinforcement.config import QUICK
from tests.reinforcement import baselines

# Coefficients that float32 holds exactly, since PaddlePaddle keeps them so.
TINY = ("--set=filters=4", "--set=num_blocks=1", "--set=value_hidden=4", "--set=momentum=0.875",
        "--set=batch_norm_momentum=0.875", f"--set=batch_norm_epsilon={2**-16}",
        "--set=readouts=8", "--set=leaves=4", "--set=games_per_generation=8",
        "--set=gate_games=4", "--set=steps_per_generation=6", "--set=batch_size=8",
        "--set=network_rows=16", "--set=playout_games=8", "--set=prediction_readouts=8",
        "--set=evaluate_first_epoch=1", "--set=augment=False")  # fmt: skip
RANDOM = ("--set=augment=True",)
FAULTS = (
    (["--data_dir=/nowhere", "--set=playout_games=0"], "/nowhere/sgf"),
    (["--data_dir=/nowhere"], "Say --set playout_games=0"),
    (["--set=playout_games=0"], "--data_dir=FOLDER with sgf in it"),
    (["--set=readuots=3"], "Did you mean readouts"),
    (["--set=komi=1"], "komi=1: expected no whole number"),
    (["--set=gate_games=5"], "expected an even number"),
    (["--set=num_positions=12"], "expected 12 for positions"),
)
RUN_FOLDER = {"games", "players"}
RELAY_GAP = 1e-9
QUICK_GAP = 0.25  # of the games: self-play in float32 goes its own way in each framework
REAL = ("--target=2", "--set=board_size=9", "--set=playout_games=0",
        "--set=prediction_readouts=64", "--set=prediction_rounds=1",
        "--set=games_per_generation=64", "--set=readouts=16")  # fmt: skip
REAL_GAP = 0.1
REAL_EPOCHS = 6


tiny_data = None


def before_training(config, framework, trainer):
    """Plays the games of the first generation."""
    selfplay.play(types.SimpleNamespace(config=config, framework=framework), trainer, 1)


def examples(config, batch):
    """[(planes, policy, winner)] of a training batch."""
    return [(planes.tobytes(), policy.tobytes(), float(winner)) for planes, policy, winner
            in zip(batch["planes"], batch["policy"], batch["winner"])]


def real_data(folder, sample):
    """The games of professionals and of GNU Go, 9x9."""
    shutil.copytree(sample, folder, dirs_exist_ok=True)


def real_baseline(data_dir):
    """A random move's share."""
    config = dataclasses.replace(QUICK, board_size=9, playout_games=0, data_dir=str(data_dir))
    return baselines.random_move(config)
