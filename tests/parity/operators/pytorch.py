"""What planted faults ask of PyTorch.  Twins: pytorch.py, tensorflow.py, paddlepaddle.py."""

import torch
import torch.nn.functional as F

CALL = "forward"  # what a layer computes
NO_PADDING = 0  # of a convolution


def start():
    """Before the first Trainer is made."""


def concat(tensors, axis):
    """The tensors side by side."""
    return torch.cat(tensors, axis)


def counts(numbers, length):
    """How often each of 0, 1, ..., length - 1 is among the numbers; 1 where it is not."""
    return torch.bincount(numbers, minlength=length).clamp(min=1)


def pad_behind(images):
    """Images with one more row and column of zeros at the bottom and the right."""
    return F.pad(images, (0, 1, 0, 1))
