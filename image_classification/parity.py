"""What parity records of image_classification, and what it holds an optimizer step against."""

import dataclasses
import itertools

import numpy as np

from common import optimizers
from common.parameters import moved, turned
from image_classification import quick_data
from image_classification.config import learning_rate
from image_classification.data import batches, prepare
from image_classification.parameters import initial_parameters, specification

# Coefficients that float32 holds: PaddlePaddle keeps some of them so even in float64.
EXACT = {"momentum": 0.875, "batch_norm_momentum": 0.875, "batch_norm_epsilon": 2.0**-16}

# {profile: what a record changes in it}.  quick: a block without projection, smoothed labels, and
# of five steps two of warm-up and one beyond a boundary.
CHANGES = {
    "quick": EXACT | {
        "blocks": (2, 1, 1, 1),
        "label_smoothing": 0.125,
        "learning_rate_per_256": 0.0625,
        "warmup_epochs": 0.013,
        "boundary_epochs": (0.02, 16.0, 24.0, 28.0),
        "decay_factor": 0.125,
    },
    "reference": EXACT,
    "lars": EXACT,
}  # fmt: skip


def training(config, num_steps):
    """(config with counts, the first batches of training), without a dataset.

    The embedded images at the config's own size; the network keeps its own number of classes.
    """
    own = embedded(config)
    counted = dataclasses.replace(
        config, num_train_images=own.num_train_images, num_eval_images=own.num_eval_images
    )
    endless = (
        batch for epoch in itertools.count(1) for batch in batches(own, "train", epoch).stream()
    )
    return counted, list(itertools.islice(endless, num_steps))


def embedded(config):
    """The config of the embedded images."""
    return prepare(dataclasses.replace(
        config,
        data_dir=quick_data.ensure(),
        num_classes=quick_data.NUM_CLASSES,
        num_train_images=None,
        num_eval_images=None,
    ))  # fmt: skip


def evaluations(config):
    """[(parameters, batch)] to evaluate.  Images of half the brightness, and so of other statistics
    than training's; each of another class.
    """
    whole = embedded(config)
    numbers = np.arange(4) * (whole.num_eval_images // 4)
    images = batches(whole, "test").at(numbers)["images"] // 2
    parameters = moved(specification(config), initial_parameters(config), config.seed)
    return [(own, {"images": images}) for own in (parameters, turned(parameters, "classifier"))]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.

    sgd: v = momentum v + g + decay w, w = w - rate v.  lars (You et al. 2017, eq. 6 and 7) puts the
    rate, and the layer's own trust beside it, inside v; vectors go undecayed, at the plain rate.
    """
    rate, lars = learning_rate(config, step), config.optimizer == "lars"
    described = specification(config)
    after = {"parameter": {}, "velocity": {}}
    for name, g in gradients.items():
        w, v = (state[group][name] for group in after)
        decay = config.weight_decay if described[name].decayed else 0.0
        if lars and w.ndim == 1:
            g = rate * g
        elif lars:
            w_norm, g_norm = np.linalg.norm(w), np.linalg.norm(g)
            trusted = w_norm > 0 and g_norm > 0
            trust = config.lars_trust * w_norm / (g_norm + decay * w_norm) if trusted else 1.0
            g = rate * trust * (g + decay * w)
        else:
            g = g + decay * w
        w, v = optimizers.momentum(w, v, g, 1.0 if lars else rate, config.momentum)
        after["parameter"][name], after["velocity"][name] = w, v
    return after
