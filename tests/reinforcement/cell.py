"""What the shared tests need to know of reinforcement; tests/cells.py explains each."""

import dataclasses
import pathlib
import shutil
import types

from reinforcement import selfplay, sgf
from reinforcement.config import QUICK
from tests.reinforcement import baselines

# Coefficients that float32 holds exactly, since PaddlePaddle keeps them so.
TINY = ("--set=filters=4", "--set=num_blocks=1", "--set=value_hidden=4", "--set=momentum=0.875",
        "--set=batch_norm_momentum=0.875", f"--set=batch_norm_epsilon={2**-16}",
        "--set=readouts=8", "--set=leaves=4", "--set=games_per_generation=8",
        "--set=gate_games=4", "--set=steps_per_generation=6", "--set=batch_size=8",
        "--set=network_rows=16", "--set=prediction_readouts=8", "--set=num_positions=None",
        "--set=augment=False")  # fmt: skip
RANDOM = ("--set=augment=True",)
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/sgf"),
    (["--set=readuots=3"], "Did you mean readouts"),
    (["--set=komi=1"], "komi=1: expected no whole number"),
    (["--set=gate_games=5"], "expected an even number"),
    (["--set=num_positions=12"], "expected 12 for positions"),
    (["--set=board_size=9"], "a board of 5x5, expected 9x9"),
)
RUN_FOLDER = {"games", "players"}
RELAY_GAP = 1e-9
QUICK_GAP = 0.15  # of the moves: self-play in float32 goes its own way in each framework
REAL = ("--target=2", "--set=board_size=9", "--set=first_move=0", "--set=distinct=False",
        "--set=skip_plain=False", "--set=games_per_generation=64", "--set=readouts=16")  # fmt: skip
REAL_GAP = 0.1
REAL_EPOCHS = 6


def tiny_data(folder):
    """Eight games of the embedded ones."""
    source = pathlib.Path(__file__).parents[2] / "reinforcement" / "expert_games.sgf"
    (folder / "sgf").mkdir(parents=True)
    for number, game in enumerate(sgf.read(str(source))[:8]):
        (folder / "sgf" / f"{number}.sgf").write_text(sgf.written(game))


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
    config = dataclasses.replace(QUICK, board_size=9, first_move=0, distinct=False,
                                 skip_plain=False, data_dir=str(data_dir))  # fmt: skip
    return baselines.random_move(config)
