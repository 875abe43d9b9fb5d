"""NeuMF in PyTorch with one fault planted: see plant.py."""

import numpy as np
import torch
import torch.nn.functional as F

from common.frameworks import pytorch as framework
from recommendation.pytorch import train

__all__ = ["Trainer", "framework"]
FAULT = ""  # plant.py names one


class Trainer(train.Trainer):
    """The real one, but for the fault."""

    def __init__(self, config, parameters):
        if FAULT == "initialisation":
            rng = np.random.default_rng(0)
            parameters["mlp.1.weight"] = rng.normal(0, 0.1, parameters["mlp.1.weight"].shape)
        super().__init__(config, parameters)
        network = self.network
        if FAULT == "concatenation turned":
            users, items = network.mlp_user.forward, network.mlp_item.forward
            # Whichever is asked first gets the items: forward asks users, then items.
            network.mlp_user.forward = lambda numbers: items(self.items)
            network.mlp_item.forward = lambda numbers: users(self.users)
        if FAULT == "no ReLU after the last layer":
            last = network.mlp[-1]
            plain = last.forward
            # relu(x) + min(x, 0) = x: what the layer's own ReLU takes away stays.
            network.output.forward = lambda x: F.linear(
                torch.cat([x[:, : config.mf_size], plain(self.before)], dim=1),
                network.output.weight,
                network.output.bias,
            )
            last.forward = lambda x: plain(setattr(self, "before", x) or x)
        if FAULT == "a repeated row counts once":
            network.mf_user.forward = lambda numbers: F.embedding(
                numbers, network.mf_user.weight, scale_grad_by_freq=True
            )

    def loss(self, batch, record):
        self.users, self.items = batch["users"], batch["items"]
        if FAULT == "labels turned":
            batch = batch | {"labels": 1.0 - batch["labels"]}
        loss = super().loss(batch, record)
        return loss * len(batch["labels"]) if FAULT == "sum instead of mean" else loss

    def update(self, gradients, rate, step):
        if FAULT == "lazy Adam":  # rows that the batch does not touch stay where they are
            before = {name: weight.clone() for name, weight in self.weights.items()}
        if FAULT == "epsilon beside the uncorrected root":
            correction = (1.0 - self.config.adam_beta2 ** (step + 1)) ** 0.5
            self.optimizer.param_groups[0]["eps"] = self.config.adam_epsilon / correction
        if FAULT == "second beta":
            self.optimizer.param_groups[0]["betas"] = (self.config.adam_beta1, 0.99)
        if FAULT == "no bias correction":
            step = 10**6
        super().update(gradients, rate, step)
        if FAULT == "lazy Adam":
            for name, weight in self.weights.items():
                untouched = (gradients[name] == 0).all(dim=-1, keepdim=True)
                if weight.ndim == 2 and name.split(".")[0] in ("mf_user", "mlp_user"):
                    weight.copy_(torch.where(untouched, before[name], weight))
