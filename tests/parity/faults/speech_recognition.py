"""Deep Speech 2 in PyTorch with one fault each: see plant.py."""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

from speech_recognition.config import learning_rate
from speech_recognition.pytorch import model
from speech_recognition.pytorch.train import Trainer, framework

__all__ = ["FAULTS", "Trainer", "framework"]


def in_place_of(trainer, own, other):
    """Every module of class `own` in the trainer's network becomes one of class `other`."""
    for module in trainer.network.modules():
        if type(module) is own:
            module.__class__ = other


class Initialisation(Trainer):
    def __init__(self, config, parameters):
        name = "layers.1.hidden_weight"
        values = np.random.default_rng(0).normal(0, 0.05, parameters[name].shape)
        super().__init__(config, parameters | {name: values})


class OtherOrder(model.Recurrent):
    def steps(self, x):
        size = self.hidden_weight.shape[2]
        order = torch.cat([torch.arange(size, 2 * size), torch.arange(size),
                           torch.arange(2 * size, 3 * size)])
        products = x.flatten(1, 2) @ self.input_weight[:, order].transpose(1, 2)
        products = (products + self.input_bias[:, None, order]).unflatten(1, x.shape[1:3])
        return model.Recurrence.apply(products, self.hidden_weight[:, order],
                                      self.hidden_bias[:, order])


class UpdateGateFirst(Trainer):
    """Keras's order of the gates."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        in_place_of(self, model.Recurrent, OtherOrder)


class BiasOutside(model.Recurrent):
    def steps(self, x):
        size = self.hidden_weight.shape[2]
        products = x.flatten(1, 2) @ self.input_weight.transpose(1, 2) + self.input_bias[:, None]
        inside = (torch.arange(3 * size) < 2 * size).to(x.dtype)
        products = products + (self.hidden_bias * (1.0 - inside))[:, None]
        return model.Recurrence.apply(products.unflatten(1, x.shape[1:3]), self.hidden_weight,
                                      self.hidden_bias * inside)


class TheCandidatesBiasIsNotReset(Trainer):
    """n = tanh(W x + b + r U h + c)."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        in_place_of(self, model.Recurrent, BiasOutside)


class ResetFirst(model.Recurrent):
    def steps(self, x):
        products = x @ self.input_weight.transpose(1, 2)[:, None] + self.input_bias[:, None, None]
        state = x.new_zeros(len(x), x.shape[2], self.hidden_weight.shape[2])
        states = []
        for now in products.unbind(1):
            reset, update, candidate = now.chunk(3, dim=2)
            weights, biases = (tensor.chunk(3, dim=1)
                               for tensor in (self.hidden_weight, self.hidden_bias))
            hidden = [state @ weights[gate].transpose(1, 2) + biases[gate][:, None]
                      for gate in (0, 1)]
            reset, update = (reset + hidden[0]).sigmoid(), (update + hidden[1]).sigmoid()
            hidden = (reset * state) @ weights[2].transpose(1, 2) + biases[2][:, None]
            state = torch.lerp((candidate + hidden).tanh(), state, update)
            states.append(state)
        return torch.stack(states, dim=1)


class TheResetGateBeforeTheProduct(Trainer):
    """n = tanh(W x + b + U (r h) + c), as in the paper."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        in_place_of(self, model.Recurrent, ResetFirst)


class OwnEnds(model.Recurrent):
    def forward(self, x, exists, back, training):
        places = torch.arange(len(x))[:, None]
        back = torch.where(places < OwnEnds.lengths, OwnEnds.lengths - 1 - places, places)  # [T, B]
        if self.norm:
            x = self.norm(x.transpose(0, 1), exists, training).transpose(0, 1)

        def turned(x):
            return x.gather(0, back[:, :, None].expand_as(x))

        states = self.steps(torch.stack([x, turned(x)]))
        return (states[0] + turned(states[1])) * exists[:, :, None]


class TheBackwardDirectionStartsAtEachUtterancesEnd(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        in_place_of(self, model.Recurrent, OwnEnds)

    def loss(self, batch, record):
        OwnEnds.lengths = batch["lengths"].long()
        return super().loss(batch, record)

    def predict_on_device(self, batch):
        OwnEnds.lengths = batch["lengths"].long()
        return super().predict_on_device(batch)


class AtTheEndOfAll(model.DeepSpeech):
    def recur(self, x, exists, steps, training, record):
        return super().recur(x, exists, torch.full_like(steps, len(x)), training, record)


class TheBackwardDirectionStartsWhereNothingExists(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.__class__ = AtTheEndOfAll


class CountsAll(model.BatchNorm):
    def forward(self, x, exists, training):
        return super().forward(x, torch.ones_like(exists), training) * exists


class BatchNormCountsWhatDoesNotExist(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        in_place_of(self, model.BatchNorm, CountsAll)


class LeavesOut(model.BatchNorm):
    def forward(self, x, exists, training):
        """x: [B, T, C]."""
        if not training:
            return super().forward(x, exists, training)
        heard = (torch.arange(x.shape[1]) < OwnEnds.lengths[:, None])[:, :, None].to(x.dtype)
        mean = (x * heard).sum((0, 1)) / heard.sum()
        var = ((x - mean).square() * heard).sum((0, 1)) / heard.sum()
        return ((x - mean) * (var + self.epsilon).rsqrt() * self.weight + self.bias) * exists


class BatchNormLeavesPaddingOut(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.network.layers[1].norm.__class__ = LeavesOut

    def loss(self, batch, record):
        OwnEnds.lengths = batch["lengths"].long()
        return super().loss(batch, record)


class BiasedMovingVariance(model.BatchNorm):
    def forward(self, x, exists, training):
        before = self.running_var.clone()
        found = super().forward(x, exists, training)
        if training:
            count = exists.sum() * (x[..., 0].numel() // len(exists))
            added = self.running_var - self.momentum * before
            self.running_var.copy_(self.momentum * before + added * (count - 1.0) / count)
        return found


class TheMovingVarianceIsBiased(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        in_place_of(self, model.BatchNorm, BiasedMovingVariance)


class FrequencyMajorFeatures(Trainer):
    """The convolutions' output flattened frequency first."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        channels = config.conv_channels
        layer = self.network.layers[0]
        features = layer.input_weight.shape[2]
        order = torch.arange(features).view(channels, -1).t().flatten()
        layer.register_forward_pre_hook(lambda _, given: (given[0][:, :, order], *given[1:]))


class BlankIsTheLastSymbol(Trainer):
    def loss(self, batch, record):
        logits = self.network(batch["spectrograms"], batch["steps"], True, record)
        return model.ctc_loss(logits.roll(1, dims=2), batch["labels"], batch["lengths"])


class LengthsOneStepTooLong(Trainer):
    def loss(self, batch, record):
        longer = torch.minimum(batch["lengths"] + 1, batch["steps"])
        return super().loss(batch | {"lengths": longer}, record)


class MeanOverTheLabels(Trainer):
    """Each loss over its number of labels."""

    def loss(self, batch, record):
        logits = self.network(batch["spectrograms"], batch["steps"], True, record)
        labels = batch["labels"]
        return F.ctc_loss(logits.log_softmax(2), labels, batch["lengths"], (labels != 0).sum(1),
                          zero_infinity=True)


class InfiniteLossesAreNoUtterances(Trainer):
    def loss(self, batch, record):
        labels = batch["labels"]
        again = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)
        fits = (labels != 0).sum(1) + again.sum(1) <= batch["lengths"]
        return super().loss(batch, record) * len(labels) / fits.sum()


class PlainMomentum(Trainer):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.optimizer.param_groups[0]["nesterov"] = False


class ClipsEachTensorByItself(Trainer):
    def update(self, gradients, rate):
        limit = self.config.clip_norm
        super().update({name: g * (limit / (g.norm() + 1e-6)).clamp(max=1.0)
                        for name, g in gradients.items()}, rate)


class ClipsNothing(Trainer):
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, clip_norm=1e9), parameters)


class RateOfTheNextEpoch(Trainer):
    def update(self, gradients, rate):
        super().update(gradients, learning_rate(self.config, 2))


class HearsThePadding(Trainer):
    def decode(self, batch):
        return super().decode(batch | {"lengths": np.full_like(batch["lengths"], batch["steps"][0])})


# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    Initialisation: ("initial", "parameter/layers.1.hidden_weight"),
    BatchNormCountsWhatDoesNotExist: ("step_0000", "activation/convolutions.0"),
    FrequencyMajorFeatures: ("step_0000", "activation/layers.0"),
    UpdateGateFirst: ("step_0000", "activation/layers.0"),
    TheCandidatesBiasIsNotReset: ("step_0000", "activation/layers.0"),
    TheResetGateBeforeTheProduct: ("step_0000", "activation/layers.0"),
    TheBackwardDirectionStartsAtEachUtterancesEnd: ("step_0000", "activation/layers.0"),
    TheBackwardDirectionStartsWhereNothingExists: ("step_0000", "activation/layers.0"),
    BatchNormLeavesPaddingOut: ("step_0000", "activation/layers.1"),
    BlankIsTheLastSymbol: ("step_0000", "loss"),
    LengthsOneStepTooLong: ("step_0000", "loss"),
    MeanOverTheLabels: ("step_0000", "loss"),
    InfiniteLossesAreNoUtterances: ("step_0000", "loss"),
    ClipsEachTensorByItself: ("step_0000", "velocity/convolutions.0.weight"),
    ClipsNothing: ("step_0000", "velocity/convolutions.0.weight"),
    PlainMomentum: ("step_0000", "parameter/convolutions.0.weight"),
    RateOfTheNextEpoch: ("step_0000", "parameter/convolutions.0.weight"),
    TheMovingVarianceIsBiased: ("step_0000", "parameter/convolutions.0.norm.running_var"),
    HearsThePadding: ("step_0001", "prediction/scores"),
}
