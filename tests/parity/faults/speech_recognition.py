"""Faults of Deep Speech 2: see plant.py."""

# ruff: noqa: RUF012  (nobody changes a class's edits)

import dataclasses

from speech_recognition.config import learning_rate
from tests.parity.faulty import (
    EvaluatesFirstParameters,
    EvaluationMoves,
    NotRestored,
    OtherInitialValues,
    Rewritten,
    ShortGradients,
    WeightsKeptInBf16,
)

# ---- the training step


class Initialisation(OtherInitialValues):
    drawn = "layers.1.hidden_weight"


class KnowsLengths:
    """The network and its layers know the length of each utterance, as `lengths`."""

    def loss(self, batch, record):
        self.tell(batch)
        return super().loss(batch, record)

    def evaluate_on_device(self, batch):
        self.tell(batch)
        return super().evaluate_on_device(batch)

    def tell(self, batch):
        for part in (self.network, *self.network.layers):
            part.lengths = batch["lengths"]


class OneStepLessExists:
    edits = {"model": [("]) - steps", "]) - steps + 1")]}


class BatchNormCountsWhatDoesNotExist:
    edits = {"model": [{
        "pytorch": ("self.norm(x.movedim(1, 3), exists, training)",
                    "self.norm(x.movedim(1, 3), 0.0 * exists + 1.0, training) * exists"),
        "tensorflow": ("self.norm(x, exists, training)",
                       "self.norm(x, 0.0 * exists + 1.0, training) * exists"),
        "paddlepaddle": ("self.norm(x.moveaxis(1, 3), exists, training)",
                         "self.norm(x.moveaxis(1, 3), 0.0 * exists + 1.0, training) * exists"),
    }]}  # fmt: skip


class BatchNormLeavesPaddingOut(KnowsLengths):
    """Between the recurrent layers, of what lies behind an utterance's end."""

    edits = {"model": [{
        "pytorch": (
            "x = self.norm(x.transpose(0, 1), exists, training).transpose(0, 1)\n        x = torch",
            "heard = (torch.arange(len(x)) < self.lengths[:, None]).flatten()[:, None].to(x.dtype)"
            "; x = self.norm(x.transpose(0, 1).flatten(0, 1)[None], heard, training)[0].unflatten("
            "0, (x.shape[1], len(x))).transpose(0, 1)\n        x = torch",
        ),
        "tensorflow": (
            "x = _turned(self.norm(_turned(x), exists, training))\n        x = tf.stack",
            "heard = tf.cast(tf.reshape(tf.sequence_mask(self.lengths, len(x)), [-1, 1]), x.dtype)"
            "; x = _turned(tf.reshape(self.norm(tf.reshape(_turned(x), [1, -1, x.shape[2]]), heard,"
            " training), _turned(x).shape))\n        x = tf.stack",
        ),
        "paddlepaddle": (
            "x = self.norm(x.transpose(0, 1), exists, training).transpose(0, 1)\n"
            "        x = paddle",
            'heard = (paddle.arange(len(x)) < self.lengths[:, None].astype("int64")).flatten()'
            "[:, None].astype(x.dtype); x = self.norm(x.transpose(0, 1).flatten(0, 1)[None],"
            " heard, training)[0].reshape([x.shape[1], len(x), -1]).transpose(0, 1)\n"
            "        x = paddle",
        ),
    }]}  # fmt: skip


class BatchNormEpsilon:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_epsilon=1e-3), parameters)


class FrequencyMajorFeatures:
    """The convolutions' output flattened frequency first."""

    edits = {"model": [{
        "pytorch": ("x.permute(3, 0, 1, 2)", "x.permute(3, 0, 2, 1)"),
        "tensorflow": ("tf.transpose(x, [2, 0, 3, 1])", "tf.transpose(x, [2, 0, 1, 3])"),
        "paddlepaddle": ("x.permute(3, 0, 1, 2)", "x.permute(3, 0, 2, 1)"),
    }]}  # fmt: skip


class UpdateGateFirst:
    """Keras's order of the gates."""

    edits = {"model": [{
        "pytorch": ("reset, update, hidden = now", "update, reset, hidden = now"),
        "tensorflow": ("reset, update = tf.split(gates", "update, reset = tf.split(gates"),
        "paddlepaddle": ("reset, update = gates[step]", "update, reset = gates[step]"),
    }]}  # fmt: skip


class TheCandidatesBiasIsNotReset:
    """n = tanh(W x + b + r U h + c)."""

    edits = {"model": [{
        "pytorch": (
            "torch.addcmul(new[..., 2 * size :], reset, hidden, out=candidate)",
            "own = bias[:, None, 2 * size :]; "
            "torch.addcmul(new[..., 2 * size :] + own, reset, hidden - own, out=candidate)",
        ),
        "tensorflow": (
            "reset * hidden)",
            "reset * (hidden - bias[:, None, 2 * size :]) + bias[:, None, 2 * size :])",
        ),
        "paddlepaddle": (
            "reset * hiddens[step]",
            "reset * (hiddens[step] - bias[:, None, 2 * size :]) + bias[:, None, 2 * size :]",
        ),
    }]}  # fmt: skip


class TheResetGateBeforeTheProduct:
    """n = tanh(W x + b + U (r h) + c), as in the paper."""

    edits = {"model": [{
        "pytorch": (
            "torch.addcmul(new[..., 2 * size :], reset, hidden, out=candidate)",
            "hidden = torch.baddbmm(bias[:, None], reset * states[step], turned)[..., 2 * size :]; "
            "torch.add(new[..., 2 * size :], hidden, out=candidate)",
        ),
        "tensorflow": (
            "reset * hidden)",
            "(tf.matmul(reset * before[-1], turned) + bias[:, None])[..., 2 * size :])",
        ),
        "paddlepaddle": (
            "reset * hiddens[step]",
            "paddle.baddbmm(bias[:, None], reset * states[step], turned)[..., 2 * size :]",
        ),
    }]}  # fmt: skip


class TheBackwardDirectionStartsAtEachUtterancesEnd(KnowsLengths):
    edits = {"model": [
        {
            "pytorch": ("back = ", "places, steps = places[:, None], self.lengths; back = "),
            "tensorflow": ("back = ", "places, steps = places[:, None], self.lengths; back = "),
            "paddlepaddle": (
                "back = ",
                'places, steps = places[:, None], self.lengths.astype("int64"); back = ',
            ),
        },
        {
            "pytorch": ("x.index_select(0, back)", "x.take_along_dim(back[:, :, None], 0)"),
            "tensorflow": (
                "tf.gather(x, back)",
                "_turned(tf.gather(_turned(x), tf.transpose(back), batch_dims=1))",
            ),
            "paddlepaddle": ("x.index_select(0, back)", "x.take_along_axis(back[:, :, None], 0)"),
        },
        {
            "pytorch": ("states[1].index_select(0, back)",
                        "states[1].take_along_dim(back[:, :, None], 0)"),
            "tensorflow": (
                "tf.gather(states[1], back)",
                "_turned(tf.gather(_turned(states[1]), tf.transpose(back), batch_dims=1))",
            ),
            "paddlepaddle": ("states[1].index_select(0, back)",
                             "states[1].take_along_axis(back[:, :, None], 0)"),
        },
    ]}  # fmt: skip


class TheBackwardDirectionStartsWhereNothingExists:
    edits = {"model": [("self.recur(x, exists, steps,",
                        "self.recur(x, exists, 0 * steps + exists.shape[0],")]}


class BlankIsTheLastSymbol:
    edits = {"train": [{
        "pytorch": ("ctc_loss(logits,", "ctc_loss(logits.roll(1, 2),"),
        "tensorflow": ("ctc_loss(logits,", "ctc_loss(tf.roll(logits, 1, 2),"),
        "paddlepaddle": ("ctc_loss(logits,", "ctc_loss(logits.roll(1, 2),"),
    }]}  # fmt: skip


class LengthsOneStepTooShort:
    edits = {"train": [('batch["labels"], batch["lengths"])',
                        'batch["labels"], batch["lengths"] - 1)')]}


class LengthsOneStepTooLong:
    edits = {"train": [('batch["labels"], batch["lengths"])',
                        'batch["labels"], batch["lengths"] + 1)')]}


class MeanOverTheLabels:
    """Each loss over its number of labels."""

    edits = {"model": [{
        "pytorch": ("losses.sum()", "(losses / (labels != 0).sum(dim=1)).sum()"),
        "tensorflow": (
            "tf.reduce_sum(losses)",
            "tf.reduce_sum(losses / tf.math.count_nonzero(labels, 1, dtype=losses.dtype))",
        ),
        "paddlepaddle": (
            "losses.sum()", "(losses / (labels != 0).sum(dim=1).astype(losses.dtype)).sum()",
        ),
    }]}  # fmt: skip


class SumOverTheBatch:
    edits = {"model": [{
        "pytorch": ("losses.sum() / utterances(lengths).clamp(min=1)", "losses.sum()"),
        "tensorflow": ("tf.reduce_sum(losses) / tf", "tf.reduce_sum(losses) + 0.0 * tf"),
        "paddlepaddle": ("losses.sum() / utterances(lengths).clamp(min=1)", "losses.sum()"),
    }]}  # fmt: skip


class InfiniteLossesAreNoUtterances:
    edits = {"model": [{
        "pytorch": ("utterances(lengths).clamp(min=1)", "(losses > 0.0).sum()"),
        "tensorflow": ("tf.maximum(utterances(lengths), 1)", "tf.math.count_nonzero(losses)"),
        "paddlepaddle": ("utterances(lengths).clamp(min=1)",
                         "(losses > 0.0).astype(losses.dtype).sum()"),
    }]}  # fmt: skip


class InfiniteLossesStay:
    edits = {"model": [{
        "pytorch": ("zero_infinity=True", "zero_infinity=False"),
        "tensorflow": ("tf.where(sums > NEVER / 2.0, -sums, 0.0)", "-sums"),
        "paddlepaddle": ("losses * (lengths > 0).astype(losses.dtype)",
                         'paddle.where(losses > 0.0, losses, losses + float("inf"))'),
    }]}  # fmt: skip


class TheCandidatesHiddenSumIsNotResetBackwards:
    edits = {"model": [{
        "pytorch": ("= candidate_factors * reset\n", "= candidate_factors\n"),
        "tensorflow": ("candidate_factors * reset,\n", "candidate_factors,\n"),
        "paddlepaddle": ("candidate_factors * reset,\n", "candidate_factors,\n"),
    }]}  # fmt: skip


class StatisticsMomentum:
    """The suite's own 0.9 in place of the record's 0.875."""

    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, batch_norm_momentum=0.9), parameters)


class BiasedMovingVariance:
    edits = {"model": [{
        "pytorch": ("(count / (count - 1.0).clamp(min=1.0))", "1.0"),
        "tensorflow": ("(count / tf.maximum(count - 1.0, 1.0))", "1.0"),
        "paddlepaddle": ("(count / (count - 1.0).clamp(min=1.0))", "1.0"),
    }]}


# ---- the optimizer


class ClipsTheSumOverTheBatch:
    """Before it is averaged."""

    edits = {"train": [("self.config.clip_norm", "(self.config.clip_norm / "
                        "self.config.batch_size)")]}  # fmt: skip


class ClipsEachTensorByItself:
    edits = {"train": [{
        "pytorch": (
            "torch.nn.utils.clip_grad_norm_(self.weights.values(),",
            "for weight in self.weights.values(): torch.nn.utils.clip_grad_norm_([weight],",
        ),
        "tensorflow": ("share * gradient", "tf.clip_by_norm(gradient, self.config.clip_norm)"),
        "paddlepaddle": (
            "multiply_(share)",
            "multiply_((self.config.clip_norm / gradients[name].square().sum().sqrt())"
            ".clip(max=1.0))",
        ),
    }]}  # fmt: skip


class ClipsNothing:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, clip_norm=1e9), parameters)


class Momentum:
    """The suite's own 0.9 in place of the record's 0.875."""

    edits = {"train": [("momentum=config.momentum", "momentum=0.9")]}


class PlainMomentum:
    edits = {"train": [("nesterov=True", "nesterov=False")]}


class NesterovByTheOldVelocity(Rewritten):
    """w - rate (g + momentum (v before the step))."""

    def rewrite(self, before, after, batch, step):
        rate, momentum = learning_rate(self.config, step), self.config.momentum
        for name, old in before["velocity"].items():
            new = after["velocity"][name]
            after["parameter"][name] += rate * momentum * (new - old)


class RateInsideTheMomentum(Rewritten):
    """Keras's formula: v' = momentum v' + rate g, w = w - (rate g + momentum v').  The same while
    the rate stays.
    """

    def rewrite(self, before, after, batch, step):
        earlier = learning_rate(self.config, step - 1) if step else 0.0
        change = learning_rate(self.config, step) - earlier
        for name, velocity in before["velocity"].items():
            after["parameter"][name] += change * self.config.momentum**2 * velocity


class NeverAnnealed:
    edits = {"train": [("learning_rate(self.config, step)", "learning_rate(self.config, 0)")]}


class AnnealedAStepEarly:
    edits = {"train": [("learning_rate(self.config, step)",
                        "learning_rate(self.config, step + 1)")]}


class OneTensorNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        name = "layers.1.norm.bias"
        after["parameter"][name] = before["parameter"][name]


# ---- the state


class VelocityNotRestored(NotRestored):
    left = "velocity"


class StatisticsNotRestored:
    def load_state(self, state):
        own = {name: array for name, array in self.state()["parameter"].items()
               if not self.specification[name].trained}  # fmt: skip
        super().load_state(state | {"parameter": state["parameter"] | own})


# ---- the evaluation


class BatchStatisticsInTheEvaluation:
    edits = {"train": [('batch["steps"], False,', 'batch["steps"], True,')]}

    def evaluate(self, batch):
        state = self.state()
        found = super().evaluate(batch)
        self.load_state(state)  # else a step tells it first: the statistics moved
        return found


class StatisticsMoveInTheEvaluation(EvaluationMoves):
    moves = "layers.1.norm.running_var"


class NoLimitOfTheActivation:
    """Nothing reaches it in training."""

    edits = {"model": [("0.0, 20.0", "0.0, 1e9")]}


class KeepsRepeats:
    edits = {"decoding": [(" & (path != before)", "")]}


class KeepsBlanks:
    """Among the symbols, not behind them."""

    edits = {"decoding": [("exists & (path != BLANK)", "exists")]}


class RepeatsBesideABlankAreOne:
    """Blanks are taken out first."""

    edits = {"decoding": [
        ("before = np.pad(",
         "left = to_the_left(path, exists & (path != BLANK)); before = np.pad("),
        ("to_the_left(path, kept)", "to_the_left(left, (left != 0) & (left != np.pad(left[:, :-1], "
         "((0, 0), (1, 0)))))"),
    ]}  # fmt: skip


class HearsThePadding:
    edits = {"train": [('found, batch["lengths"])',
                        'found, 0 * batch["lengths"] + batch["steps"])')]}


class HearsOneStepLess:
    edits = {"train": [('found, batch["lengths"])', 'found, batch["lengths"] - 1)')]}


class ScoresOfTheLogits:
    """Not of the probabilities."""

    edits = {"train": [{
        "pytorch": (".log_softmax(dim=2).transpose(", ".transpose("),
        "tensorflow": ("tf.nn.log_softmax(logits, axis=2)", "logits"),
        "paddlepaddle": ("F.log_softmax(logits.astype(framework.dtype()), axis=2)", "logits"),
    }]}  # fmt: skip


ANY = "fp64 fp32 bf16"
WEIGHT = "convolutions.0.weight"
FIRST = {"fp64": ("step_0000", "activation/convolutions.0")}
RECURRENT = {"fp64": ("step_0000", "activation/layers.0")}
LOSS = {"fp64": ("step_0000", "loss")}
VELOCITY = {"fp64": ("step_0000", f"optimizer/velocity/{WEIGHT}")}
UPDATE = {"fp64": ("step_0000", f"optimizer/parameter/{WEIGHT}")}
SYMBOLS = {"fp64": ("evaluation_0000", "evaluation/symbols")}
# What decodes is one for all frameworks.
DECODED = {"fp64 pytorch": ("evaluation_0000", "evaluation/symbols")}
# In bf16 any symbols may be heard, and the scores tell.
HEARD = DECODED | {"bf16 pytorch": ("evaluation_0000", "evaluation/scores")}
SCORES = {"fp64": ("evaluation_0000", "evaluation/scores")}

# Each fault, and the first tensor that it changes in forward order, in each precision.
FAULTS = {
    Initialisation: {"fp64": ("initial", "parameter/layers.1.hidden_weight")},
    OneStepLessExists: FIRST,
    BatchNormCountsWhatDoesNotExist: FIRST,
    BatchNormEpsilon: {"fp64": ("step_0000", "activation/convolutions.0")},
    FrequencyMajorFeatures: RECURRENT,
    UpdateGateFirst: {"fp64 fp32": ("step_0000", "activation/layers.0")},
    TheCandidatesBiasIsNotReset: RECURRENT,
    TheResetGateBeforeTheProduct: RECURRENT,
    TheBackwardDirectionStartsAtEachUtterancesEnd: RECURRENT,
    TheBackwardDirectionStartsWhereNothingExists: RECURRENT,
    BatchNormLeavesPaddingOut: {"fp64": ("step_0000", "activation/layers.1")},
    BlankIsTheLastSymbol: LOSS,
    LengthsOneStepTooShort: LOSS,
    LengthsOneStepTooLong: LOSS,
    MeanOverTheLabels: LOSS,
    SumOverTheBatch: LOSS,
    InfiniteLossesAreNoUtterances: LOSS,
    InfiniteLossesStay: LOSS,
    TheCandidatesHiddenSumIsNotResetBackwards: {
        "fp64": ("step_0000", f"gradient/{WEIGHT}"),
    },
    ShortGradients: {"fp64 fp32": ("step_0000", f"gradient/{WEIGHT}")},
    StatisticsMomentum: {ANY: ("step_0000", "statistic/convolutions.0.norm.running_mean")},
    BiasedMovingVariance: {
        "fp64": ("step_0000", "statistic/convolutions.0.norm.running_var"),
        "fp32": ("step_0000", "statistic/layers.1.norm.running_var"),
    },
    ClipsTheSumOverTheBatch: {ANY: ("step_0000", f"optimizer/velocity/{WEIGHT}")},
    ClipsEachTensorByItself: VELOCITY,
    ClipsNothing: VELOCITY,
    Momentum: UPDATE,
    PlainMomentum: {ANY: ("step_0000", f"optimizer/parameter/{WEIGHT}")},
    NesterovByTheOldVelocity: UPDATE,
    RateInsideTheMomentum: {ANY: ("step_0002", f"optimizer/parameter/{WEIGHT}")},
    NeverAnnealed: {"fp64": ("step_0002", f"optimizer/parameter/{WEIGHT}")},
    AnnealedAStepEarly: {"fp64": ("step_0001", f"optimizer/parameter/{WEIGHT}")},
    WeightsKeptInBf16: {"bf16": ("step_0000", f"optimizer/parameter/{WEIGHT}")},
    OneTensorNeverUpdated: {"fp64": ("step_0000", "optimizer/parameter/layers.1.norm.bias")},
    VelocityNotRestored: {"fp64": ("step_0001", f"optimizer/velocity/{WEIGHT}")},
    StatisticsNotRestored: {
        "fp64": ("step_0000", "statistic/convolutions.0.norm.running_mean"),
    },
    BatchStatisticsInTheEvaluation: SYMBOLS,
    StatisticsMoveInTheEvaluation: {
        "fp64": ("step_0000", "statistic/layers.1.norm.running_var"),
    },
    NoLimitOfTheActivation: SYMBOLS,
    EvaluatesFirstParameters: SYMBOLS,
    KeepsRepeats: DECODED,
    KeepsBlanks: DECODED,
    RepeatsBesideABlankAreOne: DECODED,
    HearsThePadding: DECODED,
    HearsOneStepLess: HEARD,
    ScoresOfTheLogits: SCORES,
}
