"""What parity records of object_detection, and what it holds an optimizer step against."""

import dataclasses

import numpy as np

from common import optimizers
from common.parameters import moved
from object_detection import data, parameters
from object_detection.config import learning_rate
from object_detection.parameters import specification

# Coefficients that float32 holds: PaddlePaddle keeps some of them so even in float64.
EXACT = {"momentum": 0.875, "weight_decay": 2.0**-10, "anchor_beta": 0.125,
         "mean_bgr": (103.0, 116.0, 122.75), "backbone": ""}  # fmt: skip

# {profile: what a record changes in it}.  reference: no file, and branches that leave activations
# as large as they are.
CHANGES = {"quick": EXACT, "reference": EXACT | {"branch_scale": 0.25}}

# Layers whose small initial weights would leave all scores alike: {name: times as large}.
LOUDER = {"rpn.objectness": 8.0, "rpn.deltas": 4.0, "box_head.classes": 8.0,
          "box_head.deltas": 64.0}  # fmt: skip

# What stands beyond a picture's size, where the network must not look.
BEYOND = 200


def initial_parameters(config):
    """{name: float32 array}: no scale is 1, no shift or bias 0, and decisions are clear."""
    initial = parameters.initial_parameters(config)
    found = moved(specification(config), initial, config.seed)
    stem = initial["stem.scale"]
    found["stem.scale"] = stem * (found["stem.scale"] - stem + np.float32(1.0))
    for layer, times in LOUDER.items():
        found[f"{layer}.weight"] = found[f"{layer}.weight"] * np.float32(times)
    return found


def training(config, num_steps):
    """(config with counts, the first batches of training), without a dataset.

    The embedded pictures at the config's own size; the network keeps its own number of classes.
    Every second picture is lower than its batch.  Of a batch of several the last is none.
    """
    config, batches = data.parity_batches(config, num_steps)
    for batch in batches:
        for row in range(1, len(batch["images"]), 2):
            lower(batch, row)
        if len(batch["images"]) > 1:
            for name in ("sizes", "boxes", "classes", "masks"):
                batch[name][-1] = 0
    return config, batches


def lower(batch, row):
    """Cuts off the lower quarter of a picture, and of its objects; those that lie there go."""
    height = int(batch["sizes"][row, 0]) * 3 // 4
    batch["sizes"][row, 0] = height
    batch["images"][row, height:] = BEYOND
    if "boxes" not in batch:
        return
    kept = (batch["classes"][row] > 0) & (batch["boxes"][row, :, 1] < height - 8)
    kept[0] = True
    for name in ("boxes", "classes", "masks"):
        own = batch[name][row][kept]
        batch[name][row] = 0
        batch[name][row, : len(own)] = own
    batch["masks"][row, :, height:] = 0
    box = batch["boxes"][row]
    box[:, 1::2] = np.minimum(box[:, 1::2], height - 1)


def evaluations(config):
    """[(parameters, batch)] to evaluate: pictures of half the brightness, other parameters."""
    _, (found,) = data.parity_batches(config, 1)
    found["images"] //= 2
    batch = {name: found[name] for name in ("images", "sizes")}
    count = len(batch["images"])
    batch["image_ids"] = np.arange(1, count + 1)
    batch["original_sizes"] = batch["sizes"].copy()
    for row in range(1, count, 2):
        lower(batch, row)
    other = dataclasses.replace(config, seed=config.seed + 1)
    return [(initial_parameters(other), batch)]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.
    """
    rate, described = learning_rate(config, step), specification(config)
    after = {"parameter": {}, "velocity": {}}
    for name, g in gradients.items():
        w, v = (state[group][name] for group in after)
        decayed = described[name].decayed
        after["parameter"][name], after["velocity"][name] = optimizers.momentum(
            w, v, g + config.weight_decay * w if decayed else g, rate if decayed else 2.0 * rate,
            config.momentum)  # fmt: skip
    return after
