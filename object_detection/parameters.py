"""Canonical names, shapes and initial values of Mask R-CNN's parameters, for every framework.

Layouts: convolution [out, in, height, width], the transposed one [in, out, height, width]; dense
[out, in], the columns of the box head's first one in the order row, column, channel.  The names are
the attribute paths of the three model.py.  Weight decay spares biases.
"""

import functools

import numpy as np

from common.parameters import Parameter, Point, draw
from object_detection import backbone


def block_plan(config):
    """(layer, in_channels, width, stride, projects) of each bottleneck block, layers from 0.

    The first block of a layer projects its shortcut, and halves the picture in all layers but the
    first.
    """
    plan = []
    channels = config.stem_width
    for layer, (num_blocks, width) in enumerate(zip(config.blocks, config.widths)):
        for index in range(num_blocks):
            stride = 2 if layer > 0 and index == 0 else 1
            plan.append((layer, channels, width, stride, index == 0))
            channels = width * config.expansion
    return plan


def specification(config):
    """{name: Parameter} of the whole network, in forward order."""
    parameters = {}

    def normed(name, in_channels, out_channels, kernel_size, trained, scale="ones"):
        # Batch norm's stored scale and shift stay as they are: T05 layers/batch_norm.py.
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        parameters[f"{name}.weight"] = Parameter(shape, "weight", "he_in", trained, trained)
        for part, initial in (("scale", scale), ("shift", "zeros")):
            parameters[f"{name}.{part}"] = Parameter(
                (out_channels,), "plain", initial, False, False
            )

    def biased(name, shape, initial, num_biases=None):
        parameters[f"{name}.weight"] = Parameter(shape, "weight", initial, True, True)
        parameters[f"{name}.bias"] = Parameter(
            (num_biases or shape[0],), "plain", "zeros", True, False
        )

    normed("stem", 3, config.stem_width, 7, config.freeze_at < 1, "stem_scale")
    for index, (layer, in_channels, width, _, projects) in enumerate(block_plan(config)):
        block = f"blocks.{index}"
        trained = config.freeze_at < layer + 2
        out_channels = width * config.expansion
        normed(f"{block}.convolution1", in_channels, width, 1, trained)
        normed(f"{block}.convolution2", width, width, 3, trained)
        normed(f"{block}.convolution3", width, out_channels, 1, trained, "branch_scale")
        if projects:
            normed(f"{block}.shortcut", in_channels, out_channels, 1, trained)
    size = config.pyramid_width
    for layer, width in enumerate(config.widths):
        biased(f"laterals.{layer}", (size, width * config.expansion, 1, 1), "uniform_in")
    for layer in range(len(config.widths)):
        biased(f"outputs.{layer}", (size, size, 3, 3), "uniform_in")
    ratios = len(config.aspect_ratios)
    biased("rpn.convolution", (size, size, 3, 3), "normal 0.01")
    biased("rpn.objectness", (ratios, size, 1, 1), "normal 0.01")
    biased("rpn.deltas", (4 * ratios, size, 1, 1), "normal 0.01")
    classes = config.num_classes + 1
    biased("box_head.dense1", (config.box_size, config.box_bins**2 * size), "uniform_in")
    biased("box_head.dense2", (config.box_size, config.box_size), "uniform_in")
    biased("box_head.classes", (classes, config.box_size), "normal 0.01")
    biased("box_head.deltas", (4 * classes, config.box_size), "normal 0.001")
    width = config.mask_width
    for index in range(config.mask_layers):
        shape = (width, width if index else size, 3, 3)
        biased(f"mask_head.convolutions.{index}", shape, "he_out")
    biased("mask_head.transposed", (width, width, 2, 2), "he_out", width)
    biased("mask_head.masks", (classes, width, 1, 1), "he_out")
    return parameters


def points(config):
    """{name: Point} of the activations that parity compares, in forward order."""
    found = {}

    def add(name, meaning, role="activation"):
        found[name] = Point(role, meaning)

    def decision(name, axes, meaning):
        add(f"decision.{name}", f"int64 [B, {axes}], {meaning}", "plain")

    add("stem", "images as blue, green, red, less mean_bgr, 0 beyond `sizes`; convolution "
        "7 x 7, stride 2, padded by 3 on each side; times scale, plus shift; ReLU")
    before = "max pool 3 x 3 of stem, stride 2, padded by 1 on each side"
    for index, (_, _, _, stride, projects) in enumerate(block_plan(config)):
        block = f"blocks.{index}"
        add(f"{block}.convolution1", f"{before}: the block's input; convolution 1 x 1, stride "
            f"{stride}; times scale, plus shift; ReLU")
        add(f"{block}.convolution2", "convolution 3 x 3, padded by 1 on each side; times scale, "
            "plus shift; ReLU")
        add(f"{block}.convolution3", "convolution 1 x 1; times scale, plus shift")
        if projects:
            add(f"{block}.shortcut", f"of the block's input: convolution 1 x 1, stride {stride}; "
                "times scale, plus shift")
        add(block, f"convolution3 + {'shortcut' if projects else 'the input'}; ReLU")
        before = block
    for layer in reversed(range(len(config.blocks))):
        last = sum(config.blocks[: layer + 1]) - 1
        add(f"pyramid.{layer}", f"laterals.{layer}, a convolution 1 x 1 with bias, of blocks."
            f"{last}, plus the sum of the level above, each cell four times; outputs.{layer}, a "
            "convolution 3 x 3 with bias, padded by 1, of that sum")
    add("objectness", "[B, A]: rpn.convolution 3 x 3, padded by 1, ReLU, rpn.objectness, of each "
        "level, the last being every second cell of the one before; in the order level, row, "
        "column, ratio", "plain")
    add("deltas", "[B, A, 4]: rpn.deltas likewise: dx, dy, dw, dh of each ratio", "plain")
    decision("anchors", "anchors_per_image", "the anchors that are sampled, positive ones first; "
             "-1 behind the last")
    decision("anchor_kinds", "anchors_per_image", "of each: 0 positive, 1 negative, 2 none")
    decision("anchor_matches", "anchors_per_image", "the row of `boxes` that each is matched with")
    decision("proposals", "proposals", "the anchors whose boxes are proposals, by falling score; "
             "-1 behind the last")
    decision("regions", "rois_per_image", "those of the proposals, then of `boxes`, that are "
             "sampled, positive ones first; -1 behind the last")
    decision("region_kinds", "rois_per_image", "of each: 0 positive, 1 negative, 2 none")
    decision("region_matches", "rois_per_image", "the row of `boxes` that each is matched with")
    add("rois", "[B, S, 4]: the sampled regions, x1, y1, x2, y2; zeros where there is none",
        "plain")
    decision("region_levels", "rois_per_image", "the pyramid's level that each is pooled from")
    add("box_pooled", "[B, S, 7, 7, C]: RoIAlign of the regions, rows first", "plain")
    add("box_features", "[B, S, box_size]: dense1, ReLU, dense2, ReLU", "plain")
    add("class_logits", "[B, S, 1 + num_classes], the background first", "plain")
    add("box_deltas", "[B, S, 1 + num_classes, 4]: dx, dy, dw, dh times box_weights", "plain")
    add("mask_pooled", "[B, M, 14, 14, C]: RoIAlign of the first positive_rois regions", "plain")
    add("mask_features", "[B M, mask_width, 28, 28]: mask_layers convolutions 3 x 3, padded by 1, "
        "each with ReLU; transposed, a transposed convolution 2 x 2, stride 2, ReLU")
    add("mask_logits", "[B, M, 28, 28]: masks, a convolution 1 x 1, of the true class", "plain")
    decision("mask_targets", "positive_rois, {0}, {0}".format(2 * config.mask_bins), "the matched "
             "object's pixels: 1 where half of a bin is set")
    for name, meaning in (
        ("loss_objectness", "mean of the sampled anchors' binary cross-entropy"),
        ("loss_anchors", "sum of the positive anchors' smooth L1, beta 1/9, over how many were "
         "sampled"),
        ("loss_classes", "mean of the sampled regions' cross-entropy"),
        ("loss_boxes", "sum of the positive regions' smooth L1, beta 1, of the true class, over "
         "how many were sampled"),
        ("loss_masks", "mean of the binary cross-entropy of the positive regions' pixels; 0 "
         "without any"),
    ):  # fmt: skip
        add(name, f"[B], of each picture: {meaning}", "plain")
    return found


def initial_parameters(config):
    """{name: float32 array}: what every framework starts from, drawn from config.seed; the
    backbone's are read, where the config names a file.  Raises UserError.
    """
    drawn = draw(specification(config), config.seed, functools.partial(initial_value, config))
    return drawn | (backbone.load(backbone.path(config)) if config.backbone else {})


def initial_value(config, parameter, rng):
    """float32 array: one parameter's initial value.

    he_in, he_out: normal of variance 2 / fan_in or 2 / fan_out.  uniform_in: of variance
    1 / fan_in.  stem_scale: pixels lie some 60 about their mean.
    """
    shape, initial = parameter.shape, parameter.initial
    constants = {"ones": 1.0, "zeros": 0.0, "stem_scale": 2.0**-6,
                 "branch_scale": config.branch_scale}  # fmt: skip
    if initial in constants:
        return np.full(shape, constants[initial], np.float32)
    if initial == "uniform_in":
        limit = np.float32(np.sqrt(3.0 / np.prod(shape[1:])))
        return (2.0 * rng.random(shape, np.float32) - 1.0) * limit
    fans = {"he_in": np.prod(shape[1:]), "he_out": shape[0] * np.prod(shape[2:])}
    if initial in fans:
        stddev = np.sqrt(2.0 / fans[initial])
    else:
        stddev = float(initial.removeprefix("normal "))
    return rng.standard_normal(shape, np.float32) * np.float32(stddev)
