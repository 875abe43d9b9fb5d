"""Faults of a Transformer: see plant.py."""

# ruff: noqa: RUF012  (nobody changes a class's edits)

import dataclasses

import numpy as np

from tests.parity.faulty import NotRestored, OtherInitialValues, Rewritten, ShortGradients
from translation.config import learning_rate

# ---- the training step


class Initialisation(OtherInitialValues):
    drawn = "encoder.0.feed_forward.hidden.weight"


class EmbeddingNotScaled:
    edits = {"model": [("self.scale = size**0.5", "self.scale = 1.0")]}


class PositionsInterleaved:
    edits = {"model": [(
        "table = positions(config.max_positions, config.hidden_size)",
        "table = positions(config.max_positions, config.hidden_size); "
        "table = table.reshape(len(table), 2, -1).swapaxes(1, 2).reshape(table.shape)",
    )]}  # fmt: skip


class EpsilonOfTheLayerNorm:
    """Ten times as large."""

    edits = {"model": [("1e-6", "1e-5")]}


class ResidualOfTheNormed:
    edits = {"model": [{
        "pytorch": ("return x + drop(seen", "return normed + drop(seen"),
        "tensorflow": ("return x + tf.cast(drop(seen", "return normed + tf.cast(drop(seen"),
        "paddlepaddle": ("return x + drop(seen", "return normed + drop(seen"),
    }]}  # fmt: skip


class EncoderSeesThePadding:
    edits = {"model": [("layer.self_attention(x, None, mask,",
                        "layer.self_attention(x, None, 0.0 * mask,")]}


class NoRelu:
    edits = {"model": [{
        "pytorch": ("F.relu(", "("),
        "tensorflow": ("tf.nn.relu(", "("),
        "paddlepaddle": ("F.relu(", "("),
    }]}  # fmt: skip


class TargetsBeginWithTheEndOfASentence:
    edits = {"model": [{
        "pytorch": (
            "F.pad(self.embedding(targets), (0, 0, 1, 0))[:, :-1]",
            "self.embedding(F.pad(targets, (1, 0), value=1)[:, :-1])",
        ),
        "tensorflow": (
            "tf.pad(self.embedding(targets), [[0, 0], [1, 0], [0, 0]])[:, :-1]",
            "self.embedding(tf.pad(targets, [[0, 0], [1, 0]], constant_values=1)[:, :-1])",
        ),
        "paddlepaddle": (
            "F.pad(self.embedding(targets), [0, 0, 1, 0, 0, 0])[:, :-1]",
            "self.embedding(paddle.concat([paddle.ones_like(targets[:, :1]), targets[:, :-1]], 1))",
        ),
    }]}  # fmt: skip


class LaterTargetsAreSeen:
    edits = {"model": [("(x, None, None, True, dropout)", "(x, None, None, False, dropout)")]}


class TheDecoderSeesThePadding:
    edits = {"model": [("memories[index], mask, False", "memories[index], None, False")]}


class LabelsSmoothedOverAllPieces:
    """The right piece takes part in the smoothing."""

    edits = {"formulas": [("smoothing / (vocabulary_size - 1)", "smoothing / vocabulary_size")]}


class MeanOverThePlacesEmptyOnesToo:
    edits = {"train": [('batch["targets"] != 0', 'batch["targets"] > -1')]}


class EmptyPlacesHaveALoss:
    edits = {"model": [("targets != 0", "targets > -1")]}


class GradientOfTheOutputAlone:
    """The embedding of sources and targets is not trained by what it looks up."""

    edits = {"model": [{
        "pytorch": ("F.embedding(pieces, self.weight)",
                    "F.embedding(pieces, self.weight.detach())"),
        "tensorflow": ("tf.gather(self.weight, pieces)",
                       "tf.gather(tf.stop_gradient(self.weight), pieces)"),
        "paddlepaddle": ("F.embedding(pieces, self.weight)",
                         "F.embedding(pieces, self.weight.detach())"),
    }]}  # fmt: skip


# ---- the optimizer


class FirstBeta:
    edits = {"train": [("config.adam_beta1", "0.89")]}


class SecondBeta:
    edits = {"train": [("config.adam_beta2", "0.999")]}


class NoBiasCorrection:
    edits = {"train": [("self.weights, step)", "self.weights, step + 1e6)")]}


class StepNotSet:
    """The optimizer counts by itself, or, where it cannot, from none."""

    edits = {"train": [{
        "pytorch": ("framework.set_step(self.optimizer, self.weights, step)", ""),
        "tensorflow": ("self.weights, step)", "self.weights, 0.0 * step)"),
        "paddlepaddle": ("framework.set_step(self.optimizer, self.weights, step)", ""),
    }]}  # fmt: skip


class RateOfTheNextStep:
    edits = {"train": [("learning_rate(self.config, step)",
                        "learning_rate(self.config, step + 1)")]}


class EpsilonInsideTheRoot(Rewritten):
    """The formula with its epsilon misplaced: large beside the smallest gradients."""

    def rewrite(self, before, after, batch, step):
        config = self.config
        betas = config.adam_beta1, config.adam_beta2
        first, second = (1.0 - beta ** (step + 1) for beta in betas)
        for name, weight in before["parameter"].items():
            m, v = (np.float64(after[sums][name]) for sums in ("first_moment", "second_moment"))
            shift = m / first / np.sqrt(v / second + config.adam_epsilon)
            after["parameter"][name] = weight - learning_rate(config, step) * shift


class EpsilonBesideTheUncorrectedRoot:
    edits = {"train": [{
        "pytorch": ("self.optimizer.step()",
                    'self.optimizer.param_groups[0]["eps"] = self.config.adam_epsilon '
                    "/ (1.0 - self.config.adam_beta2 ** (step + 1)) ** 0.5; self.optimizer.step()"),
        "tensorflow": ("self.optimizer.step(",
                       "self.optimizer.epsilon = self.config.adam_epsilon / "
                       "(1.0 - self.config.adam_beta2 ** (step + 1.0)) ** 0.5; "
                       "self.optimizer.step("),
        "paddlepaddle": ("self.optimizer.step()",
                         "self.optimizer._epsilon = self.config.adam_epsilon / "
                         "(1.0 - self.config.adam_beta2 ** (step + 1)) ** 0.5; "
                         "self.optimizer.step()"),
    }]}  # fmt: skip


class LazyAdam(Rewritten):
    """Pieces that the batch does not hold stay as they are."""

    def rewrite(self, before, after, batch, step):
        absent = np.setdiff1d(np.arange(self.config.vocabulary_size),
                              [*batch["sources"].flat, *batch["targets"].flat])
        for group in after:
            name = "embedding.weight"
            after[group][name][absent] = before[group][name][absent]


class EmbeddingNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        after["parameter"]["embedding.weight"] = before["parameter"]["embedding.weight"]


class StepOnShortGradients:
    edits = {"train": [("self.update(gradients,",
                        "self.update({name: 0.97 * gradients[name] for name in gradients},")]}


# ---- the state


class FirstMomentNotRestored(NotRestored):
    left = "first_moment"


class SecondMomentNotRestored(NotRestored):
    left = "second_moment"


class StateOfAnotherSum:
    def state(self):
        found = super().state()
        return found | {"second_moment": found["first_moment"]}


# ---- decoding


class PadHasAVector:
    """Decoding begins with it; in training nobody sees it."""

    edits = {"model": [("pieces != 0", "pieces > -1")]}


class PaddingSeenInDecoding:
    edits = {"model": [("(x, memory, mask, False, 0.0)", "(x, memory, None, False, 0.0)")]}


class PositionOfTheNextPlace:
    edits = {"model": [("]]  # [B, K, D]", "] + 1]  # [B, K, D]")]}


class DropoutInTheEncoderOfDecoding:
    edits = {"model": [("self.encode(sources, 0.0, ignore)", "self.encode(sources, 0.1, ignore)")]}


class DropoutInDecoding:
    edits = {"model": [("layer.feed_forward(x, 0.0)", "layer.feed_forward(x, 0.1)")]}


class KeysOfTheBeamsMixedUp:
    edits = {"model": [{
        "pytorch": ("old[parents]", "old"),
        "tensorflow": ("tf.gather(old, parents)", "old"),
        "paddlepaddle": ("old[parents]", "old"),
    }]}  # fmt: skip


class ParentsOfTheFirstSentence:
    edits = {"beam_search": [("(first_beams + parents)", "(0 * first_beams + parents)")]}


class KWaysOn:
    """Not 2 K of them: fewer beams go on where some end."""

    edits = {"model": [("2 * scores.shape[1]", "scores.shape[1]")]}


class ScoresOfTheLastPieceAlone:
    edits = {"model": [(" + scores[:, :, None]", " + 0.0 * scores[:, :1, None]")]}


class HalfAsManyBeams:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, beam_size=config.beam_size // 2), parameters)


class OtherAlpha:
    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, alpha=0.5), parameters)


class PenaltyOverFive:
    edits = {"beam_search": [("/ 6.0)", "/ 5.0)")]}


class PenaltyWithoutItsFive:
    edits = {"beam_search": [("(5.0 + length)", "length")]}


class PenaltyWithoutTheEnd:
    edits = {"beam_search": [("scores / length_penalty(length,",
                              "scores / length_penalty(length - 1,")]}


class ScoresNotDivided:
    edits = {"beam_search": [("scores / length_penalty(length, alpha)", "scores")]}


class UnendedScoresDivided:
    edits = {"beam_search": [("ended_scores[:, 0], alive_scores[:, 0])",
                              "ended_scores[:, 0], "
                              "alive_scores[:, 0] / length_penalty(limit, alpha))")]}


class NothingWhereNoneEnded:
    edits = {"beam_search": [("ended[:, 0], alive[:, 0])", "ended[:, 0], 0 * alive[:, 0])")]}


class TheEndDoesNotEnd:
    edits = {"beam_search": [("ends = pieces == END", "ends = pieces == -1")]}


class EndedBeamsGoOn:
    edits = {"beam_search": [("np.where(ends, -np.inf, scores)", "scores")]}


class StopsWhenEachHasEnded:
    edits = {"beam_search": [(" & (worst > reachable)", "")]}


class StopsWhenOneHasEnded:
    edits = {"beam_search": [("np.all(np.isfinite(ended_scores[:, 0]) & (worst > reachable))",
                              "np.any(np.isfinite(ended_scores[:, 0]))")]}


class PiecesAllZero:
    def evaluate(self, batch):
        pieces, scores = super().evaluate(batch)
        return 0 * pieces, scores


class OnePieceMore:
    edits = {"beam_search": [("length + config.extra_decode_length",
                              "length + config.extra_decode_length + 1")]}


class OnePieceLess:
    edits = {"beam_search": [("length + config.extra_decode_length",
                              "length + config.extra_decode_length - 1")]}


# ---- dropout by given masks.  Before the ReLU or behind it, the hidden places' mask does the same.


class MaskTurned:
    edits = {"model": [("dropout.next(),", "~dropout.next(),")]}


class ShareNotScaledUp:
    edits = {"model": [("x / (1.0 - dropout.share)", "x")]}


class TargetsNotDropped:
    edits = {"model": [('x = drop(x, dropout)\n        record("target"',
                        'drop(x, dropout)\n        record("target"')]}


class AttentionNotDropped:
    edits = {"model": [("drop(seen, dropout)", "(drop(seen, dropout), seen)[1]")]}


class DroppedBehindTheResidualSum:
    edits = {"model": [{
        "pytorch": ("x + drop(seen, dropout)", "drop(x + seen, dropout)"),
        "tensorflow": ("x + tf.cast(drop(seen, dropout), x.dtype)", "drop(x + seen, dropout)"),
        "paddlepaddle": ("x + drop(seen, dropout)", "drop(x + seen, dropout)"),
    }]}  # fmt: skip


SOFTMAX = {
    "pytorch": "drop(F.softmax(scores, dim=3), dropout)",
    "tensorflow": "drop(tf.nn.softmax(scores), dropout)",
    "paddlepaddle": "drop(F.softmax(scores, axis=3), dropout)",
}


class ScoresDropped:
    """Before the softmax."""

    edits = {"model": [{
        name: (text, text[5:-10].replace("scores", "drop(scores, dropout)"))
        for name, text in SOFTMAX.items()
    }]}  # fmt: skip


class WeightsNotDropped:
    edits = {"model": [{name: (text, f"({text}, {text[5:-10]})[1]")
                        for name, text in SOFTMAX.items()}]}


class WeightsOfAllHeadsAlike:
    """One mask for the heads."""

    edits = {"model": [("dropout.next(),", "(lambda mask: mask[:, :1] if len(mask.shape) == 4 "
                        "else mask)(dropout.next()),")]}


class HiddenPlacesNotDropped:
    edits = {"model": [("self.output(drop(hidden, dropout))",
                        "self.output((drop(hidden, dropout), hidden)[1])")]}


class FeedForwardNotDropped:
    edits = {"model": [("drop(self.output(drop(hidden, dropout)), dropout)",
                        "(one := self.output(drop(hidden, dropout)), drop(one, dropout))[0]")]}


EMBEDDING = "embedding.weight"
ANY = "fp64 fp32 bf16"
FIRST = {ANY: ("step_0000", f"optimizer/first_moment/{EMBEDDING}")}
SECOND = {ANY: ("step_0000", f"optimizer/second_moment/{EMBEDDING}")}
# The first step's rate is 0.
UPDATE = {ANY: ("step_0001", f"optimizer/parameter/{EMBEDDING}")}
PIECES = {ANY: ("evaluation_0000", "evaluation/pieces")}


def decoded(first, tensor="pieces", short=None):
    """Where a fault of decoding is named first: in which evaluation, and in which in bf16.  There
    some sentences may be decoded otherwise, and the scores tell."""
    short = first if short is None else short
    return {"fp64 fp32": (f"evaluation_{first:04d}", f"evaluation/{tensor}"),
            "bf16": (f"evaluation_{short:04d}", "evaluation/scores")}


# Each fault, and the first tensor that it changes in forward order, in each precision.
FAULTS = {
    Initialisation: {"fp64": ("initial", "parameter/encoder.0.feed_forward.hidden.weight")},
    EmbeddingNotScaled: {"fp64": ("step_0000", "activation/source")},
    PositionsInterleaved: {"fp64": ("step_0000", "activation/source")},
    EpsilonOfTheLayerNorm: {"fp64 fp32": ("step_0000", "activation/encoder.0.self_attention")},
    ResidualOfTheNormed: {"fp64": ("step_0000", "activation/encoder.0.self_attention")},
    EncoderSeesThePadding: {"fp64": ("step_0000", "activation/encoder.0.self_attention")},
    NoRelu: {"fp64": ("step_0000", "activation/encoder.0.feed_forward")},
    TargetsBeginWithTheEndOfASentence: {"fp64": ("step_0000", "activation/target")},
    LaterTargetsAreSeen: {"fp64": ("step_0000", "activation/decoder.0.self_attention")},
    TheDecoderSeesThePadding: {"fp64": ("step_0000", "activation/decoder.0.cross_attention")},
    LabelsSmoothedOverAllPieces: {"fp64 fp32": ("step_0000", "loss")},
    MeanOverThePlacesEmptyOnesToo: {"fp64": ("step_0000", "loss")},
    EmptyPlacesHaveALoss: {"fp64": ("step_0000", "loss")},
    GradientOfTheOutputAlone: {"fp64 fp32": ("step_0000", f"gradient/{EMBEDDING}")},
    ShortGradients: {"fp64 fp32": ("step_0000", f"gradient/{EMBEDDING}")},
    FirstBeta: FIRST,
    SecondBeta: SECOND,
    NoBiasCorrection: UPDATE,
    StepNotSet: UPDATE,
    RateOfTheNextStep: {ANY: ("step_0000", f"optimizer/parameter/{EMBEDDING}")},
    EpsilonInsideTheRoot: UPDATE,
    EpsilonBesideTheUncorrectedRoot: {"fp64": ("step_0001", f"optimizer/parameter/{EMBEDDING}")},
    LazyAdam: FIRST,
    EmbeddingNeverUpdated: UPDATE,
    StepOnShortGradients: FIRST,
    FirstMomentNotRestored: {ANY: ("step_0001", f"optimizer/first_moment/{EMBEDDING}")},
    SecondMomentNotRestored: {ANY: ("step_0001", f"optimizer/second_moment/{EMBEDDING}")},
    StateOfAnotherSum: SECOND,
    PadHasAVector: decoded(0),
    PaddingSeenInDecoding: decoded(0),
    PositionOfTheNextPlace: decoded(0),
    DropoutInTheEncoderOfDecoding: decoded(0),
    DropoutInDecoding: decoded(0),
    KeysOfTheBeamsMixedUp: decoded(1),
    ParentsOfTheFirstSentence: decoded(0),
    KWaysOn: decoded(0),
    ScoresOfTheLastPieceAlone: PIECES,
    HalfAsManyBeams: decoded(0),
    OtherAlpha: decoded(0, "scores", 1),
    PenaltyOverFive: decoded(0, "scores"),
    PenaltyWithoutItsFive: decoded(0),
    PenaltyWithoutTheEnd: decoded(0, "scores"),
    ScoresNotDivided: decoded(0),
    UnendedScoresDivided: decoded(3, "scores"),
    NothingWhereNoneEnded: {"fp64 fp32": ("evaluation_0003", "evaluation/pieces")},
    TheEndDoesNotEnd: PIECES,
    EndedBeamsGoOn: {"fp64 fp32": ("evaluation_0001", "evaluation/pieces")},
    StopsWhenEachHasEnded: decoded(0, short=1),
    StopsWhenOneHasEnded: decoded(0),
    PiecesAllZero: PIECES,
    OnePieceMore: PIECES,
    OnePieceLess: PIECES,
    MaskTurned: {"masks": ("step_0000", "activation/source")},
    ShareNotScaledUp: {"masks": ("step_0000", "activation/source")},
    TargetsNotDropped: {"masks": ("step_0000", "activation/target")},
    AttentionNotDropped: {"masks": ("step_0000", "activation/encoder.0.self_attention")},
    DroppedBehindTheResidualSum: {"masks": ("step_0000", "activation/encoder.0.self_attention")},
    ScoresDropped: {"masks": ("step_0000", "activation/encoder.0.self_attention")},
    WeightsNotDropped: {"masks": ("step_0000", "activation/encoder.0.self_attention")},
    WeightsOfAllHeadsAlike: {"masks": ("step_0000", "activation/encoder.0.self_attention")},
    HiddenPlacesNotDropped: {"masks": ("step_0000", "activation/encoder.0.feed_forward")},
    FeedForwardNotDropped: {"masks": ("step_0000", "activation/encoder.0.feed_forward")},
}
