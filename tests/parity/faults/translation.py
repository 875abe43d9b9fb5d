"""The Transformer in PyTorch with one fault each: see plant.py."""

import dataclasses
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from translation.config import learning_rate
from translation.formulas import smoothed_label
from translation.pytorch import model
from translation.pytorch.train import Trainer, framework
from translation.vocabulary import END

__all__ = ["FAULTS", "Trainer", "framework"]


class Initialisation(Trainer):
    def __init__(self, config, parameters):
        name = "encoder.1.feed_forward.hidden.weight"
        values = np.random.default_rng(0).normal(0, 0.1, parameters[name].shape)
        super().__init__(config, parameters | {name: values})


class EmbeddingNotScaled(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.embedding.scale = 1.0


class PositionsInterleaved(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        sines, cosines = self.network.positions.chunk(2, dim=1)
        self.network.positions = torch.stack([sines, cosines], dim=2).flatten(1)


class LooserNorm(model.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, eps=1e-5)


class EpsilonOfTheLayerNorm(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        for layer in [*self.network.encoder, *self.network.decoder]:
            layer.feed_forward.norm.__class__ = LooserNorm


class Linear(model.FeedForward):
    def forward(self, x, dropout):
        return x + self.output(self.hidden(self.norm(x)))


class NoRelu(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        for layer in [*self.network.encoder, *self.network.decoder]:
            layer.feed_forward.__class__ = Linear


class TargetsBeginWithTheEndOfASentence(Trainer):
    def loss(self, batch, record):
        with mock.patch.object(model.F, "pad", self.begin):
            return super().loss(batch, record)

    def begin(self, x, _):
        """x: [B, T, D].  Returns [B, 1 + T, D] with END's vector first, not zeros."""
        end = self.network.embedding(torch.full([len(x), 1], END))
        return torch.cat([end, x], dim=1)


class SeesLaterPlaces(model.Attention):
    def forward(self, x, memory, mask, causal, dropout):
        return super().forward(x, memory, mask, False, dropout)


class LaterTargetsAreSeen(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        for layer in self.network.decoder:
            layer.self_attention.__class__ = SeesLaterPlaces


class MasksNothing(model.Transformer):
    def encode(self, sources, dropout, record):
        x, mask = super().encode(sources, dropout, record)
        return x, torch.zeros_like(mask)


class TheDecoderSeesThePadding(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.__class__ = MasksNothing


class LabelsSmoothedOverAllPieces(Trainer):
    """The right piece takes part in the smoothing."""

    def loss(self, batch, record):
        logits = self.network(batch["sources"], batch["targets"], 0.0, record)
        smoothing = self.config.label_smoothing
        losses = F.cross_entropy(
            logits.flatten(0, 1), batch["targets"].flatten().long(), ignore_index=0,
            reduction="sum", label_smoothing=smoothing,
        )  # fmt: skip
        _, entropy = smoothed_label(logits.shape[2], smoothing)
        return losses - (batch["targets"] != 0).sum() * entropy


class MeanOverThePlacesEmptyOnesToo(Trainer):
    def loss(self, batch, record):
        share = (batch["targets"] != 0).sum() / batch["targets"].numel()
        return super().loss(batch, record) * share


class SecondBeta(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta2=0.999), parameters)


class RateOfTheNextStep(Trainer):
    def update(self, gradients, rate, step):
        super().update(gradients, learning_rate(self.config, step + 1), step)


class EpsilonBesideTheUncorrectedRoot(Trainer):
    def update(self, gradients, rate, step):
        correction = (1.0 - self.config.adam_beta2 ** (step + 1)) ** 0.5
        self.optimizer.param_groups[0]["eps"] = self.config.adam_epsilon / correction
        super().update(gradients, rate, step)


class ForgetsParents(model.Transformer):
    def extend(self, pieces, parents, memories, mask, past):
        return super().extend(pieces, torch.arange(len(parents)), memories, mask, past)


class KeysOfTheBeamsMixedUp(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.__class__ = ForgetsParents


class HalfAsManyBeams(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, beam_size=config.beam_size // 2), parameters)


# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    Initialisation: ("initial", "parameter/encoder.1.feed_forward.hidden.weight"),
    EmbeddingNotScaled: ("step_0000", "activation/source"),
    PositionsInterleaved: ("step_0000", "activation/source"),
    EpsilonOfTheLayerNorm: ("step_0000", "activation/encoder.0.feed_forward"),
    NoRelu: ("step_0000", "activation/encoder.0.feed_forward"),
    TargetsBeginWithTheEndOfASentence: ("step_0000", "activation/target"),
    LaterTargetsAreSeen: ("step_0000", "activation/decoder.0.self_attention"),
    TheDecoderSeesThePadding: ("step_0000", "activation/decoder.0.cross_attention"),
    LabelsSmoothedOverAllPieces: ("step_0000", "loss"),
    MeanOverThePlacesEmptyOnesToo: ("step_0000", "loss"),
    SecondBeta: ("step_0000", "second_moment/embedding.weight"),
    RateOfTheNextStep: ("step_0000", "parameter/embedding.weight"),
    EpsilonBesideTheUncorrectedRoot: ("step_0001", "parameter/embedding.weight"),
    KeysOfTheBeamsMixedUp: ("step_0002", "prediction/pieces"),
    HalfAsManyBeams: ("step_0002", "prediction/pieces"),
}
