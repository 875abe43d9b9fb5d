"""What planted faults ask of PaddlePaddle.  Twins: pytorch.py, tensorflow.py, paddlepaddle.py."""

import paddle
import paddle.nn.functional as F

from common.frameworks.paddlepaddle import dtype

CALL = "forward"  # what a layer computes
NO_PADDING = 0  # of a convolution


def start():
    """Before the first Trainer is made."""


def concat(tensors, axis):
    """The tensors side by side."""
    return paddle.concat(tensors, axis)


def counts(numbers, length):
    """How often each of 0, 1, ..., length - 1 is among the numbers; 1 where it is not."""
    return paddle.bincount(numbers, minlength=length).clip(min=1).astype(dtype())


def pad_behind(images):
    """Images with one more row and column of zeros at the bottom and the right."""
    return F.pad(images, [0, 1, 0, 1])
