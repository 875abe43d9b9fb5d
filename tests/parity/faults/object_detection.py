"""Faults of Mask R-CNN: see plant.py."""

# ruff: noqa: RUF012  (nobody changes a class's edits)

import dataclasses

from object_detection.config import learning_rate
from tests.parity.faulty import (
    EvaluatesFirstParameters,
    EvaluationMoves,
    NotRestored,
    OtherInitialValues,
    Rewritten,
    ShortGradients,
    WeightsKeptInBf16,
)


class Changed:
    """Some numbers of the config are others."""

    changes = {}

    def __init__(self, config, parameters):
        super().__init__(dataclasses.replace(config, **self.changes), parameters)


# ---- the training step


class Initialisation(OtherInitialValues):
    drawn = "box_head.dense2.weight"


class TheStrideOnThe3x3:
    edits = {"model": [("width, 1, stride, trained)\n", "width, 1, 1, trained)\n"),
                       ("width, width, 3, 1, trained)", "width, width, 3, stride, trained)")]}


class SeesBeyondThePicture:
    edits = {"model": [("self.normalized(images, sizes)", "self.normalized(images, sizes + 999)")]}


class RgbOrder:
    edits = {"model": [{
        "pytorch": ("images.flip(3)", "images"),
        "tensorflow": ("images[..., ::-1]", "images"),
        "paddlepaddle": ("rgb.unbind(0)[::-1]", "rgb.unbind(0)"),
    }]}  # fmt: skip


class WidthsWithoutTheOne:
    """Of boxes, of anchors, and of what two share."""

    edits = {"regions": [
        ("from_x2 - from_x1 + 1.0", "from_x2 - from_x1"),
        ("x2 - x1 + 1.0", "x2 - x1"),
        {
            "pytorch": ("torch.maximum(x1, from_x1) + 1.0", "torch.maximum(x1, from_x1)"),
            "tensorflow": ("tf.maximum(x1, from_x1) + 1.0", "tf.maximum(x1, from_x1)"),
            "paddlepaddle": ("(width + 1.0)", "width"),
        },
    ]}  # fmt: skip


class StraddlingAnchorsCount:
    edits = {"regions": [("inside = inside & (x2", "inside = (x1 > -1e9) | (x2")]}


class NoAnchorForABoxThatNoneReaches:
    """Without the best anchor of each box."""

    edits = {"regions": [{
        "pytorch": (" | best.any(dim=1)", ""),
        "tensorflow": (" | tf.reduce_any(best, axis=1)", ""),
        "paddlepaddle": (" | best.any(axis=1)", ""),
    }]}  # fmt: skip


class TheLargestKeysAreSampled:
    edits = {"model": [('sample(batch["anchor_keys"],',
                        'sample(batch["anchor_keys"].shape[1] - 1 - batch["anchor_keys"],')]}


class SuppressesAtTheThreshold:
    edits = {"regions": [("boxes) > threshold", "boxes) >= threshold")]}


class SuppressesBySuppressedBoxes:
    """One guess is not enough."""

    edits = {"regions": [{
        "pytorch": ("if torch.equal(before, kept):", "if True:"),
        "tensorflow": ("lambda before, kept: tf.reduce_any(before != kept)",
                       "lambda before, kept: ~tf.reduce_any(before > 0.0)"),
        "paddlepaddle": ("lambda before, kept: (before != kept).any()",
                         "lambda before, kept: (before == 0.0).all()"),
    }]}  # fmt: skip


class SamplesBeforeItFilters:
    """Rows that hold no region are drawn too."""

    edits = {"regions": [("return positive & valid, ~positive & valid, matches",
                          "return positive, ~positive, matches")]}


class RegionsWithoutTheGroundTruth:
    edits = {"model": [{
        "pytorch": ("[places >= 0, exists]", "[places >= 0, exists & False]"),
        "tensorflow": ("[places >= 0, exists]", "[places >= 0, exists & False]"),
        "paddlepaddle": ("[places >= 0, exists]", "[places >= 0, exists & ~exists]"),
    }]}  # fmt: skip


class LevelsAreRounded:
    """To the nearest, not down."""

    edits = {"regions": [("2.0 ** (upper + 2 - ", "2.0 ** (upper + 1.5 - ")]}


class AlignedRoiAlign:
    """Half a cell off: torchvision's aligned=True."""

    edits = {"regions": [("at = low[..., None] + ", "at = low[..., None] - 0.5 + ")]}


class OneSampleABin:
    """Both at the bin's middle."""

    edits = {"regions": [{
        "pytorch": ("dtype=low.dtype, device=low.device) + 0.5)",
                    "dtype=low.dtype, device=low.device) // 2 * 2 + 1.0)"),
        "tensorflow": ("dtype=low.dtype) + 0.5)", "dtype=low.dtype) // 2 * 2 + 1.0)"),
        "paddlepaddle": ("dtype=low.dtype) + 0.5)", "dtype=low.dtype) // 2 * 2 + 1.0)"),
    }]}  # fmt: skip


class MasksAreSetFromAQuarterOn:
    edits = {"masks": [("HALF = 0.5", "HALF = 0.25")]}


class TheBetaOfTheRegions:
    """Of the anchors too."""

    edits = {"model": [("config.anchor_beta)", "1.0)")]}


class BoxWeightsOfTheAnchors:
    """Of the regions' code."""

    edits = {"model": [("encode(matched, regions, config.box_weights)",
                        "encode(matched, regions, PLAIN)")]}


class MeanOverThePositiveAnchors:
    """In place of all that were sampled."""

    edits = {"model": [{
        "pytorch": ("[(each * sampled).sum(dim=1) / count, (apart * positive).sum(dim=1) / count]",
                    "[(each * sampled).sum(dim=1) / count, (apart * positive).sum(dim=1) / "
                    "positive.sum(dim=1).clamp(min=1.0)]"),
        "tensorflow": ("tf.reduce_sum(apart * positive, axis=1) / count",
                       "tf.reduce_sum(apart * positive, axis=1) / "
                       "tf.maximum(tf.reduce_sum(positive, axis=1), 1.0)"),
        "paddlepaddle": ("[(each * sampled).sum(axis=1) / count, (apart * positive).sum(axis=1) / "
                         "count]", "[(each * sampled).sum(axis=1) / count, (apart * positive).sum("
                         "axis=1) / positive.sum(axis=1).clamp(min=1.0)]"),
    }]}  # fmt: skip


class SumOverTheSampledAnchors:
    """Of their cross-entropy."""

    edits = {"model": [{
        "pytorch": ("[(each * sampled).sum(dim=1) / count", "[(each * sampled).sum(dim=1)"),
        "tensorflow": ("[tf.reduce_sum(each * sampled, axis=1) / count",
                       "[tf.reduce_sum(each * sampled, axis=1)"),
        "paddlepaddle": ("[(each * sampled).sum(axis=1) / count", "[(each * sampled).sum(axis=1)"),
    }]}  # fmt: skip


class TheMaskOfThePredictedClass:
    """Not of the true one."""

    edits = {"model": [{
        "pytorch": ("network.mask_head(pooled, classes[:, first]",
                    "network.mask_head(pooled, likeliest[:, first]"),
        "tensorflow": ("network.mask_head(pooled, classes[:, first]",
                       "network.mask_head(pooled, likeliest[:, first]"),
        "paddlepaddle": ("network.mask_head(pooled, classes[:, first]",
                         "network.mask_head(pooled, likeliest[:, first]"),
    }, {
        "pytorch": ('record("class_logits", logits)',
                    'record("class_logits", logits); likeliest = logits.argmax(2)'),
        "tensorflow": ('record("class_logits", logits)',
                       'record("class_logits", logits); likeliest = tf.argmax(logits, 2)'),
        "paddlepaddle": ('record("class_logits", logits)',
                         'record("class_logits", logits); likeliest = logits.argmax(2)'),
    }]}  # fmt: skip


class AFillerIsAPicture:
    edits = {"train": [{
        "pytorch": ("weights = pictures(batch).to(each.dtype)",
                    "weights = pictures(batch).to(each.dtype) * 0.0 + 1.0"),
        "tensorflow": ("weights = tf.cast(pictures(batch), each.dtype)",
                       "weights = tf.cast(pictures(batch), each.dtype) * 0.0 + 1.0"),
        "paddlepaddle": ("weights = pictures(batch).astype(each.dtype)",
                         "weights = pictures(batch).astype(each.dtype) * 0.0 + 1.0"),
    }]}  # fmt: skip


# ---- the optimizer


class Momentum(Changed):
    """The suite's own 0.9 in place of the record's 0.875."""

    changes = {"momentum": 0.9}


class NoDecay(Changed):
    changes = {"weight_decay": 0.0}


class BiasesDecay(Rewritten):
    def rewrite(self, before, after, batch, step):
        rate = 2.0 * learning_rate(self.config, step)
        for name, velocity in after["velocity"].items():
            if name.endswith(".bias"):
                more = self.config.weight_decay * before["parameter"][name]
                after["velocity"][name] = velocity + more
                after["parameter"][name] = after["parameter"][name] - rate * more


class BiasesAtTheSameRate(Rewritten):
    def rewrite(self, before, after, batch, step):
        rate = learning_rate(self.config, step)
        for name, velocity in after["velocity"].items():
            if name.endswith(".bias"):
                after["parameter"][name] = before["parameter"][name] - rate * velocity


class WarmUpFromAStepEarlier:
    edits = {"train": [("learning_rate(self.config, step)",
                        "learning_rate(self.config, max(step - 1, 0))")]}


# ---- the state


class VelocityNotRestored(NotRestored):
    left = "velocity"


class ScalesNotRestored:
    def load_state(self, state):
        own = {name: array for name, array in self.state()["parameter"].items()
               if name.endswith((".scale", ".shift"))}
        super().load_state(state | {"parameter": state["parameter"] | own})


class OneTensorNeverUpdated(Rewritten):
    def rewrite(self, before, after, batch, step):
        name = "mask_head.masks.bias"
        after["parameter"][name] = before["parameter"][name]


# ---- the evaluation


class EvaluationMovesAScale(EvaluationMoves):
    moves = "stem.scale"


class SuppressesLessInTheEvaluation:
    edits = {"boxes": [("config.detection_overlap)]", "0.9)]")]}


class BoxesOfTheBackground:
    """Not of the detected class."""

    edits = {"boxes": [("np.take_along_axis(boxes.reshape(len(boxes), -1, 4), at[..., None]",
                        "np.take_along_axis(boxes.reshape(len(boxes), -1, 4), (at - classes)"
                        "[..., None]")]}  # fmt: skip


class MasksOfTheFirstClass:
    edits = {"train": [('found["boxes"], found["classes"])', 'found["boxes"], 0 * '
                        'found["classes"] + 1)')]}  # fmt: skip


ANY = "fp64 fp32 bf16"
FIRST = "step_0000"


def at(name, kinds="fp64"):
    """Where a fault of the forward pass is named."""
    return {kinds: (FIRST, f"activation/{name}")}


FAULTS = {
    Initialisation: {ANY: ("initial", "parameter/box_head.dense2.weight")},
    TheStrideOnThe3x3: at("blocks.1.convolution1", ANY),
    SeesBeyondThePicture: at("stem", ANY),
    RgbOrder: at("stem", ANY),
    WidthsWithoutTheOne: at("decision.anchors") | at("decision.proposals", "fp32")
    | at("rois", "bf16"),
    StraddlingAnchorsCount: at("decision.anchors"),
    NoAnchorForABoxThatNoneReaches: at("decision.anchors"),
    TheLargestKeysAreSampled: at("decision.anchors", ANY),
    SuppressesAtTheThreshold: at("decision.proposals", "alike"),
    SuppressesBySuppressedBoxes: at("decision.proposals"),
    SamplesBeforeItFilters: at("decision.regions"),
    RegionsWithoutTheGroundTruth: at("decision.regions"),
    LevelsAreRounded: at("decision.region_levels"),
    AlignedRoiAlign: at("box_pooled", ANY),
    OneSampleABin: at("box_pooled", ANY),
    MasksAreSetFromAQuarterOn: at("decision.mask_targets"),
    TheBetaOfTheRegions: at("loss_anchors", ANY),
    BoxWeightsOfTheAnchors: at("loss_boxes", ANY),
    MeanOverThePositiveAnchors: at("loss_anchors", ANY),
    SumOverTheSampledAnchors: at("loss_objectness", ANY),
    TheMaskOfThePredictedClass: at("mask_logits"),
    AFillerIsAPicture: {ANY: (FIRST, "loss")},
    ShortGradients: {"fp64 fp32": (FIRST, "gradient/stem.weight"),
                     "bf16": (FIRST, "gradient/rpn.objectness.weight")},
    Momentum: {ANY: ("step_0001", "optimizer/velocity/stem.weight")},
    NoDecay: {ANY: (FIRST, "optimizer/velocity/stem.weight")},
    BiasesDecay: {ANY: (FIRST, "optimizer/velocity/laterals.0.bias")},
    BiasesAtTheSameRate: {ANY: (FIRST, "optimizer/parameter/laterals.0.bias")},
    WarmUpFromAStepEarlier: {ANY: ("step_0001", "optimizer/parameter/stem.weight")},
    VelocityNotRestored: {ANY: ("step_0001", "optimizer/velocity/stem.weight")},
    ScalesNotRestored: {"fp64": ("evaluation_0000", "evaluation/boxes")},
    OneTensorNeverUpdated: {ANY: (FIRST, "optimizer/parameter/mask_head.masks.bias")},
    WeightsKeptInBf16: {"fp64 fp32": (FIRST, "optimizer/parameter/stem.weight")},
    EvaluationMovesAScale: {"fp64": (FIRST, "activation/stem")},
    EvaluatesFirstParameters: {"fp64": ("evaluation_0000", "evaluation/boxes")},
    SuppressesLessInTheEvaluation: {"fp64": ("evaluation_0000", "evaluation/boxes")},
    BoxesOfTheBackground: {"fp64": ("evaluation_0000", "evaluation/boxes")},
    MasksOfTheFirstClass: {"fp64": ("evaluation_0000", "evaluation/masks")},
}
