"""Canonical names, shapes and initial values of Deep Speech 2's parameters, for every framework.

Layouts: convolution [out, in, frequency, time]; dense [out, in]; of a recurrent layer
[direction, out, in], `out` being the rows of the reset gate, then of the update gate, then of the
candidate.  Direction 0 goes with time, 1 against it.  The names are the attribute paths of the
three model.py.
"""

import numpy as np

from common.parameters import Parameter, Point, draw
from speech_recognition.alphabet import SYMBOLS
from speech_recognition.config import KERNELS, STRIDES
from speech_recognition.features import NUM_BINS


def num_features(config):
    """How many numbers the convolutions leave of a time step: channels times frequencies."""
    bins = NUM_BINS
    for (kernel_size, _), (stride, _) in zip(KERNELS, STRIDES):
        bins = (bins - kernel_size) // stride + 1
    return config.conv_channels * bins


def layer_plan(config):
    """(input's size, whether batch norm is on it) of each recurrent layer."""
    first = (num_features(config), False)
    return [first] + [(config.hidden_size, config.norm_between)] * (config.num_layers - 1)


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    parameters = {}

    def add(name, shape, role, initial, trained=True):
        parameters[name] = Parameter(shape, role, initial, trained, False)

    def norm(name, size):
        add(f"{name}.weight", (size,), "plain", "ones")
        add(f"{name}.bias", (size,), "plain", "zeros")
        add(f"{name}.running_mean", (size,), "plain", "zeros", trained=False)
        add(f"{name}.running_var", (size,), "plain", "ones", trained=False)

    channels = 1
    for index, kernel_size in enumerate(KERNELS):
        fan_in = channels * kernel_size[0] * kernel_size[1]
        shape = (config.conv_channels, channels, *kernel_size)
        add(f"convolutions.{index}.weight", shape, "weight", f"fan_in {fan_in}")
        add(f"convolutions.{index}.bias", shape[:1], "plain", f"fan_in {fan_in}")
        norm(f"convolutions.{index}.norm", config.conv_channels)
        channels = config.conv_channels
    directions = 2 if config.bidirectional else 1
    size = config.hidden_size
    for index, (features, normed) in enumerate(layer_plan(config)):
        name = f"layers.{index}"
        if normed:
            norm(f"{name}.norm", features)
        for part, width in (("input", features), ("hidden", size)):
            shape = (directions, 3 * size, width)
            add(f"{name}.{part}_weight", shape, "plain", f"fan_in {size}")
            add(f"{name}.{part}_bias", shape[:2], "plain", f"fan_in {size}")
    norm("norm", size)
    add("output.weight", (len(SYMBOLS), size), "weight", f"fan_in {size}")
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order.

    All are zero beyond the batch's `steps`; the first convolution has 10 steps more.
    """
    found = {
        f"convolutions.{index}": Point("activation", "after batch norm and the clip to 0..20")
        for index in range(len(KERNELS))
    }
    for index in range(config.num_layers):
        found[f"layers.{index}"] = Point("plain", "sum over the directions, [T, B, size]")
    found["norm"] = Point("plain", "after the last batch norm, [T, B, size]")
    return found | {"logits": Point("plain", "of each symbol, [T, B, symbols]")}


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed."""
    return draw(specification(config), config.seed, initial_value)


def initial_value(parameter, rng):
    """float32 array: one parameter's initial value, PyTorch's default as in the reference.

    fan_in N: uniform within 1 / sqrt(N).
    """
    if parameter.initial == "ones":
        return np.ones(parameter.shape, np.float32)
    if parameter.initial == "zeros":
        return np.zeros(parameter.shape, np.float32)
    limit = np.float32(1.0 / np.sqrt(int(parameter.initial.removeprefix("fan_in "))))
    return (2.0 * rng.random(parameter.shape, np.float32) - 1.0) * limit
