"""What parity records of speech_recognition, and what it holds an optimizer step against."""

import dataclasses

import numpy as np

from common import optimizers
from common.parameters import moved
from speech_recognition import alphabet, features
from speech_recognition.config import KERNELS, learning_rate
from speech_recognition.data import output_length, padded
from speech_recognition.parameters import initial_parameters, specification

# Coefficients that float32 holds: PaddlePaddle keeps some of them so even in float64.
EXACT = {"momentum": 0.875, "batch_norm_momentum": 0.875, "batch_norm_epsilon": 2.0**-16}
CHANGES = {"quick": EXACT, "reference": EXACT, "v05": EXACT}  # {profile: what a record changes}

# What the rows of a batch are for, one after another: {name: (share of the longest's frames, labels
# by the row's output frames)}.
ROWS = {
    "longest": (1.0, lambda steps: steps // 2),
    "one label": (0.5, lambda steps: 1),
    "repeated letters": (0.9, lambda steps: steps // 4),   # each comes twice
    "labels that do not fit": (0.3, lambda steps: steps + 2),
    "labels that just fit": (0.6, lambda steps: steps),
}


def training(config, num_steps):
    """(config with counts, batches of training), without a dataset.

    Noise of some 80 to 130 frames in the place of spectrograms, so that full-size networks are
    quick.  The rows follow ROWS; a batch of fewer than five begins where the one before ended.  An
    epoch has two steps: the third's rate is another.
    """
    rng = np.random.default_rng([config.seed, 0])
    found = [drawn(config, rng, step * config.batch_size) for step in range(num_steps)]
    config = dataclasses.replace(
        config,
        num_train_utterances=min(num_steps, 2) * config.batch_size,
        num_eval_utterances=config.batch_size,
    )
    return config, found


def drawn(config, rng, first):
    """A batch of noise.  first: which of ROWS it begins with."""
    longest = int(rng.integers(80, 131))
    steps = features.num_steps(longest)
    spectrograms, labels = [], []
    for row in range(config.batch_size):
        kind = [*ROWS][(first + row) % len(ROWS)]
        share, count = ROWS[kind]
        frames = longest if row == 0 else int(longest * share * rng.uniform(0.9, 1.0))
        frames = max(frames, features.MIN_FRAMES)
        text = draw_labels(rng, count(output_length(frames, longest, steps)))
        if kind == "repeated letters":
            text = np.repeat(text, 2)
        noise = rng.standard_normal((frames, features.NUM_BINS), np.float32)
        # Off 0: else what a convolution makes of padding lies at its mean, where its output is cut,
        # and a rounding decides whether all of it passes.
        spectrograms.append(noise + np.float32(1.0))
        labels.append(text)
    return padded(config, spectrograms, labels, longest, max(map(len, labels)))


def draw_labels(rng, count):
    """int [count]: labels of which none follows itself."""
    steps = rng.integers(1, len(alphabet.SYMBOLS) - 1, count)
    return np.cumsum(steps) % (len(alphabet.SYMBOLS) - 1) + 1


def evaluations(config):
    """[(parameters, batch)] to evaluate: louder noise, and so of other statistics than training's.

    Scales so large that the convolutions reach their 20 and many symbols are heard, the blank
    between them.
    """
    batch = drawn(config, np.random.default_rng([config.seed, 1]), 0)
    batch["spectrograms"] = batch["spectrograms"] * np.float32(1.5)
    parameters = moved(specification(config), initial_parameters(config), config.seed)
    for index in range(len(KERNELS)):
        parameters[f"convolutions.{index}.norm.weight"] *= np.float32(8.0)
    parameters["output.weight"][alphabet.BLANK] *= np.float32(6.0)
    return [(parameters, batch)]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.
    """
    norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
    share = min(1.0, config.clip_norm / (norm + 1e-6))
    after = {"parameter": {}, "velocity": {}}
    for name, g in gradients.items():
        w, v = (state[group][name] for group in after)
        after["parameter"][name], after["velocity"][name] = optimizers.momentum(
            w, v, share * g, learning_rate(config, step), config.momentum, nesterov=True)
    return after
