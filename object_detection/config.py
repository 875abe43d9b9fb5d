"""Every number of the object detection benchmark: Mask R-CNN on COCO 2017."""

from dataclasses import dataclass, replace

from common.options import Count, Options, Share, Size, Whole, Width


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

    # Batches.
    batch_size: Size = 16                             # global
    eval_batch_size: Size = 16                        # global; changes speed, not numbers

    # Network.
    strides: tuple[Width, ...] = (4, 8, 16, 32, 64)   # of P2 to P6
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals: Width = 2000

    # What a run leaves beside its log.
    save_detections: bool = False                     # as COCO's server takes them
    draw_images: Whole = 0                            # pictures of the evaluation, as PNG


REFERENCE = Config(profile="reference", target="bbox=0.377,segm=0.339")

QUICK = replace(
    REFERENCE,
    profile="quick",
    num_classes=4,
    num_listed_images=None,
    num_train_images=None,
    num_eval_images=None,
    backbone="",
    short_side=128,
    long_side=192,
    box_counts=(8, 32, 128),
    batch_size=8,
    eval_batch_size=8,
    strides=(4, 8, 16, 32),
    proposals=100,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}
