"""Faults of a sequence CNN: see plant.py."""

# ruff: noqa: RUF012  (nobody changes a class's edits)

import dataclasses

import numpy as np

from tests.parity.faulty import (
    EvaluatesFirstParameters,
    NotRestored,
    OtherInitialValues,
    Rewritten,
    ShortGradients,
)

# ---- the training step


class Initialisation(OtherInitialValues):
    drawn = "convolutions.1.weight"


class APadWordBetweenReviews:
    edits = {"model": [{
        "pytorch": ("(tokens, table)", "(tokens % len(self.weight), table)"),
        "tensorflow": ("(table, tokens)", "(table, tokens % self.weight.shape[0])"),
        "paddlepaddle": ("(tokens, table)", "(tokens % len(self.weight), table)"),
    }]}  # fmt: skip


class EmptyPlacesInTheMaximum:
    edits = {"model": [("inner == self.empty", "inner != inner")]}


class ReluForElu:
    edits = {"model": [{
        "pytorch": ("F.elu(x + self.bias, alpha=1.0)", "F.relu(x + self.bias)"),
        "tensorflow": ("tf.nn.elu(", "tf.nn.relu("),
        "paddlepaddle": ("F.elu(x + self.bias, alpha=1.0)", "F.relu(x + self.bias)"),
    }]}  # fmt: skip


class WindowCentredTheOtherWay:
    """Of a window of four words one is before the place and two are after it."""

    edits = {"model": [{
        "pytorch": ("convolution(words,", "convolution(words.roll(-index, 1),"),
        "tensorflow": ("convolution(words,", "convolution(tf.roll(words, -index, 0),"),
        "paddlepaddle": ("convolution(words,", "convolution(words.roll(-index, 1),"),
    }]}  # fmt: skip


class BlocksOffByOne:
    edits = {"train": [('batch["blocks"], record', 'batch["blocks"] + 1, record')]}


class LabelsTheOtherWay:
    def differentiate(self, batch, record):
        return super().differentiate(batch | {"labels": 1 - batch["labels"]}, record)


class EqualMaximaEachTakeTheGradient:
    """The greatest of each filter, whose gradient goes whole to each of several equals."""

    edits = {"model": [{
        "pytorch": (
            "x = x.unflatten(0, blocks.shape).amax(dim=1)",
            "x = x.unflatten(0, blocks.shape); most = x.amax(1); "
            "total = x.masked_fill(x != most[:, None], 0.0).sum(1); "
            "x = total - (total - most).detach()",
        ),
        "tensorflow": (
            "x = tf.reduce_max(x, axis=1)  # [B, C]",
            "most = tf.reduce_max(x, axis=1); "
            "total = tf.reduce_sum(tf.where(x == most[:, None], x, tf.zeros_like(x)), axis=1); "
            "x = total - tf.stop_gradient(total - most)",
        ),
        "paddlepaddle": (
            "x = F.max_pool2d(x[:, None], [blocks.shape[1], 1])[:, 0, 0]",
            "most = x.max(1); "
            "total = paddle.where(x == most[:, None], x, paddle.zeros_like(x)).sum(1); "
            "x = total - (total - most).detach()",
        ),
    }]}  # fmt: skip


# ---- the optimizer


class FirstBeta:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta1=0.89), parameters)


class SecondBeta:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta2=0.99), parameters)


class EpsilonBesideTheCorrectedRoot:
    def train_step(self, batch, step):
        config = self.config
        epsilon = config.adam_epsilon * (1.0 - config.adam_beta2 ** (step + 1)) ** 0.5
        self.config = dataclasses.replace(config, adam_epsilon=epsilon)
        loss = super().train_step(batch, step)
        self.config = config
        return loss


class NoBiasCorrection:
    edits = {"config": [("* root / (1.0 - config.adam_beta1 ** (step + 1))", "")]}


class RateOfTheNextStep:
    def train_step(self, batch, step):
        return super().train_step(batch, step + 1)


class WeightDecay:
    """Where there is none."""

    def update(self, gradients, seen, rate):
        weights = self.weights
        gradients = {name: gradients[name] + 1e-4 * weight for name, weight in weights.items()}
        super().update(gradients, seen, rate)


class EmbeddingNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        after["parameter"]["embedding.weight"] = before["parameter"]["embedding.weight"]


class LongGradientOfTheEmbedding:
    """By a fifth: less than bf16's rounding moves it."""

    def differentiate(self, batch, record):
        loss, gradients = super().differentiate(batch, record)
        return loss, gradients | {EMBEDDING: 1.2 * gradients[EMBEDDING]}


class FirstWordNeverUpdated(Rewritten):
    """As if it were padding."""

    def rewrite(self, before, after, batch, step):
        after["parameter"]["embedding.weight"][0] = before["parameter"]["embedding.weight"][0]


class LastWordNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        after["parameter"]["embedding.weight"][-1] = before["parameter"]["embedding.weight"][-1]


class MomentsOfWordsNotInTheBatch:
    def train_step(self, batch, step):
        return super().train_step(batch | {"seen": np.ones_like(batch["seen"])}, step)


# ---- the state


class FirstMomentNotRestored(NotRestored):
    left = "first_moment"


class SecondMomentNotRestored(NotRestored):
    left = "second_moment"


class StateOfAnotherSum:
    def state(self):
        found = super().state()
        return found | {"second_moment": found["first_moment"]}


# ---- the evaluation


class EvaluatesWithoutTheFirstBlock:
    def evaluate(self, batch):
        return super().evaluate(batch | {"blocks": batch["blocks"][:, 1:].copy()})


class EvaluatesWithoutTheLastBlock:
    def evaluate(self, batch):
        return super().evaluate(batch | {"blocks": batch["blocks"][:, :-1].copy()})


class EvaluatesOnePlaceOn:
    """The halo off by one."""

    def evaluate(self, batch):
        return super().evaluate(batch | {"tokens": np.roll(batch["tokens"], -1)})


class TheLessLikelyClass:
    def evaluate(self, batch):
        classes, logits = super().evaluate(batch)
        return 1 - classes, logits


class OneClassForAll:
    """An untrained network has one class for all: the classifier is turned to tell."""

    def predict(self, batch):
        return 0 * super().predict(batch)


class ProbabilitiesForLogits:
    def evaluate(self, batch):
        classes, logits = super().evaluate(batch)
        powers = np.exp(logits)
        return classes, powers / powers.sum(axis=1, keepdims=True)


EMBEDDING = "embedding.weight"
ANY = "fp64 fp32 bf16"
LOGITS = {ANY: ("evaluation_0000", "evaluation/logits")}
UPDATE = {ANY: ("step_0000", f"optimizer/parameter/{EMBEDDING}")}
# Each fault, and the first tensor that it changes in forward order, in each precision.
FAULTS = {
    Initialisation: {"fp64": ("initial", "parameter/convolutions.1.weight")},
    APadWordBetweenReviews: {"fp64": ("step_0000", "activation/embedding")},
    EmptyPlacesInTheMaximum: {"fp64 fp32": ("step_0000", "activation/convolutions.0")},
    ReluForElu: {"fp64": ("step_0000", "activation/convolutions.0")},
    WindowCentredTheOtherWay: {"fp64": ("step_0000", "activation/convolutions.1")},
    BlocksOffByOne: {"fp64": ("step_0000", "activation/convolutions.0")},
    LabelsTheOtherWay: {"fp64": ("step_0000", "loss")},
    EqualMaximaEachTakeTheGradient: {"fp64 fp32": ("step_0000", f"gradient/{EMBEDDING}")},
    LongGradientOfTheEmbedding: {
        "fp64 fp32": ("step_0000", f"gradient/{EMBEDDING}"),
        "bf16": ("step_0000", f"gradient_scale/{EMBEDDING}"),
    },
    ShortGradients: {"fp64 fp32": ("step_0000", f"gradient/{EMBEDDING}")},
    FirstBeta: {ANY: ("step_0000", f"optimizer/first_moment/{EMBEDDING}")},
    SecondBeta: {ANY: ("step_0000", f"optimizer/second_moment/{EMBEDDING}")},
    WeightDecay: {ANY: ("step_0000", f"optimizer/first_moment/{EMBEDDING}")},
    EpsilonBesideTheCorrectedRoot: UPDATE,
    NoBiasCorrection: UPDATE,
    RateOfTheNextStep: UPDATE,
    EmbeddingNeverUpdated: UPDATE,
    FirstWordNeverUpdated: UPDATE,
    LastWordNeverUpdated: UPDATE,
    MomentsOfWordsNotInTheBatch: {ANY: ("step_0001", f"optimizer/first_moment/{EMBEDDING}")},
    FirstMomentNotRestored: {ANY: ("step_0001", f"optimizer/first_moment/{EMBEDDING}")},
    SecondMomentNotRestored: {ANY: ("step_0001", f"optimizer/second_moment/{EMBEDDING}")},
    StateOfAnotherSum: {ANY: ("step_0000", f"optimizer/second_moment/{EMBEDDING}")},
    EvaluatesWithoutTheFirstBlock: LOGITS,
    EvaluatesWithoutTheLastBlock: {"fp64 fp32": ("evaluation_0000", "evaluation/logits")},
    EvaluatesOnePlaceOn: LOGITS,
    ProbabilitiesForLogits: LOGITS,
    # In bf16 any class may be the likelier.
    EvaluatesFirstParameters: {"fp64 fp32": ("evaluation_0000", "evaluation/classes"),
                               "bf16": ("evaluation_0000", "evaluation/logits")},
    TheLessLikelyClass: {ANY: ("evaluation_0000", "evaluation/classes")},
    OneClassForAll: {ANY: ("evaluation_0001", "evaluation/classes")},
}  # fmt: skip
