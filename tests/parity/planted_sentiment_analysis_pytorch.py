"""The PyTorch variant of sentiment_analysis with one fault planted: see plant.py."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from common.frameworks import pytorch as framework
from sentiment_analysis.pytorch import model, train

__all__ = ["Trainer", "framework"]
FAULT = ""  # plant.py names one


class WholeToEach(torch.autograd.Function):
    """The greatest along axis 1, whose gradient goes whole to each of several equals."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.amax(dim=1)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return (x == x.amax(dim=1, keepdim=True)) * gradient[:, None]


class PoolingOfEquals(model.SequenceConvolution):
    """The real one, but for the gradient of equal maxima."""

    def forward(self, words, beyond, blocks):
        x = words[None, :, self.first : self.first + len(beyond) + self.window - 1]
        x = F.conv1d(x, self.weight) + beyond
        x = WholeToEach.apply(x[0].t().unflatten(0, (-1, self.block_size)))
        x = WholeToEach.apply(x[blocks])
        return F.elu(x + self.bias)


class Trainer(train.Trainer):
    """The real one, but for the fault."""

    def __init__(self, config, parameters):
        if FAULT == "initialisation":
            rng = np.random.default_rng(0)
            shape = parameters["convolutions.1.weight"].shape
            parameters["convolutions.1.weight"] = rng.normal(0, 0.05, shape)
        super().__init__(config, parameters)
        network = self.network
        if FAULT == "window centred the other way":  # one word before, two after
            second = network.convolutions[1]
            shifted = second.forward
            second.forward = lambda words, *more: shifted(words.roll(-1, 1), *more)
        if FAULT == "a pad word between reviews":  # the commonest word's vector in place of zeros
            network.embedding.forward = lambda tokens: F.embedding(
                tokens % config.vocabulary_size, network.embedding.weight
            )
        if FAULT == "empty places in the maximum":
            first = network.convolutions[0]
            whole = first.forward
            first.forward = lambda words, beyond, blocks: whole(words, 0 * beyond.isinf(), blocks)
        if FAULT == "relu for elu":
            for convolution in network.convolutions:
                whole = convolution.forward
                convolution.forward = lambda *arguments, whole=whole: F.relu(whole(*arguments))
        if FAULT == "equal maxima each take the gradient":
            for convolution in network.convolutions:
                convolution.__class__ = PoolingOfEquals

    def differentiate(self, batch, record):
        if FAULT == "labels the other way":
            batch = batch | {"labels": 1 - batch["labels"]}
        return super().differentiate(batch, record)

    def update(self, gradients, seen, rate):
        if FAULT == "moments of words not in the batch":
            seen = torch.ones_like(seen)
        if FAULT == "second moment's decay":
            object.__setattr__(self.config, "adam_beta2", 0.99)
        if FAULT == "epsilon beside the corrected root":
            self.steps = getattr(self, "steps", 0) + 1
            scale = math.sqrt(1.0 - self.config.adam_beta2 **self.steps)
            object.__setattr__(self.config, "adam_epsilon", 1e-8 * scale)
        super().update(gradients, seen, rate)
