"""Every number of the image classification benchmark: ResNet-50 v1.5 on ImageNet.

He et al. 2015, "Deep Residual Learning for Image Recognition"; MLPerf Training v0.5 and v0.6.
"""

from dataclasses import dataclass, replace

from common.errors import UserError
from common.options import Amount, Count, Depth, Options, Positive, Share, Size, Width


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data.  Counts: ILSVRC2012.  Transforms: MLPerf v0.5 imagenet_preprocessing.py.
    num_classes: Size = 1000                          # the rules accept 1000 or 1001
    num_train_images: Count | None = 1_281_167        # None: as many as the folder holds
    num_eval_images: Count | None = 50_000
    image_size: Width = 224                           # side of the square the network sees
    resize_size: Width = 256                          # evaluation: short side before the crop
    crop_area: tuple[Share, ...] = (0.05, 1.0)        # of the image
    crop_aspect: tuple[Positive, ...] = (0.75, 1.33)  # width / height
    min_object_covered: Share = 0.1                   # the object is the whole image
    crop_attempts: Count = 100                        # then the whole image
    mean_rgb: tuple[Amount, ...] = (123.68, 116.78, 103.94)  # on the 0..255 scale; no division

    # Network.  Paper, table 1; stride on the 3x3 convolution: "v1.5".
    blocks: tuple[Depth, ...] = (3, 4, 6, 3)          # bottleneck blocks in each layer
    stem_width: Width = 64
    widths: tuple[Width, ...] = (64, 128, 256, 512)   # of the 3x3 convolutions, per layer
    expansion: Width = 4                              # a block gives expansion x width channels
    batch_norm_momentum: Share = 0.9                  # share of the old value
    batch_norm_epsilon: Positive = 1e-5
    classifier_initial: str = "normal"                # normal (v0.6) or glorot (v0.5)
    classifier_stddev: Amount = 0.01                  # of normal

    # Loss and optimizer.
    label_smoothing: Share = 0.0
    weight_decay: Amount = 1e-4                       # all but batch norm's scale and offset
    optimizer: str = "sgd"                            # sgd (v0.5) or lars (v0.6)
    momentum: Share = 0.9
    lars_trust: Amount = 0.001                        # You et al. 2017, eq. 6
    batch_size: Size = 256                            # global, over all processes
    eval_batch_size: Size = 256                       # global; changes speed, not numbers

    # Learning rate.  sgd: 0.128 per 256 images, divided by ten at the boundaries (v0.5).
    # lars: polynomial decay of power 2 to end_learning_rate; its peak by the batch (v0.6).
    schedule: str = "step"                            # step or polynomial
    learning_rate_per_256: Amount = 0.128             # of sgd
    lars_batches: tuple[Size, ...] = (8192, 16384, 32768)    # below each, one of lars_rates
    lars_rates: tuple[Amount, ...] = (5.0, 10.0, 25.0, 32.0)  # the last from there on
    warmup_epochs: Amount = 5.0                       # linear from 0
    boundary_epochs: tuple[Amount, ...] = (30.0, 60.0, 80.0, 90.0)
    decay_factor: Share = 0.1
    decay_epochs: Positive = 90.0                     # polynomial: the epoch it ends at
    end_learning_rate: Amount = 1e-4


REFERENCE = Config(
    profile="reference",
    target=0.759,                                     # v0.6; v0.5: --target=0.749
    num_epochs=100,
    evaluate_every_epochs=4,
    evaluate_first_epoch=4,
    workers=None,                                     # as many as the cores allow
)

# About a minute on two cores, without a network connection: see README.md, "Quick".
QUICK = replace(
    REFERENCE,
    profile="quick",
    target=0.9,
    num_epochs=20,
    evaluate_every_epochs=1,
    evaluate_first_epoch=1,
    workers=0,
    num_classes=10,
    num_train_images=None,
    num_eval_images=None,
    image_size=64,
    resize_size=64,
    crop_area=(0.8, 1.0),                             # the shape must stay in the picture
    blocks=(1, 1, 1, 1),
    stem_width=16,
    widths=(16, 32, 64, 128),
    batch_size=32,
    learning_rate_per_256=0.08,
    warmup_epochs=0.5,
    boundary_epochs=(8.0, 16.0, 24.0, 28.0),
)

# The later rounds' recipe: v0.6, its peak and warm-up for batches below 8,192.  From 32,768 on its
# table has 14 epochs of warm-up: --set warmup_epochs=14.
LARS = replace(
    REFERENCE,
    profile="lars",
    optimizer="lars",
    schedule="polynomial",
    batch_size=4096,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE, "lars": LARS}

# Free in the closed division: v0.5's and v0.7's tables of hyperparameters; the log's checker holds
# what they ask of each.
FREE_FIELDS = (
    "batch_size",
    "eval_batch_size",
    "optimizer",
    "schedule",
    "learning_rate_per_256",
    "lars_rates",
    "warmup_epochs",
    "boundary_epochs",
    "decay_epochs",
    "weight_decay",
    "label_smoothing",
)


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if config.image_size % 4:
        raise UserError(
            f"image_size={config.image_size}: expected a multiple of 4, or the frameworks' "
            "pooling would place its windows differently."
        )
    for name, length in (("crop_area", 2), ("crop_aspect", 2), ("mean_rgb", 3)):
        if len(getattr(config, name)) != length:
            raise UserError(f"{name}={getattr(config, name)}: expected {length} numbers.")
    for name in ("crop_area", "crop_aspect"):
        if getattr(config, name)[0] > getattr(config, name)[1]:
            raise UserError(f"{name}={getattr(config, name)}: expected the smaller one first.")
    if config.resize_size < config.image_size:
        raise UserError(
            f"resize_size={config.resize_size}: expected image_size={config.image_size} or more, "
            "or the centre crop would leave the image."
        )
    if len(config.blocks) != len(config.widths):
        raise UserError(
            f"blocks={config.blocks}, widths={config.widths}: expected as many of each."
        )
    if len(config.lars_rates) not in (1, len(config.lars_batches) + 1):
        raise UserError(
            f"lars_rates={config.lars_rates}: expected one more than of lars_batches, or one alone."
        )
    words = {"optimizer": ("sgd", "lars"), "schedule": ("step", "polynomial"),
             "classifier_initial": ("normal", "glorot")}  # fmt: skip
    for name, known in words.items():
        if getattr(config, name) not in known:
            raise UserError(
                f"{name}={getattr(config, name)}: expected one of {', '.join(known)}."
            )
    return config


def peak_learning_rate(config):
    """The learning rate at the end of the warm-up."""
    if config.optimizer == "lars":
        place = sum(config.batch_size >= batch for batch in config.lars_batches)
        return config.lars_rates[min(place, len(config.lars_rates) - 1)]
    return config.learning_rate_per_256 * config.batch_size / 256


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0.

    sgd, v0.5: linear from 0 over int(warmup * spe) steps, spe = steps per epoch, a fraction; then
    divided by ten *after* int(spe * boundary).  lars, v0.6: polynomial of power 2 after the warmup.
    """
    steps_per_epoch = config.num_train_images / config.batch_size
    peak = peak_learning_rate(config)
    warmup_steps = int(config.warmup_epochs * steps_per_epoch)
    if config.schedule == "polynomial":
        if step <= warmup_steps and warmup_steps:
            return peak * step / warmup_steps
        decay_steps = int(config.decay_epochs * steps_per_epoch) - warmup_steps + 1
        done = min(max(1, step - warmup_steps), decay_steps) / decay_steps
        return config.end_learning_rate + (peak - config.end_learning_rate) * (1 - done) ** 2
    if step < warmup_steps:
        return peak * step / warmup_steps
    passed = sum(step > int(steps_per_epoch * epoch) for epoch in config.boundary_epochs)
    return peak * config.decay_factor**passed
