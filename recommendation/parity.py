"""What parity records of recommendation, and what it holds an optimizer step against."""

import dataclasses
import itertools

import numpy as np

from common import optimizers
from common.parameters import moved
from recommendation import quick_data
from recommendation.config import learning_rate
from recommendation.data import batches, prepare
from recommendation.parameters import initial_parameters, specification

CHANGES = {}  # {profile: what a record changes in it}


def training(config, num_steps):
    """(config with counts, the first batches of training), without a dataset.

    The embedded data's pairs, spread over as many users and items as the config has.  The first
    pair is of the first user and item, the last pair of the last: the edges of the tables.
    """
    own = embedded(config)
    counted = dataclasses.replace(
        config,
        num_ratings=config.num_ratings or own.num_ratings,
        num_users=config.num_users or own.num_users,
        num_items=config.num_items or own.num_items,
    )
    found = list(itertools.islice(batches(own, "train").stream(), num_steps))
    found = [spread(counted, own, batch) for batch in found]
    found[0]["users"][[0, -1]] = 0, counted.num_users - 1
    found[0]["items"][[0, -1]] = 0, counted.num_items - 1
    return counted, found


def embedded(config):
    """The config of the embedded ratings."""
    return prepare(dataclasses.replace(
        config, data_dir=quick_data.ensure(), num_ratings=None, num_users=None, num_items=None
    ))  # fmt: skip


def spread(config, own, batch):
    """A batch of the embedded ratings over the users and items of a config."""
    factors = {"users": config.num_users // own.num_users,
               "items": config.num_items // own.num_items}
    return {name: array * factors.get(name, 1) for name, array in batch.items()}


def evaluations(config):
    """[(parameters, batch)] to evaluate: the candidates of a few users.

    Vectors as long as trained ones: beside the initial ones, of 0.01, the offsets make the scores,
    and it hardly shows whose vectors they are.
    """
    own = embedded(config)
    users = np.linspace(0, own.num_users - 1, 8).astype(np.int64)  # the last one too
    batch = spread(config, own, batches(own, "test").at(users))
    described = specification(config)
    parameters = moved(described, initial_parameters(config), config.seed)
    vectors = {name: np.float32(32.0) * array for name, array in parameters.items()
               if described[name].initial == "normal"}
    return [(parameters | vectors, batch)]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.
    """
    return optimizers.adam_step(config, state, gradients, learning_rate(config, step), step)
