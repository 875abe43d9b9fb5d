"""The kernels of one training step of Mask R-CNN."""

from common.kernels import (
    Convolution,
    Elementwise,
    Pooling,
    RoiAlign,
    SoftmaxCrossEntropy,
    Suppression,
    TopK,
    Use,
    both,
    convolution,
    dense,
    updates,
)
from object_detection.anchors import level_shapes
from object_detection.data import rounded_up
from object_detection.parameters import block_plan, specification

HEIGHT, WIDTH = 480, 640  # of a common picture of COCO


def reference_sizes(config):
    """{name: number}: the sizes of a batch of pictures of HEIGHT x WIDTH, resized and padded."""
    scale = min(config.short_side / HEIGHT, config.long_side / WIDTH)
    largest = config.strides[len(config.blocks) - 1]
    return {"pictures": config.batch_size, "height": rounded_up(round(HEIGHT * scale), largest),
            "width": rounded_up(round(WIDTH * scale), config.shape_step),
            "objects": config.box_counts[0]}


def batch_sizes(config, batch):
    """The same of a batch of data.py."""
    pictures, height, width, _ = batch["images"].shape
    return {"pictures": pictures, "height": height, "width": width,
            "objects": batch["boxes"].shape[1]}


def problems(config, sizes=None):
    """[Use] of a step, in forward order.  sizes: of its batch; None: reference_sizes."""
    sizes = sizes or reference_sizes(config)
    pictures, size = sizes["pictures"], config.pyramid_width
    parameters = specification(config)
    found = []

    def convolve(name, batch, inputs, outputs, shape, kernel, stride=1, first=False, count=1,
                 owner=True, bias=True):
        """A padded square convolution.  Returns the (height, width) of what it gives."""
        problem = Convolution(batch, inputs, *shape, outputs, kernel, kernel, stride, stride,
                              (kernel - 1) // 2, (kernel - 1) // 2)
        names = (f"{name}.weight", f"{name}.bias") if bias else (f"{name}.weight",)
        found.extend(convolution(name, problem, names, first, count, owner,
                                 parameters[f"{name}.weight"].trained))
        return problem.output_height(), problem.output_width()

    def relu(name, numbers, kind="relu", trained=True):
        found.extend(both(name, Elementwise(kind, numbers))[: 1 + trained])

    # first: what comes before has no trained weight, so its gradient is not taken.
    first, width = True, config.stem_width
    shape = convolve("stem", pictures, 3, width, (sizes["height"], sizes["width"]), 7, 2, first,
                     bias=False)
    trained = parameters["stem.weight"].trained
    relu("stem.relu", pictures * width * shape[0] * shape[1], trained=trained)
    pooling = Pooling(pictures, width, *shape, 3, 3, 2, 2, 1, 1)
    found += both("pooling", pooling)[: 1 + trained]
    shape, first = (pooling.output_height(), pooling.output_width()), not trained
    layers = {}
    for index, (layer, inputs, width, stride, projects) in enumerate(block_plan(config)):
        block, outputs = f"blocks.{index}", width * config.expansion
        trained = parameters[f"{block}.convolution1.weight"].trained
        before, frozen = shape, first
        shape = convolve(f"{block}.convolution1", pictures, inputs, width, before, 1, stride,
                         frozen, bias=False)
        numbers = pictures * width * shape[0] * shape[1]
        relu(f"{block}.convolution1.relu", numbers, trained=trained)
        # Within a fixed block nothing needs a gradient; behind a trained weight all does.
        first = frozen and not trained
        convolve(f"{block}.convolution2", pictures, width, width, shape, 3, 1, first, bias=False)
        relu(f"{block}.convolution2.relu", numbers, trained=trained)
        convolve(f"{block}.convolution3", pictures, width, outputs, shape, 1, 1, first, bias=False)
        if projects:
            convolve(f"{block}.shortcut", pictures, inputs, outputs, before, 1, stride, frozen,
                     bias=False)
        relu(f"{block}.sum", pictures * outputs * shape[0] * shape[1], "add_relu", trained)
        layers[layer] = outputs, shape, first
    for layer in reversed(layers):
        outputs, shape, fixed = layers[layer]
        convolve(f"laterals.{layer}", pictures, outputs, size, shape, 1, 1, fixed)
        if layer + 1 in layers:
            summed = Elementwise("add", pictures * size * shape[0] * shape[1])
            found.append(Use(summed, "forward", 1, f"laterals.{layer}.sum", "forward"))
        convolve(f"outputs.{layer}", pictures, size, size, shape, 3)
    shapes, ratios = level_shapes(config, sizes["height"], sizes["width"]), len(
        config.aspect_ratios)
    for level, shape in enumerate(shapes):
        owner = level == 0  # one head for all levels
        convolve("rpn.convolution", pictures, size, size, shape, 3, owner=owner)
        relu("rpn.relu", pictures * size * shape[0] * shape[1])
        convolve("rpn.objectness", pictures, size, ratios, shape, 1, owner=owner)
        convolve("rpn.deltas", pictures, size, 4 * ratios, shape, 1, owner=owner)
    counts = [rows * columns * ratios for rows, columns in shapes]
    kept = [min(config.level_proposals, count) for count in counts]

    def alone(name, problem):
        found.append(Use(problem, "forward", 1, name, "forward"))

    anchors, candidates = sum(counts), config.proposals + sizes["objects"]
    alone("anchors.positive", TopK(pictures, anchors, config.positive_anchors))
    alone("anchors", TopK(pictures, anchors, config.anchors_per_image))
    for level, (count, boxes) in enumerate(zip(counts, kept)):
        alone(f"proposals.{level}.order", TopK(pictures, count, count))
        alone(f"proposals.{level}", Suppression(pictures, boxes, config.proposal_overlap))
    ordered = sum(kept) + config.proposals
    alone("proposals.order", TopK(pictures, ordered, ordered))
    alone("regions.positive", TopK(pictures, candidates, config.positive_rois))
    alone("regions", TopK(pictures, candidates, config.rois_per_image))

    maps = tuple(shapes[:-1])
    regions = pictures * config.rois_per_image
    found += both("box_pooled", RoiAlign(pictures, size, maps, config.rois_per_image,
                                         config.box_bins))
    classes = config.num_classes + 1
    for name, inputs, outputs in (("dense1", config.box_bins**2 * size, config.box_size),
                                  ("dense2", config.box_size, config.box_size),
                                  ("classes", config.box_size, classes),
                                  ("deltas", config.box_size, 4 * classes)):
        layer = f"box_head.{name}"
        found += dense(layer, regions, inputs, outputs, (f"{layer}.weight", f"{layer}.bias"))
        if name.startswith("dense"):
            relu(f"{layer}.relu", regions * outputs)
    found += both("loss_classes", SoftmaxCrossEntropy(regions, classes))

    regions, bins = pictures * config.positive_rois, config.mask_bins
    found += both("mask_pooled", RoiAlign(pictures, size, maps, config.positive_rois, bins))
    width = config.mask_width
    for index in range(config.mask_layers):
        name = f"mask_head.convolutions.{index}"
        convolve(name, regions, width if index else size, width, (bins, bins), 3)
        relu(f"{name}.relu", regions * width * bins**2)
    turned, name = Convolution(regions, width, 2 * bins, 2 * bins, width, 2, 2, 2, 2), "mask_head"
    name = f"{name}.transposed"
    found += [Use(turned, "inputs", 1, name, "forward", (f"{name}.weight", f"{name}.bias")),
              Use(turned, "forward", 1, name, "backward"),
              Use(turned, "weights", 1, name, "backward")]
    relu(f"{name}.relu", regions * width * 4 * bins**2)
    convolve("mask_head.masks", regions, width, classes, (2 * bins, 2 * bins), 1)
    found += both("loss_masks", Elementwise("sigmoid_cross_entropy", regions * 4 * bins**2))
    return found + updates(parameters, "sgd")
