"""Canonical names and shapes of the line's parameters."""

import numpy as np

from common.parameters import Parameter, Point, draw


def specification(config):
    """{name: Parameter}."""
    return {
        "weight": Parameter((1, 2), "weight", "zeros", True, False),
        "bias": Parameter((1,), "plain", "zeros", True, False),
    }


def points(config):
    """{name: Point} of the activations that parity compares."""
    return {"height": Point("plain", "[B], predicted")}


def initial_parameters(config):
    """{name: float32 array}."""
    zeros = lambda parameter, rng: np.zeros(parameter.shape, np.float32)  # noqa: E731
    return draw(specification(config), config.seed, zeros)
