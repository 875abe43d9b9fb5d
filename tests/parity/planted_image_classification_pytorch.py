"""The PyTorch variant with one fault planted: see plant.py."""

import numpy as np
import torch

from common.frameworks import pytorch as framework
from image_classification.pytorch import model, train

__all__ = ["Trainer", "framework"]
FAULT = ""  # plant.py names one


class Trainer(train.Trainer):
    """The real one, but for the fault."""

    def __init__(self, config, parameters):
        if FAULT == "initialisation":
            rng = np.random.default_rng(0)
            shape = parameters["blocks.1.convolution2.weight"].shape
            parameters["blocks.1.convolution2.weight"] = rng.normal(0, 0.05, shape)
        super().__init__(config, parameters)
        for module in self.network.modules():
            if isinstance(module, model.BatchNorm):
                if FAULT == "batch norm momentum":
                    module.momentum = 0.99
                if FAULT == "batch norm epsilon":
                    module.epsilon = 1e-3
        block = self.network.blocks[2]
        if FAULT == "swapped stride":  # v1 instead of v1.5
            block.convolution1.stride, block.convolution2.stride = 2, 1
        if FAULT == "padding of a strided convolution":
            block.convolution2.forward = lambda x: torch.nn.functional.conv2d(
                torch.nn.functional.pad(x, (0, 1, 0, 1)), block.convolution2.weight, stride=2
            )

    def differentiate(self, batch, record):
        if FAULT == "label shift":
            batch = batch | {"labels": (batch["labels"] + 1) % self.config.num_classes}
        return super().differentiate(batch, record)

    def update(self, gradients, rate):
        if FAULT == "weight decay on batch norm":
            decay = self.config.weight_decay
            gradients = {
                name: gradient if self.specification[name].decayed
                else gradient + decay * self.weights[name]
                for name, gradient in gradients.items()
            }
        super().update(gradients, rate)
        if FAULT == "rate inside the momentum":
            # Keras's formula: v' = rate g + momentum v, w -= v.  Same path while the rate stays.
            before = getattr(self, "rate_before", rate) or rate
            for weight in self.weights.values():
                weight += rate * (1 - before / rate if rate else 0.0) * (
                    self.config.momentum * self.optimizer.state[weight]["momentum_buffer"]
                )
            self.rate_before = rate
