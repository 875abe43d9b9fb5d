"""Canonical names, shapes and initial values of the network's parameters, for every framework.

Layouts: embedding [words, size]; convolution [out, in, window]; dense [out, in].  The names are the
attribute paths of the three model.py.
"""

import numpy as np

from common.parameters import Parameter, Point, draw


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    size, filters = config.embedding_size, config.num_filters
    parameters = {
        "embedding.weight": Parameter(
            (config.vocabulary_size, size), "plain", "xavier", True, False
        )
    }
    for index, window in enumerate(config.windows):
        parameters[f"convolutions.{index}.weight"] = Parameter(
            (filters, size, window), "weight", "xavier", True, False
        )
        parameters[f"convolutions.{index}.bias"] = Parameter(
            (filters,), "plain", "zeros", True, False
        )
    features = len(config.windows) * filters
    parameters["classifier.weight"] = Parameter(
        (config.num_classes, features), "weight", "xavier_in_parts", True, False
    )
    parameters["classifier.bias"] = Parameter(
        (config.num_classes,), "plain", "zeros", True, False
    )
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order.

    A convolution's activation is taken after pooling and ELU, one row a review.
    """
    meaning = "[before + T + after, E], of each place of the stream; zeros where no word is"
    found = {"embedding": Point("plain", meaning)}
    for index, window in enumerate(config.windows):
        found[f"convolutions.{index}"] = Point(
            "activation",
            f"convolution of {window} places, {window // 2} of them before the place; the greatest "
            "over a review's places that hold a word; + bias; ELU of alpha 1",
        )
    return found | {"logits": Point("activation", "(all convolutions) weight^T + bias")}


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed."""
    parts = len(config.windows)
    return draw(
        specification(config),
        config.seed,
        lambda parameter, rng: initial_value(parameter, rng, parts),
    )


def initial_value(parameter, rng, parts):
    """float32 array: one parameter's initial value.

    Xavier's uniform, +-sqrt(6 / (fan in + fan out)), as fluid reckons its fans: an embedding goes
    from words to its size, and the classifier is one matrix for each of the `parts` that it sees.
    """
    if parameter.initial == "zeros":
        return np.zeros(parameter.shape, np.float32)
    fan_out = parameter.shape[0]
    fan_in = np.prod(parameter.shape[1:])
    if parameter.initial == "xavier_in_parts":
        fan_in = fan_in // parts
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, parameter.shape).astype(np.float32)
