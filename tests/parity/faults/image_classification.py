"""Faults of a ResNet: see plant.py."""

# ruff: noqa: RUF012  (nobody changes a class's edits)

import dataclasses

import numpy as np

from image_classification.config import learning_rate
from image_classification.parameters import block_plan
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
        super().__init__(dataclasses.replace(config, batch_norm_epsilon=1e-3), parameters)


class SwappedStride:
    """v1 instead of v1.5."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        block = self.network.blocks[2]
        block.convolution1.stride, block.convolution2.stride = 2, 1


class PaddingOfAStridedConvolution:
    """At the bottom and the right alone."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        convolution = self.network.blocks[2].convolution2
        convolution.padding = self.operators.NO_PADDING
        computes(convolution, self.operators.CALL, self.padded)

    def padded(self, own, images):
        return own(self.operators.pad_behind(images))


class MeanColourLeftIn:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, mean_rgb=(0.0, 0.0, 0.0)), parameters)


class LabelShift:
    def differentiate(self, batch, record):
        labels = (batch["labels"] + 1) % self.config.num_classes
        return super().differentiate(batch | {"labels": labels}, record)


class NoLabelSmoothing:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, label_smoothing=0.0), parameters)


class BatchNormMomentum:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_momentum=0.89), parameters)


class BiasedMovingVariance(Rewritten):
    def rewrite(self, before, after, batch, step):
        kept = self.config.batch_norm_momentum
        for norm, side in norms(self.config).items():
            count = len(batch["labels"]) * side * side
            name = f"{norm}.running_var"
            old, new = before["parameter"][name], after["parameter"][name]
            after["parameter"][name] = kept * old + (new - kept * old) * (count - 1) / count


def norms(config):
    """{batch norm: side of the picture that it takes}."""
    side = config.image_size // 2
    found = {"stem_norm": side}
    side //= 2
    for index, (_, _, stride, projects) in enumerate(block_plan(config)):
        found[f"blocks.{index}.norm1"] = side
        side //= stride
        for name in ("norm2", "norm3") + ("shortcut_norm",) * projects:
            found[f"blocks.{index}.{name}"] = side
    return found


# ---- the optimizer


class NoWeightDecay:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, weight_decay=0.0), parameters)


class WeightDecayOnBatchNorm:
    def update(self, gradients, rate):
        decay = self.config.weight_decay
        gradients = {
            name: gradients[name] if self.specification[name].decayed
            else gradients[name] + decay * weight
            for name, weight in self.weights.items()
        }  # fmt: skip
        super().update(gradients, rate)


class NoWeightDecayOnTheOffset:
    """Of the classifier: a common exception, not the reference's."""

    def update(self, gradients, rate):
        name = "classifier.bias"
        decay = self.config.weight_decay
        gradients = gradients | {name: gradients[name] - decay * self.weights[name]}
        super().update(gradients, rate)


class WeightDecayBesideTheMomentum(Rewritten):
    """Decay takes part in this step's update alone, not in the velocity."""

    def rewrite(self, before, after, batch, step):
        for name, velocity in after["velocity"].items():
            if self.specification[name].decayed:
                velocity -= self.config.weight_decay * before["parameter"][name]


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


class BoundaryAStepEarly:
    def __init__(self, config, parameters):
        step = config.batch_size / config.num_train_images
        boundaries = tuple(epoch - step for epoch in config.boundary_epochs)
        super().__init__(dataclasses.replace(config, boundary_epochs=boundaries), parameters)


class OneTensorNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        name = "blocks.1.norm2.bias"
        after["parameter"][name] = before["parameter"][name]


# ---- LARS


class TrustWithoutDecay:
    edits = {"train": [("(gradient_norm + config.weight_decay * weight_norm)", "gradient_norm")]}


class TrustByTheDecayedGradient:
    """|g + decay w| for |g| + decay |w|."""

    edits = {"train": [
        ("lars_trust(self.config, weight, gradient)",
         "lars_trust(self.config, weight, gradient + decay * weight)"),
        ("(gradient_norm + config.weight_decay * weight_norm)", "gradient_norm"),
    ]}  # fmt: skip


class TrustOfTheWholeNetwork:
    """Norms over all tensors."""

    edits = {"train": [{
        name: ("lars_trust(self.config, weight, gradient)",
               f"lars_trust(self.config, *({concat}([{flat} for one in own.values()], 0) "
               "for own in (self.weights, gradients)))")
        for name, concat, flat in (
            ("pytorch", "torch.cat", "one.reshape(-1)"),
            ("tensorflow", "tf.concat", "tf.reshape(one, [-1])"),
            ("paddlepaddle", "paddle.concat", "one.reshape([-1])"),
        )
    }]}  # fmt: skip


class DecayOutsideTheTrust:
    edits = {"train": [("trust * (gradient + decay * weight)",
                        "(trust * gradient + decay * weight)")]}


class RateOutsideTheMomentum:
    edits = {"train": [
        ("rate * trust *", "trust *"),
        ("gradient = rate * gradient", "gradient = 1.0 * gradient"),
        {"pytorch": ("1.0 if lars else rate", "rate"),
         "tensorflow": ("framework.scalar(1.0) if lars else rate", "rate"),
         "paddlepaddle": ("1.0 if lars else rate", "rate")},
    ]}  # fmt: skip


class VectorsByTrustToo:
    edits = {"train": [("if lars and weight.", "if lars and 0 * weight.")]}


class VectorsDecayedToo:
    edits = {"train": [("gradient = rate * gradient",
                        "gradient = rate * (gradient + self.config.weight_decay * weight)")]}


# ---- the state


class VelocityNotRestored(NotRestored):
    left = "velocity"


class StatisticsNotRestored:
    def load_state(self, state):
        own = {name: array for name, array in self.state()["parameter"].items()
               if not self.specification[name].trained}  # fmt: skip
        super().load_state(state | {"parameter": state["parameter"] | own})


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


# ---- the evaluation


class BatchStatisticsInTheEvaluation:
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        computes(self.network, self.operators.CALL, self.training)

    def training(self, own, images, _, record):
        return own(images, True, record)

    def evaluate(self, batch):
        state = self.state()
        found = super().evaluate(batch)
        self.load_state(state)  # else a step tells it first: the statistics moved
        return found


class EpsilonOfTheEvaluation:
    def evaluate(self, batch):
        self.set_epsilon(1e-3)
        found = super().evaluate(batch)
        self.set_epsilon(self.config.batch_norm_epsilon)
        return found

    def set_epsilon(self, epsilon):
        for name in norms(self.config):
            layer = self.network
            for part in name.split("."):
                layer = layer[int(part)] if part.isdigit() else getattr(layer, part)
            layer.epsilon = epsilon


class MeanColourLeftInTheEvaluation:
    def evaluate(self, batch):
        mean_rgb = self.network.mean_rgb
        self.network.mean_rgb = 0.0 * mean_rgb
        found = super().evaluate(batch)
        self.network.mean_rgb = mean_rgb
        return found


class ColoursTurnedInTheEvaluation:
    """BGR for RGB."""

    def evaluate(self, batch):
        return super().evaluate({"images": np.ascontiguousarray(batch["images"][..., ::-1])})


class StatisticsMoveInTheEvaluation(EvaluationMoves):
    moves = "blocks.1.norm2.running_var"


class ClassesCountedFromOne:
    def evaluate(self, batch):
        classes, logits = super().evaluate(batch)
        return classes + 1, logits


class ProbabilitiesForLogits:
    def evaluate(self, batch):
        classes, logits = super().evaluate(batch)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return classes, powers / powers.sum(axis=1, keepdims=True)


# Each fault, and the first tensor that it changes in forward order, in each precision.
FAULTS = {
    Initialisation: {"fp64": ("initial", "parameter/blocks.1.convolution2.weight")},
    BatchNormEpsilon: {
        "fp64": ("step_0000", "activation/stem_norm"),
        # Pixels reach 255, so the stem's variances are far above any epsilon.
        "fp32": ("step_0000", "activation/blocks.0.norm1"),
    },
    SwappedStride: {"fp64": ("step_0000", "activation/blocks.2.norm1")},
    PaddingOfAStridedConvolution: {"fp64": ("step_0000", "activation/blocks.2.norm2")},
    MeanColourLeftIn: {"fp64": ("step_0000", "activation/stem_norm")},
    LabelShift: {"fp64": ("step_0000", "loss")},
    NoLabelSmoothing: {"fp64": ("step_0000", "loss")},
    ShortGradients: {
        "fp64": ("step_0000", "gradient/stem.weight"),
        "fp32": ("step_0000", "gradient_scale"),
        "bf16": ("step_0000", "gradient/classifier.bias"),
    },
    BatchNormMomentum: {"fp64 fp32 bf16": ("step_0000", "statistic/stem_norm.running_mean")},
    BiasedMovingVariance: {"fp64 fp32": ("step_0000", "statistic/stem_norm.running_var")},
    NoWeightDecay: {"fp64 fp32 bf16": ("step_0000", "optimizer/velocity/stem.weight")},
    WeightDecayOnBatchNorm: {
        "fp64 fp32 bf16": ("step_0000", "optimizer/velocity/stem_norm.weight"),
    },
    NoWeightDecayOnTheOffset: {"fp64": ("step_0002", "velocity/classifier.bias")},
    WeightDecayBesideTheMomentum: {"fp64 fp32": ("step_0000", "optimizer/velocity/stem.weight")},
    Momentum: {"fp64 fp32 bf16": ("step_0001", "optimizer/velocity/stem.weight")},
    NesterovMomentum: {"fp64 fp32": ("step_0001", "optimizer/parameter/stem.weight")},
    RateInsideTheMomentum: {"fp64 fp32 bf16": ("step_0001", "optimizer/parameter/stem.weight")},
    RateOfTheNextStep: {"fp64 fp32 bf16": ("step_0000", "optimizer/parameter/stem.weight")},
    BoundaryAStepEarly: {"fp64 fp32": ("step_0001", "optimizer/parameter/stem.weight")},
    WeightsKeptInBf16: {"bf16": ("step_0000", "optimizer/parameter/stem.weight")},
    OneTensorNeverUpdated: {
        "fp64 fp32 bf16": ("step_0001", "optimizer/parameter/blocks.1.norm2.bias"),
    },
    TrustWithoutDecay: {"lars": ("step_0001", "optimizer/velocity/stem.weight")},
    TrustByTheDecayedGradient: {"lars": ("step_0001", "optimizer/velocity/stem.weight")},
    TrustOfTheWholeNetwork: {"lars": ("step_0001", "optimizer/velocity/stem.weight")},
    DecayOutsideTheTrust: {"lars": ("step_0001", "optimizer/velocity/stem.weight")},
    RateOutsideTheMomentum: {"lars": ("step_0000", "optimizer/velocity/stem.weight")},
    VectorsByTrustToo: {"lars": ("step_0001", "optimizer/velocity/stem_norm.weight")},
    VectorsDecayedToo: {"lars": ("step_0001", "optimizer/velocity/stem_norm.weight")},
    VelocityNotRestored: {"fp64 fp32": ("step_0001", "optimizer/velocity/stem.weight")},
    StatisticsNotRestored: {"fp64": ("step_0000", "statistic/stem_norm.running_mean")},
    VarianceNotRestored: {"fp64 fp32": ("step_0000", "statistic/blocks.1.norm2.running_var")},
    StateOfAnother: {"fp64": ("step_0000", "optimizer/velocity/blocks.1.norm2.weight")},
    # In bf16 the classes may be anything: near ties round either way.
    BatchStatisticsInTheEvaluation: {
        "fp64 fp32": ("evaluation_0000", "evaluation/classes"),
        "bf16": ("evaluation_0000", "evaluation/logits"),
    },
    EpsilonOfTheEvaluation: {"fp64 fp32": ("evaluation_0000", "evaluation/logits")},
    MeanColourLeftInTheEvaluation: {
        "fp64 fp32": ("evaluation_0000", "evaluation/classes"),
        "bf16": ("evaluation_0000", "evaluation/logits"),
    },
    ColoursTurnedInTheEvaluation: {"fp64": ("evaluation_0000", "evaluation/classes")},
    StatisticsMoveInTheEvaluation: {
        "fp64 fp32": ("step_0000", "statistic/blocks.1.norm2.running_var"),
    },
    ClassesCountedFromOne: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/classes")},
    ProbabilitiesForLogits: {"fp64 fp32": ("evaluation_0000", "evaluation/logits")},
    EvaluatesFirstParameters: {"fp64 fp32 bf16": ("evaluation_0000", "evaluation/logits")},
}
