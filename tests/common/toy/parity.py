"""What parity records of the toy, and what it holds an optimizer step against."""

import numpy as np

from toy.config import learning_rate
from toy.data import read
from toy.parameters import initial_parameters  # noqa: F401

CHANGES = {}  # {profile: what a record changes in it}


def training(config, num_steps):
    """The config, and the first batches of its training."""
    return config, [read(True, np.arange(8) + 8 * step) for step in range(num_steps)]


def evaluations(config):
    """[(parameters, batch)] to evaluate."""
    parameters = {"weight": np.array([[0.5, 2.0]], np.float32), "bias": np.ones(1, np.float32)}
    return [(parameters, {"x": read(False, np.arange(8))["x"]})]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters after a step."""
    rate = learning_rate(config, step)
    return {"parameter": {name: state["parameter"][name] - rate * g
                          for name, g in gradients.items()}}
