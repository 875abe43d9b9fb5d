"""The sequence CNN in PyTorch with one fault each: see plant.py."""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

from sentiment_analysis.pytorch import model
from sentiment_analysis.pytorch.train import Trainer, framework

__all__ = ["FAULTS", "Trainer", "framework"]


class Initialisation(Trainer):
    def __init__(self, config, parameters):
        name = "convolutions.1.weight"
        values = np.random.default_rng(0).normal(0, 0.05, parameters[name].shape)
        super().__init__(config, parameters | {name: values})


class CommonestWordForZeros(model.Embedding):
    def forward(self, tokens):
        return F.embedding(tokens % len(self.weight), self.weight)


class APadWordBetweenReviews(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.embedding.__class__ = CommonestWordForZeros


class EmptyPlacesCompete(model.SequenceConvolution):
    def forward(self, words, beyond, blocks):
        return super().forward(words, torch.zeros_like(beyond), blocks)


class EmptyPlacesInTheMaximum(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.convolutions[0].__class__ = EmptyPlacesCompete


class Rectified(model.SequenceConvolution):
    def forward(self, words, beyond, blocks):
        return F.relu(super().forward(words, beyond, blocks))


class ReluForElu(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        for convolution in self.network.convolutions:
            convolution.__class__ = Rectified


class Shifted(model.SequenceConvolution):
    """Of a window of four words one is before the place and two are after it."""

    def forward(self, words, beyond, blocks):
        return super().forward(words.roll(-1, 1), beyond, blocks)


class WindowCentredTheOtherWay(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.convolutions[1].__class__ = Shifted


class LabelsTheOtherWay(Trainer):
    def differentiate(self, batch, record):
        return super().differentiate(batch | {"labels": 1 - batch["labels"]}, record)


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
    def forward(self, words, beyond, blocks):
        x = words[None, :, self.first : self.first + len(beyond) + self.window - 1]
        x = F.conv1d(x, self.weight) + beyond
        x = WholeToEach.apply(x[0].t().unflatten(0, (-1, self.block_size)))
        x = WholeToEach.apply(x[blocks])
        return F.elu(x + self.bias)


class EqualMaximaEachTakeTheGradient(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        for convolution in self.network.convolutions:
            convolution.__class__ = PoolingOfEquals


class SecondMomentsDecay(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta2=0.99), parameters)


class EpsilonBesideTheCorrectedRoot(Trainer):
    def train_step(self, batch, step):
        config = self.config
        epsilon = 1e-8 * (1.0 - config.adam_beta2 ** (step + 1)) ** 0.5
        self.config = dataclasses.replace(config, adam_epsilon=epsilon)
        return super().train_step(batch, step)


class MomentsOfWordsNotInTheBatch(Trainer):
    def update(self, gradients, seen, rate):
        super().update(gradients, torch.ones_like(seen), rate)


# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    Initialisation: ("initial", "parameter/convolutions.1.weight"),
    APadWordBetweenReviews: ("step_0000", "activation/embedding"),
    EmptyPlacesInTheMaximum: ("step_0000", "activation/convolutions.0"),
    ReluForElu: ("step_0000", "activation/convolutions.0"),
    WindowCentredTheOtherWay: ("step_0000", "activation/convolutions.1"),
    LabelsTheOtherWay: ("step_0000", "loss"),
    EqualMaximaEachTakeTheGradient: ("step_0000", "gradient/embedding.weight"),
    SecondMomentsDecay: ("step_0000", "second_moment/embedding.weight"),
    EpsilonBesideTheCorrectedRoot: ("step_0000", "parameter/embedding.weight"),
    MomentsOfWordsNotInTheBatch: ("step_0001", "first_moment/embedding.weight"),
}
