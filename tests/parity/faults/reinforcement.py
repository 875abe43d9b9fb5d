"""Faults of Minigo's network and of what the search is told by it: see plant.py.

Those of the rules, the search and the loop are in neutral code, and so the tests that name them are
tests/reinforcement/.
"""

# ruff: noqa: RUF012  (nobody changes a class's edits)

import dataclasses

import numpy as np

from reinforcement import features
from reinforcement.config import learning_rate
from tests.parity.faulty import (
    EvaluatesFirstParameters,
    EvaluationMoves,
    NotRestored,
    OtherInitialValues,
    Rewritten,
    ShortGradients,
    WeightsKeptInBf16,
    computes,
)

# ---- the training step


class Initialisation(OtherInitialValues):
    drawn = "blocks.1.convolution2.weight"


class BatchNormEpsilon:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_epsilon=1e-2), parameters)


class ValueOfTheOtherSide:
    """It learns White's."""

    def differentiate(self, batch, record):
        return super().differentiate(batch | {"winner": -batch["winner"]}, record)


class HalfTheSquaredError:
    edits = {"train": [("cross_entropy + squared_error", "cross_entropy + 0.5 * squared_error")]}


class BatchNormMomentum:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_momentum=0.89), parameters)


class BiasedMovingVariance(Rewritten):
    def rewrite(self, before, after, batch, step):
        kept = self.config.batch_norm_momentum
        count = len(batch["winner"]) * self.config.board_size**2
        for name, new in after["parameter"].items():
            if name.endswith("running_var"):
                old = kept * before["parameter"][name]
                after["parameter"][name] = old + (new - old) * (count - 1) / count


# ---- the optimizer


class NoWeightDecay:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, weight_decay=0.0), parameters)


class NoWeightDecayOnBatchNorm:
    """A common exception, not the reference's."""

    def update(self, gradients, rate):
        decay = self.config.weight_decay
        gradients = {
            name: gradients[name] - decay * weight if "norm" in name and name in decayed(self)
            else gradients[name]
            for name, weight in self.weights.items()
        }  # fmt: skip
        super().update(gradients, rate)


def decayed(trainer):
    """The names of the parameters that decay."""
    return {name for name, parameter in trainer.specification.items() if parameter.decayed}


class Momentum:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, momentum=0.89), parameters)


class NesterovMomentum(Rewritten):
    def rewrite(self, before, after, batch, step):
        rate, momentum = learning_rate(self.config, step), self.config.momentum
        for name, velocity in after["velocity"].items():
            ahead = (1.0 + momentum) * velocity - momentum * before["velocity"][name]
            after["parameter"][name] = before["parameter"][name] - rate * ahead


class RateInsideTheMomentum(Rewritten):
    """Keras's formula: v' = momentum v' + rate g, w = w - v'.  The same while the rate stays."""

    def rewrite(self, before, after, batch, step):
        earlier = learning_rate(self.config, step - 1) if step else 0.0
        change = learning_rate(self.config, step) - earlier
        for name, velocity in before["velocity"].items():
            after["parameter"][name] += change * self.config.momentum * velocity


class RateOfTheNextStep:
    def train_step(self, batch, step):
        return super().train_step(batch, step + 1)


class RateFallsAStepLate:
    def __init__(self, config, parameters):
        later = tuple(step + 1 for step in config.rate_steps)
        super().__init__(dataclasses.replace(config, rate_steps=later), parameters)


class OneTensorNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        name = "blocks.1.norm2.bias"
        after["parameter"][name] = before["parameter"][name]


# ---- the state


class VelocityNotRestored(NotRestored):
    left = "velocity"


class VarianceNotRestored:
    """Of one norm: its name is misspelt."""

    def load_state(self, state):
        name = "blocks.1.norm2.running_var"
        own = {name: self.state()["parameter"][name]}
        super().load_state(state | {"parameter": state["parameter"] | own})


class StateOfAnother:
    """Under one norm's name it writes the velocity of the block before."""

    def state(self):
        state = super().state()
        own = {"blocks.1.norm2.weight": state["velocity"]["blocks.0.norm2.weight"]}
        return state | {"velocity": state["velocity"] | own}


# ---- what the search is told


class BatchStatisticsInTheSearch:
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        computes(self.network, self.operators.CALL, self.training)

    def training(self, own, planes, _, record):
        return own(planes, True, record)

    def evaluate(self, batch):
        state = self.state()
        found = super().evaluate(batch)
        self.load_state(state)  # else a step tells it first: the statistics moved
        return found


class NoBiasInTheSearch:
    """The convolutions' own, which training does not move."""

    def evaluate(self, batch):
        state = self.state()
        bare = {name: np.zeros_like(array) for name, array in state["parameter"].items()
                if name.endswith(".bias") and ("convolution" in name or name == "stem.bias")}
        self.load_state(state | {"parameter": state["parameter"] | bare})
        found = super().evaluate(batch)
        self.load_state(state)
        return found


class ProbabilitiesOverTheBatch:
    edits = {"train": [{
        "pytorch": ("logits.softmax(dim=1)", "logits.softmax(dim=0)"),
        "tensorflow": ("tf.nn.softmax(logits, axis=1)", "tf.nn.softmax(logits, axis=0)"),
        "paddlepaddle": ("F.softmax(logits, axis=1)", "F.softmax(logits, axis=0)"),
    }]}  # fmt: skip


class ValueOfTheOtherSideInTheSearch:
    def infer(self, planes):
        priors, values = super().infer(planes)
        return priors, -values


class ValueOfTheSideToMoveInTheSearch:
    def infer(self, planes):
        priors, values = super().infer(planes)
        return priors, np.where(planes[:, 0, 0, -1] == 1, values, -values)


class PolicyNotTurnedBack:
    """The network sees rows and columns exchanged; its answer stays so."""

    def infer(self, planes):
        return super().infer(np.ascontiguousarray(planes.transpose(0, 2, 1, 3)))


class HistoryPaddedWithZeros:
    """Where the oldest board is repeated."""

    def infer(self, planes):
        planes = planes.copy()
        repeats = np.ones(len(planes), bool)
        for old in range(features.NUM_BOARDS - 1, 0, -1):
            one, other = (planes[..., 2 * n : 2 * n + 2] for n in (old - 1, old))
            repeats &= (one == other).all(axis=(1, 2, 3))
            planes[repeats, :, :, 2 * old : 2 * old + 2] = 0
        return super().infer(planes)


class NoiseInTheSearch:
    def infer(self, planes):
        priors, values = super().infer(planes)
        noise = np.random.default_rng(0).dirichlet(np.full(priors.shape[1], 0.3), len(priors))
        return 0.75 * priors + 0.25 * noise, values


class StatisticsMoveInTheEvaluation(EvaluationMoves):
    moves = "blocks.1.norm2.running_var"


class MovesCountedFromOne:
    def predict(self, batch):
        return super().predict(batch) + 1


# Each fault, and the first tensor that it changes in forward order, in each precision.
FAULTS = {
    Initialisation: {"fp64": ("initial", "parameter/blocks.1.convolution2.weight")},
    BatchNormEpsilon: {"fp64 fp32": ("step_0000", "activation/stem_norm")},
    ValueOfTheOtherSide: {"fp64 fp32": ("step_0000", "loss")},
    HalfTheSquaredError: {"fp64": ("step_0000", "loss")},
    ShortGradients: {"fp64 fp32": ("step_0000", "gradient/stem.weight")},
    BatchNormMomentum: {"fp64 fp32 bf16": ("step_0000", "statistic/stem_norm.running_mean")},
    BiasedMovingVariance: {"fp64 fp32": ("step_0000", "statistic/stem_norm.running_var")},
    NoWeightDecay: {"fp64 fp32 bf16": ("step_0000", "optimizer/velocity/stem.weight")},
    NoWeightDecayOnBatchNorm: {
        "fp64 fp32 bf16": ("step_0000", "optimizer/velocity/stem_norm.weight"),
    },
    Momentum: {"fp64 fp32 bf16": ("step_0001", "optimizer/velocity/stem.weight")},
    NesterovMomentum: {"fp64 fp32": ("step_0000", "optimizer/parameter/stem.weight")},
    RateInsideTheMomentum: {"fp64 fp32 bf16": ("step_0001", "optimizer/parameter/stem.weight")},
    RateOfTheNextStep: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/stem.weight")},
    RateFallsAStepLate: {"fp64 fp32": ("step_0001", "optimizer/parameter/stem.weight")},
    WeightsKeptInBf16: {"bf16": ("step_0000", "optimizer/parameter/stem.weight")},
    OneTensorNeverUpdated: {
        "fp64 fp32 bf16": ("step_0000", "optimizer/parameter/blocks.1.norm2.bias"),
    },
    VelocityNotRestored: {"fp64 fp32": ("step_0001", "optimizer/velocity/stem.weight")},
    VarianceNotRestored: {"fp64 fp32": ("step_0000", "statistic/blocks.1.norm2.running_var")},
    StateOfAnother: {"fp64": ("step_0000", "optimizer/velocity/blocks.1.norm2.weight")},
    BatchStatisticsInTheSearch: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    NoBiasInTheSearch: {"fp64 fp32": ("evaluation_0000", "evaluation/visits")},
    ProbabilitiesOverTheBatch: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    ValueOfTheOtherSideInTheSearch: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    ValueOfTheSideToMoveInTheSearch: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    PolicyNotTurnedBack: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    HistoryPaddedWithZeros: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    NoiseInTheSearch: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    StatisticsMoveInTheEvaluation: {
        "fp64 fp32": ("step_0000", "statistic/blocks.1.norm2.running_var"),
    },
    MovesCountedFromOne: {"fp64 fp32": ("evaluation_0000", "evaluation/choices")},
    EvaluatesFirstParameters: {"fp64 fp32": ("evaluation_0000", "evaluation/visits")},
}
