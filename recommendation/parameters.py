"""Canonical names, shapes and initial values of NeuMF's parameters, for every framework.

Layouts: embedding [rows, size]; dense [out, in].  The names are the attribute paths of the three
model.py.
"""

import functools

import numpy as np

from common.parameters import Parameter, Point, draw


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    parameters = {}

    def embedding(name, rows, size):
        parameters[f"{name}.weight"] = Parameter((rows, size), "plain", "normal", True, False)

    def dense(name, in_features, out_features, initial):
        shape = (out_features, in_features)
        parameters[f"{name}.weight"] = Parameter(shape, "weight", initial, True, False)
        # A bias is drawn from its layer's fan-in: PyTorch's rule, which the reference left alone.
        initial = f"fan_in {in_features}"
        parameters[f"{name}.bias"] = Parameter((out_features,), "plain", initial, True, False)

    embedding("mf_user", config.num_users, config.mf_size)
    embedding("mf_item", config.num_items, config.mf_size)
    embedding("mlp_user", config.num_users, config.mlp_sizes[0] // 2)
    embedding("mlp_item", config.num_items, config.mlp_sizes[0] // 2)
    for index, sizes in enumerate(zip(config.mlp_sizes, config.mlp_sizes[1:])):
        dense(f"mlp.{index}", *sizes, "glorot")
    dense("output", config.mf_size + config.mlp_sizes[-1], 1, "lecun")
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order."""
    found = {
        "mf": Point("activation", "product of the user's and the item's mf vectors"),
        "mlp_input": Point("activation", "the user's mlp vector, then the item's"),
    }
    for index in range(len(config.mlp_sizes) - 1):
        found[f"mlp.{index}"] = Point("activation", "x weight^T + bias of the one before; ReLU")
    meaning = "[B], (mf, then the last mlp) output.weight^T + output.bias, before the sigmoid"
    return found | {"logits": Point("plain", meaning)}


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed."""
    return draw(specification(config), config.seed, functools.partial(initial_value, config))


def initial_value(config, parameter, rng):
    """float32 array: one parameter's initial value, as in MLPerf v0.5's neumf.py.

    normal: of embedding_stddev.  The others are uniform; glorot: limit sqrt(6 / (in + out)); lecun:
    sqrt(3 / in); fan_in N: 1 / sqrt(N).
    """
    if parameter.initial == "normal":
        values = rng.standard_normal(parameter.shape, np.float32)
        return values * np.float32(config.embedding_stddev)
    if parameter.initial == "glorot":
        limit = np.sqrt(6.0 / sum(parameter.shape))
    elif parameter.initial == "lecun":
        limit = np.sqrt(3.0 / parameter.shape[1])
    else:
        limit = 1.0 / np.sqrt(int(parameter.initial.removeprefix("fan_in ")))
    return rng.uniform(-limit, limit, parameter.shape).astype(np.float32)
