"""The Transformer in PyTorch with one fault planted: see plant.py."""

import dataclasses
import types

import numpy as np
import torch
import torch.nn.functional as F

from common.frameworks import pytorch as framework
from translation.pytorch import model, train

__all__ = ["Trainer", "framework"]
FAULT = ""  # plant.py names one


class Trainer(train.Trainer):
    """The real one, but for the fault."""

    def __init__(self, config, parameters):
        if FAULT == "initialisation":
            name = "encoder.1.feed_forward.hidden.weight"
            rng = np.random.default_rng(0)
            parameters[name] = rng.normal(0, 0.1, parameters[name].shape)
        if FAULT == "half as many beams":
            config = dataclasses.replace(config, beam_size=config.beam_size // 2)
        super().__init__(config, parameters)
        network = self.network
        if FAULT == "embedding not scaled":
            network.embedding.scale = 1.0
        if FAULT == "positions interleaved":
            table = network.positions
            halves = table.chunk(2, dim=1)
            network.positions = torch.stack(halves, dim=2).flatten(1)
        if FAULT == "the decoder sees the padding":
            encode = network.encode
            network.encode = lambda *given: (encode(*given)[0], 0.0 * encode(*given)[1])
        model.F = F
        if FAULT == "targets begin with the end of a sentence":
            end = torch.ones([1, 1], dtype=torch.int32)
            model.F = types.SimpleNamespace(**vars(F))
            model.F.pad = lambda x, _: torch.cat(
                [network.embedding(end).expand(len(x), 1, -1), x], dim=1
            )
        for layer in [*network.encoder, *network.decoder]:
            if FAULT == "epsilon of the layer norm":
                norm = layer.feed_forward.norm
                norm.forward = lambda x, n=norm: F.layer_norm(
                    x, x.shape[-1:], n.weight, n.bias, eps=1e-5
                )
            if FAULT == "later targets are seen" and layer in network.decoder:
                part = layer.self_attention
                part.forward = lambda x, memory, mask, dropout, f=part.forward: f(
                    x, memory, x.new_zeros([1, 1, 1, 1]), dropout
                )
            if FAULT == "no ReLU":
                part = layer.feed_forward
                part.forward = lambda x, dropout, p=part: x + p.output(p.hidden(p.norm(x)))
        if FAULT == "keys of the beams mixed up":
            extend = network.extend
            network.extend = lambda pieces, parents, *more: extend(
                pieces, torch.arange(len(parents)), *more
            )

    def loss(self, batch, record):
        if FAULT == "labels smoothed over all pieces":
            logits = self.network(batch["sources"], batch["targets"], 0.0, record)
            return F.cross_entropy(
                logits.flatten(0, 1), batch["targets"].flatten().long(), ignore_index=0,
                reduction="sum", label_smoothing=self.config.label_smoothing,
            ) - (batch["targets"] != 0).sum() * model.smoothed_label(logits.shape[2], 0.1)[1]
        loss = super().loss(batch, record)
        if FAULT == "mean over the places, empty ones too":
            loss = loss * (batch["targets"] != 0).sum() / batch["targets"].numel()
        return loss

    def update(self, gradients, rate, step):
        group = self.optimizer.param_groups[0]
        if FAULT == "second beta":
            group["betas"] = (self.config.adam_beta1, 0.999)
        if FAULT == "epsilon beside the uncorrected root":
            group["eps"] = self.config.adam_epsilon / (1.0 - 0.997 ** (step + 1)) ** 0.5
        if FAULT == "rate of the next step":
            rate = train.learning_rate(self.config, step + 1)
        super().update(gradients, rate, step)
