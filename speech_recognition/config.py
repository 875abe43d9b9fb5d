"""Every number of the speech recognition benchmark: Deep Speech 2 on LibriSpeech.

Amodei et al. 2015, "Deep Speech 2"; MLPerf Training v0.5's reference, speech_recognition/pytorch:
params.py, model.py and train.py, and the state of them that reached the target (May 2018).
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated

from common.errors import UserError
from common.options import (
    Bounds,
    Count,
    Decay,
    Depth,
    Options,
    Positive,
    Share,
    Size,
    Width,
)

Decibels = Annotated[float, Bounds(-100.0, 100.0)]
Divisor = Annotated[float, Bounds(1.0, 1000.0)]
Beams = Annotated[int, Bounds(0, 1000)]

# Of the two convolutions.  Paper, table 5, without padding; frequency first, then time.
KERNELS = ((41, 11), (21, 11))
STRIDES = ((2, 2), (2, 1))


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data.  Counts: the three train-* and the two dev-* of LibriSpeech.
    num_train_utterances: Count | None = 281_241      # None: as many as the folder holds
    num_eval_utterances: Count | None = 5_567
    index: str = ""                                   # folder in data_dir; found by data.prepare
    augment: bool = True                              # tempo and gain, in training
    tempo_low: Positive = 0.85                        # uniform; the pitch is kept
    tempo_high: Positive = 1.15
    gain_low: Decibels = -6.0                         # uniform
    gain_high: Decibels = 8.0

    # Batches.
    batch_size: Size = 5                              # global; of the evaluation too
    order: str = "ascending"                          # by duration; or sortagrad: in epoch 1 alone
    frame_step: Width = 50                            # a batch's frames: a multiple of as many

    # Network.
    conv_channels: Width = 32                         # of each convolution
    num_layers: Depth = 5                             # recurrent
    hidden_size: Width = 800                          # of a direction
    bidirectional: bool = True                        # both directions' outputs are summed
    norm_between: bool = True                         # batch norm before all recurrent layers but 0
    batch_norm_momentum: Share = 0.9                  # share of the old value
    batch_norm_epsilon: Positive = 1e-5
    recurrence: str = "auto"                          # plain, fused, or auto: fused on a GPU

    # Optimizer.
    learning_rate: Positive = 3e-4
    anneal: Divisor = 1.1                             # the rate is divided by it after each epoch
    momentum: Decay = 0.9                             # Nesterov's
    clip_norm: Positive = 200.0                       # of all gradients together

    # Decoding.
    beam_size: Beams = 0                              # prefixes; 0: the likeliest symbol a frame


# What reached the target in May 2018: 345,000 to 533,000 seconds on a P100.
REFERENCE = Config(
    profile="reference",
    target=23.0,                                      # word error rate, percent
    num_epochs=10,
    evaluate_every_epochs=1,
    evaluate_first_epoch=1,
    workers=4,
)

# A minute or less on two cores, without a network connection: see README.md, "Quick".  Its clip is
# the length of a common gradient of the first epoch; the greatest there are five times as long.
QUICK = replace(
    REFERENCE,
    profile="quick",
    target=25.0,
    num_epochs=20,
    workers=0,
    num_train_utterances=None,
    num_eval_utterances=None,
    augment=False,                                    # its speakers differ as it is
    order="sortagrad",
    frame_step=20,
    batch_size=16,
    conv_channels=8,
    num_layers=2,
    hidden_size=96,
    learning_rate=1e-2,
    clip_norm=20.0,
)

# The network of the v0.5 tag, which was never seen to reach the target: about 34 at the best.
V05 = replace(
    REFERENCE,
    profile="v05",
    batch_size=8,
    num_layers=3,
    hidden_size=2560,
    bidirectional=False,
    norm_between=False,
    learning_rate=1e-4,
    clip_norm=400.0,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE, "v05": V05}

# Free in the closed division: of hyperparameters the batch and the rate, as the draft rules of 2018
# had it; and what changes speed, not numbers.
FREE_FIELDS = (
    "index",
    "batch_size",
    "learning_rate",
    "frame_step",
    "recurrence",
)


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    words = {"order": ("ascending", "sortagrad"), "recurrence": ("auto", "plain", "fused")}
    for name, known in words.items():
        if getattr(config, name) not in known:
            raise UserError(
                f"{name}={getattr(config, name)}: expected one of {', '.join(known)}."
            )
    for name in ("tempo", "gain"):
        low, high = getattr(config, f"{name}_low"), getattr(config, f"{name}_high")
        if low > high:
            raise UserError(f"{name}_low={low}: expected {name}_high={high} or less.")
    if not 0.5 <= config.tempo_low <= config.tempo_high <= 2.0:
        raise UserError(
            f"tempo_low={config.tempo_low}, tempo_high={config.tempo_high}: expected 0.5 to 2."
        )
    if not config.momentum:
        raise UserError("momentum=0.0: expected above 0, for Nesterov's.")
    return config


def is_fused(config):
    """Whether the recurrent layers take the framework's own kernel."""
    return config.recurrence == "fused" or (
        config.recurrence == "auto" and config.device == "cuda"
    )


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0: divided by `anneal` after each epoch."""
    steps_per_epoch = math.ceil(config.num_train_utterances / config.batch_size)
    return config.learning_rate * config.anneal ** -(step // steps_per_epoch)
