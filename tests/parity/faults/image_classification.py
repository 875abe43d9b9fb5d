"""ResNet in PyTorch with one fault each: see plant.py."""

import dataclasses

import numpy as np
import torch.nn.functional as F

from image_classification.pytorch import model
from image_classification.pytorch.train import Trainer, framework

__all__ = ["FAULTS", "Trainer", "framework"]


class Initialisation(Trainer):
    def __init__(self, config, parameters):
        name = "blocks.1.convolution2.weight"
        values = np.random.default_rng(0).normal(0, 0.05, parameters[name].shape)
        super().__init__(config, parameters | {name: values})


class BatchNormEpsilon(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_epsilon=1e-3), parameters)


class SwappedStride(Trainer):
    """v1 instead of v1.5."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        block = self.network.blocks[2]
        block.convolution1.stride, block.convolution2.stride = 2, 1


class PaddedBehind(model.Convolution):
    def forward(self, images):
        return F.conv2d(F.pad(images, (0, 1, 0, 1)), self.weight, stride=self.stride)


class PaddingOfAStridedConvolution(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.blocks[2].convolution2.__class__ = PaddedBehind


class LabelShift(Trainer):
    def differentiate(self, batch, record):
        labels = (batch["labels"] + 1) % self.config.num_classes
        return super().differentiate(batch | {"labels": labels}, record)


class WeightDecayOnBatchNorm(Trainer):
    def update(self, gradients, rate):
        decay = self.config.weight_decay
        gradients = {
            name: gradient if self.specification[name].decayed
            else gradient + decay * self.weights[name]
            for name, gradient in gradients.items()
        }
        super().update(gradients, rate)


class BatchNormMomentum(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_momentum=0.99), parameters)


class RateInsideTheMomentum(Trainer):
    """Keras's formula: v' = rate g + momentum v, w -= v.  The same path while the rate stays."""

    rate_before = None

    def update(self, gradients, rate):
        super().update(gradients, rate)
        before = self.rate_before or rate
        for name, weight in self.weights.items():
            carried = self.config.momentum * self.sums["velocity"][name]
            weight += rate * (1 - before / rate if rate else 0.0) * carried
        self.rate_before = rate


# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    Initialisation: ("initial", "parameter/blocks.1.convolution2.weight"),
    BatchNormEpsilon: ("step_0000", "activation/stem_norm"),
    SwappedStride: ("step_0000", "activation/blocks.2.norm1"),
    PaddingOfAStridedConvolution: ("step_0000", "activation/blocks.2.norm2"),
    LabelShift: ("step_0000", "loss"),
    WeightDecayOnBatchNorm: ("step_0000", "velocity/stem_norm.weight"),
    BatchNormMomentum: ("step_0000", "parameter/stem_norm.running_mean"),
    RateInsideTheMomentum: ("step_0002", "parameter/stem.weight"),
}
