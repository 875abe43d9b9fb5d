"""Every number of the sentiment analysis benchmark: a sequence CNN on IMDB's film reviews.

Johnson and Zhang 2014, "Effective Use of Word Order for Text Categorization with Convolutional
Neural Networks"; the PaddlePaddle reference of MLPerf Training v0.5.
"""

import math
from dataclasses import dataclass, replace

from common.errors import UserError
from common.options import Amount, Count, Decay, Depth, Options, Positive, Size, Width


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data.  Counts: Large Movie Review Dataset v1.0.  Dictionary: paddle.dataset.imdb.
    num_train_reviews: Count | None = 25_000          # None: as many as the folder holds
    num_eval_reviews: Count | None = 25_000
    vocabulary_size: Size | None = 5_147              # with <unk>; None: as the cut-off gives
    min_count: Count = 151                            # over training and test reviews: "> 150"

    # Batches.  These change speed and memory, not numbers: see data.pack.
    block_size: Width = 8                             # words; a review fills whole blocks
    stream_multiple: Size = 512                       # words of a batch, rounded up
    blocks_multiple: Width = 16                       # blocks of its longest review, rounded up

    # Network.
    embedding_size: Width = 1024
    windows: tuple[Depth, ...] = (3, 4)               # words; convolutions beside each other
    num_filters: Width = 1024                         # of each convolution
    num_classes: Width = 2                            # 0 positive, 1 negative

    # Loss and optimizer.  fluid.optimizer.Adam's constants.
    learning_rate: Amount = 0.0005                    # constant
    adam_beta1: Decay = 0.9
    adam_beta2: Decay = 0.999
    adam_epsilon: Positive = 1e-8
    batch_size: Size = 128                            # global, over all processes
    eval_batch_size: Size = 128                       # global; changes speed, not numbers


REFERENCE = Config(
    profile="reference",
    target=0.906,
    num_epochs=100,
    evaluate_every_epochs=1,
    evaluate_first_epoch=1,
)

# Well under a minute on two cores, without a network connection: see README.md, "Quick".
QUICK = replace(
    REFERENCE,
    profile="quick",
    target=0.95,
    num_epochs=20,
    num_train_reviews=None,
    num_eval_reviews=None,
    vocabulary_size=None,
    min_count=21,
    block_size=4,
    stream_multiple=256,
    blocks_multiple=4,
    embedding_size=128,
    num_filters=128,
    batch_size=64,
    learning_rate=0.0005,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}

# Free in the closed division: the batch, and what changes speed alone.
FREE_FIELDS = ("batch_size", "eval_batch_size", "block_size", "stream_multiple", "blocks_multiple")


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if config.stream_multiple % config.block_size:
        raise UserError(
            f"stream_multiple={config.stream_multiple}: expected a multiple of "
            f"block_size={config.block_size}."
        )
    if config.num_classes != 2:
        raise UserError(f"num_classes={config.num_classes}: expected 2, positive and negative.")
    return config


def halo(config):
    """(words before, words after) a place that the widest convolutions see."""
    before = max(window // 2 for window in config.windows)
    after = max(window - 1 - window // 2 for window in config.windows)
    return before, after


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0, with Adam's bias corrections in it.

    Kingma and Ba 2014, end of sec. 2: epsilon then stands beside the uncorrected root.  So does
    fluid's Adam.
    """
    root = math.sqrt(1.0 - config.adam_beta2 ** (step + 1))
    return config.learning_rate * root / (1.0 - config.adam_beta1 ** (step + 1))
