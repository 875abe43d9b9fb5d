"""The kernels of one training step of ResNet."""

from common.kernels import (
    BatchNorm,
    Convolution,
    Elementwise,
    Pooling,
    SoftmaxCrossEntropy,
    both,
    convolution,
    dense,
    updates,
)
from image_classification.parameters import block_plan, specification


def reference_sizes(config):
    """{name: number}: the sizes of a batch."""
    return {"images": config.batch_size, "side": config.image_size}


def batch_sizes(config, batch):
    """The same of a batch of data.py."""
    return {"images": batch["images"].shape[0], "side": batch["images"].shape[1]}


def problems(config, sizes=None):
    """[Use] of a step, in forward order.  sizes: of its batch; None: reference_sizes."""
    sizes = sizes or reference_sizes(config)
    images = sizes["images"]
    found = []

    def normed(name, norm, inputs, outputs, side, kernel, stride, first=False, relu=False):
        """A convolution without bias and its batch norm.  Returns the side of what it gives."""
        problem = Convolution(images, inputs, side, side, outputs, kernel, kernel, stride, stride,
                              (kernel - 1) // 2, (kernel - 1) // 2)
        found.extend(convolution(name, problem, (f"{name}.weight",), first))
        side = problem.output_height()
        found.extend(both(norm, BatchNorm(images, outputs, side, side),
                          (f"{norm}.weight", f"{norm}.bias")))
        if relu:
            found.extend(both(f"{norm}.relu", Elementwise("relu", images * outputs * side**2)))
        return side

    side = normed("stem", "stem_norm", 3, config.stem_width, sizes["side"], 7, 2, True, True)
    # Padded by one below and on the right alone.
    pooling = Pooling(images, config.stem_width, side, side, 3, 3, 2, 2, 0, 1)
    found += both("pooling", pooling)
    side = pooling.output_height()
    for index, (inputs, width, stride, projects) in enumerate(block_plan(config)):
        block, outputs = f"blocks.{index}", width * config.expansion
        normed(f"{block}.convolution1", f"{block}.norm1", inputs, width, side, 1, 1, relu=True)
        after = normed(f"{block}.convolution2", f"{block}.norm2", width, width, side, 3, stride,
                       relu=True)
        normed(f"{block}.convolution3", f"{block}.norm3", width, outputs, after, 1, 1)
        if projects:
            normed(f"{block}.shortcut", f"{block}.shortcut_norm", inputs, outputs, side, 1, stride)
        side = after
        found += both(f"{block}.sum", Elementwise("add_relu", images * outputs * side**2))
    features = config.widths[-1] * config.expansion
    found += both("pooled", Pooling(images, features, side, side, side, side, side, side,
                                    greatest=False))
    found += dense("classifier", images, features, config.num_classes,
                   ("classifier.weight", "classifier.bias"))
    found += both("loss", SoftmaxCrossEntropy(images, config.num_classes,
                                              config.label_smoothing > 0))
    parameters = specification(config)
    statistics = sum(one.shape[0] for one in parameters.values() if not one.trained)
    return found + updates(parameters, config.optimizer, statistics)
