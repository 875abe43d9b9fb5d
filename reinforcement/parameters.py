"""Canonical names, shapes and initial values of Minigo's network, for every framework.

Layouts: convolution [out, in, height, width]; dense [out, in], a board's inputs in the order
channel, row, column.  The names are the attribute paths of the three model.py.
"""

import numpy as np

from common.parameters import Parameter, Point, draw
from reinforcement.features import NUM_PLANES


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    parameters = {}
    points = config.board_size**2

    def add(name, shape, role, initial, trained=True, decayed=False):
        parameters[name] = Parameter(shape, role, initial, trained, decayed)

    def convolution(name, in_channels, out_channels, size):
        add(f"{name}.weight", (out_channels, in_channels, size, size), "weight", "glorot",
            decayed=True)
        add(f"{name}.bias", (out_channels,), "plain", "zeros")

    def norm(name, channels, scaled=True):
        if scaled:
            # The reference's L2 leaves out what is named bias; batch norm's are beta and gamma.
            add(f"{name}.weight", (channels,), "plain", "ones", decayed=True)
            add(f"{name}.bias", (channels,), "plain", "zeros", decayed=True)
        add(f"{name}.running_mean", (channels,), "plain", "zeros", trained=False)
        add(f"{name}.running_var", (channels,), "plain", "ones", trained=False)

    def dense(name, in_features, out_features):
        add(f"{name}.weight", (out_features, in_features), "weight", "glorot", decayed=True)
        add(f"{name}.bias", (out_features,), "plain", "zeros")

    filters = config.filters
    convolution("stem", NUM_PLANES, filters, 3)
    norm("stem_norm", filters)
    for index in range(config.num_blocks):
        for part in (1, 2):
            convolution(f"blocks.{index}.convolution{part}", filters, filters, 3)
            norm(f"blocks.{index}.norm{part}", filters)
    convolution("policy_convolution", filters, 2, 1)
    norm("policy_norm", 2, scaled=False)
    dense("policy", 2 * points, points + 1)
    convolution("value_convolution", filters, 1, 1)
    norm("value_norm", 1, scaled=False)
    dense("value_hidden", points, config.value_hidden)
    dense("value", config.value_hidden, 1)
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order."""
    found = {"stem_norm": Point("activation", "after ReLU")}
    for index in range(config.num_blocks):
        found[f"blocks.{index}.norm1"] = Point("activation", "after ReLU")
        found[f"blocks.{index}"] = Point("activation", "with its input, after ReLU")
    return found | {
        "policy_norm": Point("activation", "after ReLU"),
        "logits": Point("plain", "of each move, [B, moves]"),
        "value_norm": Point("activation", "after ReLU"),
        "value_hidden": Point("plain", "after ReLU, [B, hidden]"),
        "value": Point("plain", "after tanh, [B]"),
    }


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed."""
    return draw(specification(config), config.seed, initial_value)


def initial_value(parameter, rng):
    """float32 array: one parameter's initial value.

    glorot: uniform within sqrt(6 / (fan-in + fan-out)).  Glorot & Bengio 2010, eq. 16.
    """
    if parameter.initial == "ones":
        return np.ones(parameter.shape, np.float32)
    if parameter.initial == "zeros":
        return np.zeros(parameter.shape, np.float32)
    fan_out, fan_in = (np.prod(parameter.shape[2:], dtype=int) * n for n in parameter.shape[:2])
    limit = np.float32(np.sqrt(6.0 / (fan_in + fan_out)))
    return (2.0 * rng.random(parameter.shape, np.float32) - 1.0) * limit
