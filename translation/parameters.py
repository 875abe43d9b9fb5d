"""Canonical names, shapes and initial values of the Transformer's parameters, for every framework.

Layouts: embedding [pieces, size]; dense [out, in].  The names are the attribute paths of the three
model.py.
"""

import numpy as np

from common.parameters import Parameter, Point, draw
from translation.formulas import MASKED


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    size = config.hidden_size
    parameters = {}

    def add(name, shape, role, initial):
        parameters[name] = Parameter(shape, role, initial, True, False)

    def norm(name):
        add(f"{name}.weight", (size,), "plain", "ones")
        add(f"{name}.bias", (size,), "plain", "zeros")

    def attention(name):
        norm(f"{name}.norm")
        for matrix in ("query", "key", "value", "output"):
            add(f"{name}.{matrix}.weight", (size, size), "weight", "glorot")

    def feed_forward(name):
        norm(f"{name}.norm")
        add(f"{name}.hidden.weight", (config.filter_size, size), "weight", "glorot")
        add(f"{name}.hidden.bias", (config.filter_size,), "plain", "zeros")
        add(f"{name}.output.weight", (size, config.filter_size), "weight", "glorot")
        add(f"{name}.output.bias", (size,), "plain", "zeros")

    add("embedding.weight", (config.vocabulary_size, size), "plain", "normal")
    for index in range(config.num_layers):
        attention(f"encoder.{index}.self_attention")
        feed_forward(f"encoder.{index}.feed_forward")
    norm("encoder_norm")
    for index in range(config.num_layers):
        attention(f"decoder.{index}.self_attention")
        attention(f"decoder.{index}.cross_attention")
        feed_forward(f"decoder.{index}.feed_forward")
    norm("decoder_norm")
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order."""
    found = {}

    def add(name, meaning, places):
        found[name] = Point("plain", f"{meaning}, [B, T, size]", places)

    norm = "layer norm: (x - mean) / sqrt(variance + 1e-6) weight + bias, the variance over size"
    attention = ("x + output(softmax(q k^T / sqrt(size / num_heads) + mask) v), heads one behind "
                 f"the other; the mask is {MASKED:.0e} where")
    of_itself = f"{attention} %s, else 0; q, k and v of the layer norm of x"
    of_memory = (f"{attention} the source has no piece, else 0; q of the layer norm of x, k and v "
                 "of memory")
    hidden = "x + output(ReLU(hidden(layer norm of x)))"
    add("source", "sqrt(hidden_size) embedding of each piece, zeros where none is, + position: "
        "sin(p s_i) for i below size / 2, then cos(p s_i), p from 0, s_i = 10000^(-i / (size / 2 "
        "- 1))", "sources")
    for index in range(config.num_layers):
        add(f"encoder.{index}.self_attention", of_itself % "no piece is", "sources")
        add(f"encoder.{index}.feed_forward", hidden, "sources")
    add("memory", norm, "sources")
    add("target", "sqrt(hidden_size) embedding of the targets, one place later behind a place of "
        "zeros, + position", "targets")
    for index in range(config.num_layers):
        add(f"decoder.{index}.self_attention", of_itself % "a later place is", "targets")
        add(f"decoder.{index}.cross_attention", of_memory, "targets")
        add(f"decoder.{index}.feed_forward", hidden, "targets")
    add("decoded", "layer norm", "targets")
    add("logits", "decoded embedding.weight^T", "targets")
    return found


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed."""
    return draw(specification(config), config.seed, initial_value)


def initial_value(parameter, rng):
    """float32 array: one parameter's initial value, as in the reference's model/.

    normal: of standard deviation size^-0.5.  glorot: uniform within sqrt(6 / (in + out)), each of
    query, key, value and output a matrix of its own.
    """
    if parameter.initial == "ones":
        return np.ones(parameter.shape, np.float32)
    if parameter.initial == "zeros":
        return np.zeros(parameter.shape, np.float32)
    if parameter.initial == "normal":
        values = rng.standard_normal(parameter.shape, np.float32)
        return values * np.float32(parameter.shape[1] ** -0.5)
    limit = np.float32(np.sqrt(6.0 / sum(parameter.shape)))
    return (2.0 * rng.random(parameter.shape, np.float32) - 1.0) * limit
