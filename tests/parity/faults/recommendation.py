"""Faults of a NeuMF: see plant.py."""

import dataclasses

import numpy as np

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
    drawn = "mlp.1.weight"


class ConcatenationTurned:
    """The item's mlp vector before the user's."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        computes(self.network, self.operators.CALL, self.turned)

    def turned(self, own, users, items, record):
        self.turn()
        logits = own(items, users, record)  # the mf vectors' product stays
        self.turn()
        return logits

    def turn(self):
        network = self.network
        network.mf_user, network.mf_item = network.mf_item, network.mf_user
        network.mlp_user, network.mlp_item = network.mlp_item, network.mlp_user


class NoReluAfterTheLastLayer:
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        computes(self.network.mlp[-1], self.operators.CALL, self.remember)
        computes(self.network.output, self.operators.CALL, self.unrectified)

    def remember(self, own, features):
        self.answer = own(features)
        return self.answer

    def unrectified(self, own, features):
        factors = features[:, : self.config.mf_size]
        return own(self.operators.concat([factors, self.answer], 1))


class LabelsTurned:
    def loss(self, batch, record):
        return super().loss(batch | {"labels": 1.0 - batch["labels"]}, record)


class SumInsteadOfMean:
    def loss(self, batch, record):
        return super().loss(batch, record) * batch["labels"].shape[0]


class ARepeatedRowCountsOnce:
    def differentiate(self, batch, record):
        loss, gradients = super().differentiate(batch, record)
        name = "mf_user.weight"
        counts = self.operators.counts(batch["users"], self.config.num_users)
        return loss, gradients | {name: gradients[name] / counts[:, None]}


# ---- the optimizer


class FirstBeta:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta1=0.89), parameters)


class SecondBeta:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_beta2=0.99), parameters)


class WeightDecay:
    """Where there is none."""

    def update(self, gradients, rate, step):
        weights = self.weights
        gradients = {name: gradient + 1e-4 * weights[name] for name, gradient in gradients.items()}
        super().update(gradients, rate, step)


class EpsilonOfKeras:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, adam_epsilon=1e-7), parameters)


class StepsCountedFromTwo:
    def train_step(self, batch, step):
        return super().train_step(batch, step + 1)


class StepsCountedByItself:
    """A resumed run starts its bias corrections anew."""

    steps = 0

    def train_step(self, batch, step):
        self.steps += 1
        return super().train_step(batch, self.steps - 1)


class OtherUpdate(Rewritten):
    def rewrite(self, before, after, batch, step):
        config = self.config
        betas = config.adam_beta1, config.adam_beta2
        first, second = (1.0 - beta ** (step + 1) for beta in betas)
        for name, weight in before["parameter"].items():
            m, v = (np.float64(after[sums][name]) for sums in ("first_moment", "second_moment"))
            shift = self.direction(m, v, first, second, config.adam_epsilon)
            after["parameter"][name] = weight - config.learning_rate * shift


class NoBiasCorrection(OtherUpdate):
    def direction(self, m, v, first, second, epsilon):
        return m / (np.sqrt(v) + epsilon)


class EpsilonBesideTheUncorrectedRoot(OtherUpdate):
    """As in Keras."""

    def direction(self, m, v, first, second, epsilon):
        return m / first * np.sqrt(second) / (np.sqrt(v) + epsilon)


class EpsilonInsideTheRoot(OtherUpdate):
    def direction(self, m, v, first, second, epsilon):
        return m / first / np.sqrt(v / second + epsilon)


class LazyAdam(Rewritten):
    """Users' rows that the batch does not hold stay as they are."""

    def rewrite(self, before, after, batch, step):
        absent = np.setdiff1d(np.arange(self.config.num_users), batch["users"])
        for group in after:
            for name in ("mf_user.weight", "mlp_user.weight"):
                after[group][name][absent] = before[group][name][absent]


class FirstRowNeverUpdated(Rewritten):
    """As if it were padding."""

    def rewrite(self, before, after, batch, step):
        after["parameter"]["mf_user.weight"][0] = before["parameter"]["mf_user.weight"][0]


class LastUserNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        after["parameter"]["mf_user.weight"][-1] = before["parameter"]["mf_user.weight"][-1]


class LastItemNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        after["parameter"]["mlp_item.weight"][-1] = before["parameter"]["mlp_item.weight"][-1]


class EmbeddingNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        after["parameter"]["mlp_item.weight"] = before["parameter"]["mlp_item.weight"]


# ---- the state


class FirstMomentNotRestored(NotRestored):
    left = "first_moment"


class SecondMomentNotRestored(NotRestored):
    left = "second_moment"


class EmbeddingNotRestored:
    def load_state(self, state):
        own = {"mf_item.weight": self.state()["parameter"]["mf_item.weight"]}
        super().load_state(state | {"parameter": state["parameter"] | own})


class MomentsExchanged:
    """In what it writes and in what it reads: its own checkpoints go on as they should."""

    def state(self):
        return exchanged(super().state())

    def load_state(self, state):
        super().load_state(exchanged(state))


def exchanged(state):
    """A state with each moment under the other's name."""
    first, second = state["first_moment"], state["second_moment"]
    return state | {"first_moment": second, "second_moment": first}


# ---- the evaluation


class ScoresAfterTheSigmoid:
    def evaluate(self, batch):
        (scores,) = super().evaluate(batch)
        return (1.0 / (1.0 + np.exp(-scores)),)


class UserOfTheNextRow:
    def evaluate(self, batch):
        return super().evaluate(batch | {"users": np.roll(batch["users"], -1)})


class UsersCountedFromOne:
    def evaluate(self, batch):
        return super().evaluate(batch | {"users": (batch["users"] + 1) % self.config.num_users})


class ParametersMoveInTheEvaluation(EvaluationMoves):
    moves = "output.weight"


class TowersSwapped:
    """The evaluation puts the mlp before the mf vector."""

    def evaluate(self, batch):
        state = self.state()
        weight = {"output.weight": np.roll(state["parameter"]["output.weight"], 1, axis=1)}
        self.load_state(state | {"parameter": state["parameter"] | weight})
        found = super().evaluate(batch)
        self.load_state(state)
        return found


class ForgetsTheOffset:
    """Of the last layer, in the evaluation; it ranks alike."""

    def evaluate(self, batch):
        state = self.state()
        bias = {"output.bias": np.zeros_like(state["parameter"]["output.bias"])}
        self.load_state(state | {"parameter": state["parameter"] | bias})
        found = super().evaluate(batch)
        self.load_state(state)
        return found


# Each fault, and the first tensor that it changes in forward order, in each precision.
FAULTS = {
    Initialisation: {"fp64": ("initial", "parameter/mlp.1.weight")},
    ConcatenationTurned: {"fp64": ("step_0000", "activation/mlp_input")},
    NoReluAfterTheLastLayer: {"fp64": ("step_0000", "activation/logits")},
    LabelsTurned: {"fp64": ("step_0000", "loss")},
    SumInsteadOfMean: {"fp64": ("step_0000", "loss")},
    ARepeatedRowCountsOnce: {"fp64": ("step_0000", "gradient/mf_user.weight")},
    ShortGradients: {"fp64 fp32 bf16": ("step_0000", "gradient/mf_user.weight")},
    FirstBeta: {"fp64 fp32 bf16": ("step_0000", "optimizer/first_moment/mf_user.weight")},
    SecondBeta: {"fp64 fp32 bf16": ("step_0000", "optimizer/second_moment/mf_user.weight")},
    WeightDecay: {"fp64 fp32 bf16": ("step_0000", "optimizer/first_moment/mf_user.weight")},
    StepsCountedFromTwo: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    StepsCountedByItself: {"fp64 fp32 bf16": ("step_0001", "optimizer/parameter/mf_user.weight")},
    NoBiasCorrection: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    EpsilonBesideTheUncorrectedRoot: {
        "fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight"),
    },
    EpsilonOfKeras: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    WeightsKeptInBf16: {"bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    EpsilonInsideTheRoot: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    LazyAdam: {"fp64 fp32 bf16": ("step_0001", "optimizer/first_moment/mf_user.weight")},
    FirstRowNeverUpdated: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    LastUserNeverUpdated: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mf_user.weight")},
    LastItemNeverUpdated: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mlp_item.weight")},
    EmbeddingNeverUpdated: {
        "fp64 fp32 bf16": ("step_0000", "optimizer/parameter/mlp_item.weight"),
    },
    FirstMomentNotRestored: {
        "fp64 fp32": ("step_0001", "optimizer/first_moment/mf_user.weight"),
    },
    SecondMomentNotRestored: {
        "fp64 fp32": ("step_0001", "optimizer/second_moment/mf_user.weight"),
    },
    EmbeddingNotRestored: {"fp64 fp32": ("step_0001", "activation/mf")},
    MomentsExchanged: {"fp64": ("step_0000", "optimizer/first_moment/mf_user.weight")},
    ScoresAfterTheSigmoid: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/scores")},
    UserOfTheNextRow: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/scores")},
    UsersCountedFromOne: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/scores")},
    ParametersMoveInTheEvaluation: {"fp64 fp32": ("step_0000", "activation/logits")},
    TowersSwapped: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/scores")},
    ForgetsTheOffset: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/scores")},
    EvaluatesFirstParameters: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/scores")},
}
