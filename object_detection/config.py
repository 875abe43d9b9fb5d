"""Every number of the object detection benchmark: Mask R-CNN, ResNet-50-FPN, on COCO 2017.

He et al. 2017, "Mask R-CNN"; Lin et al. 2017, "Feature Pyramid Networks"; MLPerf Training v0.5's
reference, object_detection/pytorch, a fork of maskrcnn-benchmark: "T05" below.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from common.errors import UserError
from common.options import (
    Amount,
    Bounds,
    Count,
    Decay,
    Depth,
    Options,
    Positive,
    Share,
    Size,
    Whole,
    Width,
)

Stride = Annotated[int, Bounds(1, 1024)]


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data.  Counts: train2017 and val2017.
    num_classes: Size | None = 80                     # None: as many as the folder has
    num_listed_images: Count | None = 118_287         # None: as many as the folder holds
    num_train_images: Count | None = 117_266          # those with an object
    num_eval_images: Count | None = 5_000
    backbone: str = "R-50.pkl"                        # file in data_dir; "": none
    index: str = ""                                   # folder in data_dir; found by data.prepare
    short_side: Width = 800                           # pixels
    long_side: Width = 1333                           # at most
    flip: Share = 0.5                                 # of the training pictures
    shape_step: Width = 64                            # a batch's long side: a multiple of as many
    box_counts: tuple[Width, ...] = (16, 32, 128)     # rows of ground truth: the first that does
    mean_bgr: tuple[Amount, ...] = (102.9801, 115.9465, 122.7717)  # of 0..255; no division

    # Batches.
    batch_size: Size = 16                             # global
    eval_batch_size: Size = 16                        # global; changes speed, not numbers

    # Backbone: ResNet's layers C2, C3, ...; the stride on a block's first 1x1.
    blocks: tuple[Depth, ...] = (3, 4, 6, 3)          # bottleneck blocks in each layer
    stem_width: Width = 64
    widths: tuple[Width, ...] = (64, 128, 256, 512)   # of the 3x3 convolutions, per layer
    expansion: Width = 4                              # a block gives expansion x width channels
    freeze_at: Whole = 2                              # fixed: 1: the stem, 2: C2 as well, ...
    branch_scale: Positive = 1.0                      # initial, of the norm that ends a branch

    # Pyramid, and anchors on it.  One level more than layers, for proposals alone.
    pyramid_width: Width = 256
    strides: tuple[Stride, ...] = (4, 8, 16, 32, 64)  # of P2 to P6
    anchor_scale: Width = 8                           # a square anchor's side over the stride
    aspect_ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)  # height / width

    # Proposals.
    anchor_high: Share = 0.7                          # overlap from which an anchor is positive
    anchor_low: Share = 0.3                           # overlap below which it is negative
    anchors_per_image: Width = 256                    # sampled
    positive_anchors: Width = 128                     # of them, at most
    anchor_beta: Positive = 1.0 / 9.0                 # of smooth L1
    proposal_overlap: Share = 0.7                     # of suppression
    level_proposals: Width = 2000                     # of a level, before suppression
    proposals: Width = 2000                           # of a picture
    eval_proposals: Width = 1000                      # both in the evaluation

    # Regions.
    canonical_size: Positive = 224.0                  # a box of this side is of canonical_level
    canonical_level: Whole = 4
    roi_overlap: Share = 0.5                          # from which a region is positive
    rois_per_image: Width = 512                       # sampled
    positive_rois: Width = 128                        # of them, at most
    box_weights: tuple[Positive, ...] = (10.0, 10.0, 5.0, 5.0)
    box_bins: Width = 7
    box_size: Width = 1024                            # of the two dense layers
    mask_bins: Width = 14                             # a mask has twice as many
    mask_width: Width = 256
    mask_layers: Depth = 4

    # Detections.
    score_threshold: Share = 0.05
    detection_overlap: Share = 0.5                    # of suppression, class by class
    detections: Width = 100                           # of a picture, at most

    # Optimizer: biases at twice the rate, without decay.
    momentum: Decay = 0.9
    weight_decay: Amount = 1e-4
    learning_rate_per_16: Positive = 0.02             # of the batch's pictures
    warmup_steps: Whole = 500                         # linear
    warmup_factor: Share = 1.0 / 3.0                  # of the rate, that it begins at
    boundaries: tuple[Count, ...] = (60_000, 80_000)  # steps of 16 pictures
    time_stretch: Positive = 1.0                      # of the boundaries: 1 + k / 10
    decay_factor: Share = 0.1

    # What a run leaves beside its log.
    save_detections: bool = False                     # as COCO's server takes them
    draw_images: Whole = 0                            # pictures of the evaluation, as PNG


REFERENCE = Config(
    profile="reference",
    target="bbox=0.377,segm=0.339",
    num_epochs=20,                                    # convergence points: 12 to 20; T05: 12.3
    evaluate_every_epochs=1,
    evaluate_first_epoch=1,
    workers=None,                                     # as many as the cores allow
)

# A minute or less on two cores, without a network connection: see README.md, "Quick".
QUICK = replace(
    REFERENCE,
    profile="quick",
    target="bbox=0.2,segm=0.2",
    num_epochs=20,
    workers=0,
    num_classes=4,
    num_listed_images=None,
    num_train_images=None,
    num_eval_images=None,
    backbone="",
    short_side=128,
    long_side=192,
    box_counts=(8, 32, 128),
    batch_size=4,
    eval_batch_size=10,
    blocks=(1, 1, 1),
    stem_width=16,
    widths=(16, 32, 64),
    expansion=2,
    freeze_at=0,
    branch_scale=0.5,
    pyramid_width=32,
    strides=(4, 8, 16, 32),
    anchor_scale=4,
    anchors_per_image=64,
    positive_anchors=32,
    level_proposals=100,
    proposals=100,
    eval_proposals=50,
    canonical_size=64.0,
    rois_per_image=32,
    positive_rois=8,
    box_size=128,
    mask_width=32,
    mask_layers=2,
    detections=20,
    learning_rate_per_16=0.06,
    warmup_steps=20,
    boundaries=(100_000,),
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}

# Free in the closed division: v0.7's table of hyperparameters.
FREE_FIELDS = (
    "index",
    "batch_size",
    "eval_batch_size",
    "shape_step",
    "box_counts",
    "learning_rate_per_16",
    "warmup_steps",
    "warmup_factor",
    "time_stretch",
    "save_detections",
    "draw_images",
)


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if len(config.blocks) != len(config.widths):
        raise UserError(
            f"blocks={config.blocks}, widths={config.widths}: expected as many of each."
        )
    strides = tuple(4 << level for level in range(len(config.blocks) + 1))
    if config.strides != strides:
        raise UserError(f"strides={config.strides}: expected {strides}, one more than blocks.")
    if config.shape_step % size_step(config):
        raise UserError(f"shape_step={config.shape_step}: expected a multiple of "
                        f"{size_step(config)}, as a batch's sides are.")
    if list(config.box_counts) != sorted(set(config.box_counts)):
        raise UserError(f"box_counts={config.box_counts}: expected rising numbers.")
    for name, length in (("mean_bgr", 3), ("box_weights", 4)):
        if len(getattr(config, name)) != length:
            raise UserError(f"{name}={getattr(config, name)}: expected {length} numbers.")
    for few, many in (
        ("anchor_low", "anchor_high"),
        ("positive_anchors", "anchors_per_image"),
        ("positive_rois", "rois_per_image"),
        ("rois_per_image", "proposals"),
        ("freeze_at", "stages"),
    ):
        least = getattr(config, few)
        most = 1 + len(config.blocks) if many == "stages" else getattr(config, many)
        if least > most:
            raise UserError(f"{few}={least}: expected {many}={most} or less.")
    return config


def size_step(config):
    """Both sides of a batch are multiples of it: each layer halves the one below exactly.

    32 as in the reference, or the last layer's stride where that is larger.
    """
    return max(32, 4 << (len(config.blocks) - 1))


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0.

    Proportional to the batch; linear from `warmup_factor` of it; then times decay_factor from each
    boundary on.  T05 solver/lr_scheduler.py, whose first step is 1.
    """
    step = step + 1
    rate = config.learning_rate_per_16 * config.batch_size / 16
    if step < config.warmup_steps:
        done = step / config.warmup_steps
        rate *= config.warmup_factor * (1.0 - done) + done
    return rate * config.decay_factor ** sum(step >= boundary for boundary in boundaries(config))


def boundaries(config):
    """[step, counted from 1]: those at which the rate falls, for the config's batch.

    Cut off, not rounded, as the rules' convergence points of 272 pictures have it: 7058.8 is 7058.
    """
    return [int(boundary * config.time_stretch * 16 / config.batch_size)
            for boundary in config.boundaries]
