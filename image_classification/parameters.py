"""Canonical names, shapes and initial values of ResNet's parameters, for every framework.

Layouts: convolution [out, in, height, width]; dense [out, in].  The names are the attribute paths
of the three model.py.  Weight decay spares batch norm alone, as in MLPerf v0.5.
"""

import functools

import numpy as np

from common.parameters import Parameter, Point, draw, truncated_normal


def block_plan(config):
    """(in_channels, width, stride, projects) of each bottleneck block.  Paper, table 1.

    The first block of a layer projects its shortcut, and halves the picture in all layers but the
    first.
    """
    plan = []
    channels = config.stem_width
    for layer_index, (num_blocks, width) in enumerate(zip(config.blocks, config.widths)):
        for block_index in range(num_blocks):
            stride = 2 if layer_index > 0 and block_index == 0 else 1
            plan.append((channels, width, stride, block_index == 0))
            channels = width * config.expansion
    return plan


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    parameters = {}

    def convolution(name, in_channels, out_channels, kernel_size):
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        initial = "variance_scaling"
        parameters[f"{name}.weight"] = Parameter(shape, "weight", initial, True, True)

    def batch_norm(name, channels):
        # Ones in every block: MLPerf v0.5 starts no residual branch at zero.
        parameters[f"{name}.weight"] = Parameter((channels,), "plain", "ones", True, False)
        parameters[f"{name}.bias"] = Parameter((channels,), "plain", "zeros", True, False)
        parameters[f"{name}.running_mean"] = Parameter(
            (channels,), "plain", "zeros", False, False
        )
        parameters[f"{name}.running_var"] = Parameter((channels,), "plain", "ones", False, False)

    convolution("stem", 3, config.stem_width, 7)
    batch_norm("stem_norm", config.stem_width)
    for index, (in_channels, width, _, projects) in enumerate(block_plan(config)):
        block = f"blocks.{index}"
        out_channels = width * config.expansion
        convolution(f"{block}.convolution1", in_channels, width, 1)
        batch_norm(f"{block}.norm1", width)
        convolution(f"{block}.convolution2", width, width, 3)
        batch_norm(f"{block}.norm2", width)
        convolution(f"{block}.convolution3", width, out_channels, 1)
        batch_norm(f"{block}.norm3", out_channels)
        if projects:
            convolution(f"{block}.shortcut", in_channels, out_channels, 1)
            batch_norm(f"{block}.shortcut_norm", out_channels)
    features = config.widths[-1] * config.expansion
    parameters["classifier.weight"] = Parameter(
        (config.num_classes, features), "weight", config.classifier_initial, True, True
    )
    parameters["classifier.bias"] = Parameter(
        (config.num_classes,), "plain", "zeros", True, True
    )
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order.

    A norm's activation is taken after its ReLU where one follows at once: norm1, norm2, stem_norm.
    """
    found = {}

    def add(name, meaning):
        found[name] = Point("activation", meaning)

    add("stem_norm", "images - mean_rgb; convolution 7 x 7, stride 2, padded by 3 on each side; "
        "batch norm: (x - mean) / sqrt(variance + batch_norm_epsilon) weight + bias, the variance "
        "over n; ReLU")
    before = "max pool 3 x 3 of stem_norm, stride 2, padded by 1 below and on the right alone"
    for index, (_, _, stride, projects) in enumerate(block_plan(config)):
        block = f"blocks.{index}"
        add(f"{block}.norm1", f"{before}: the block's input; convolution 1 x 1; batch norm; ReLU")
        add(f"{block}.norm2", f"convolution 3 x 3, stride {stride}, padded by 1 on each side; "
            "batch norm; ReLU")
        add(f"{block}.norm3", "convolution 1 x 1; batch norm")
        if projects:
            add(f"{block}.shortcut_norm", "of the block's input: convolution 1 x 1, stride "
                f"{stride}; batch norm")
        add(block, f"norm3 + {'shortcut_norm' if projects else 'the input'}; ReLU")
        before = block
    add("pooled", "mean over height and width")
    add("logits", "pooled weight^T + bias")
    return found


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed."""
    return draw(specification(config), config.seed, functools.partial(initial_value, config))


def initial_value(config, parameter, rng):
    """float32 array: one parameter's initial value.

    variance_scaling: truncated normal of variance 1 / fan_in (MLPerf v0.5's initialiser; its README
    says He's 2 / fan_in, its code does not).
    """
    if parameter.initial == "zeros":
        return np.zeros(parameter.shape, np.float32)
    if parameter.initial == "ones":
        return np.ones(parameter.shape, np.float32)
    if parameter.initial == "normal":
        return rng.normal(0.0, config.classifier_stddev, parameter.shape).astype(np.float32)
    if parameter.initial == "glorot":  # uniform, Glorot and Bengio 2010, eq. 16
        limit = np.sqrt(6.0 / sum(parameter.shape))
        return rng.uniform(-limit, limit, parameter.shape).astype(np.float32)
    fan_in = np.prod(parameter.shape[1:])
    # 0.8796: the standard deviation of a unit normal cut off at two sigma.
    stddev = np.sqrt(1.0 / fan_in) / 0.87962566103423978
    return (truncated_normal(rng, parameter.shape) * stddev).astype(np.float32)
