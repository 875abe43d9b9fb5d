"""NeuMF in PyTorch with one fault each: see plant.py."""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

from recommendation.pytorch import model
from recommendation.pytorch.train import Trainer, framework

__all__ = ["FAULTS", "Trainer", "framework"]


class Initialisation(Trainer):
    def __init__(self, config, parameters):
        name = "mlp.1.weight"
        values = np.random.default_rng(0).normal(0, 0.1, parameters[name].shape)
        super().__init__(config, parameters | {name: values})


class ItemsFirst(model.NeuMF):
    def forward(self, users, items, record):
        mf = self.mf_user(users) * self.mf_item(items)
        record("mf", mf)
        x = torch.cat([self.mlp_item(items), self.mlp_user(users)], dim=1)
        record("mlp_input", x)
        for index, layer in enumerate(self.mlp):
            x = F.relu(layer(x))
            record(f"mlp.{index}", x)
        logits = self.output(torch.cat([mf, x], dim=1))[:, 0]
        record("logits", logits)
        return logits


class ConcatenationTurned(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.__class__ = ItemsFirst


class Remembering(model.Dense):
    def forward(self, features):
        self.answer = super().forward(features)
        return self.answer


class NoReluAfterTheLastLayer(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.mlp[-1].__class__ = Remembering
        self.network.output.register_forward_pre_hook(self.unrectified)

    def unrectified(self, _, arguments):
        """What the output takes: the last layer's answer as it was before its ReLU."""
        (features,) = arguments
        return torch.cat([features[:, : self.config.mf_size], self.network.mlp[-1].answer], dim=1)


class LabelsTurned(Trainer):
    def loss(self, batch, record):
        return super().loss(batch | {"labels": 1.0 - batch["labels"]}, record)


class SumInsteadOfMean(Trainer):
    def loss(self, batch, record):
        return super().loss(batch, record) * len(batch["labels"])


class Once(model.Embedding):
    def forward(self, numbers):
        return F.embedding(numbers, self.weight, scale_grad_by_freq=True)


class ARepeatedRowCountsOnce(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.mf_user.__class__ = Once


class SecondBeta(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta2=0.99), parameters)


class NoBiasCorrection(Trainer):
    def update(self, gradients, rate, step):
        super().update(gradients, rate, 10**6)


class EpsilonBesideTheUncorrectedRoot(Trainer):
    def update(self, gradients, rate, step):
        correction = (1.0 - self.config.adam_beta2 ** (step + 1)) ** 0.5
        self.optimizer.param_groups[0]["eps"] = self.config.adam_epsilon / correction
        super().update(gradients, rate, step)


class LazyAdam(Trainer):
    """Users' rows that the batch does not hold stay where they are."""

    def update(self, gradients, rate, step):
        names = ("mf_user.weight", "mlp_user.weight")
        before = {name: self.weights[name].clone() for name in names}
        super().update(gradients, rate, step)
        for name in names:
            untouched = (gradients[name] == 0).all(dim=1, keepdim=True)
            self.weights[name].copy_(torch.where(untouched, before[name], self.weights[name]))


# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    Initialisation: ("initial", "parameter/mlp.1.weight"),
    ConcatenationTurned: ("step_0000", "activation/mlp_input"),
    NoReluAfterTheLastLayer: ("step_0000", "activation/logits"),
    LabelsTurned: ("step_0000", "loss"),
    SumInsteadOfMean: ("step_0000", "loss"),
    ARepeatedRowCountsOnce: ("step_0000", "gradient/mf_user.weight"),
    SecondBeta: ("step_0000", "second_moment/mf_user.weight"),
    NoBiasCorrection: ("step_0000", "parameter/mf_user.weight"),
    EpsilonBesideTheUncorrectedRoot: ("step_0000", "parameter/mf_user.weight"),
    LazyAdam: ("step_0001", "parameter/mf_user.weight"),
}
