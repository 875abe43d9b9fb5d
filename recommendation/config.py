"""Every number of the recommendation benchmark: NeuMF on MovieLens-20M.

He et al. 2017, "Neural Collaborative Filtering"; MLPerf Training v0.5.
"""

from dataclasses import dataclass, replace

from common.errors import UserError
from common.options import Amount, Count, Decay, Depth, Options, Positive, Size, Whole, Width


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data.  Counts: MovieLens-20M.  Preparation: MLPerf v0.5 convert.py.
    num_ratings: Count | None = 20_000_263            # None: as many as the file holds
    num_users: Count | None = 138_493
    num_items: Count | None = 26_744                  # films with at least one rating
    min_ratings: Count = 20                           # users with fewer are left out
    train_negatives: Depth = 4                        # for each rating, new in each epoch
    eval_negatives: Size = 999                        # for each user, with replacement
    eval_seed: Whole = 0                              # the evaluation set is the same in all runs

    # Network.  Paper, sec. 3.4; sizes: MLPerf v0.5.
    mf_size: Width = 64                               # of the factorisation's vectors
    mlp_sizes: tuple[Width, ...] = (256, 256, 128, 64)  # the first is both vectors side by side
    embedding_stddev: Amount = 0.01

    # Loss and optimizer: binary cross-entropy; Adam, dense: each row moves in each step.
    learning_rate: Amount = 0.0005                    # constant
    adam_beta1: Decay = 0.9
    adam_beta2: Decay = 0.999
    adam_epsilon: Positive = 1e-8                     # beside the corrected root: see README
    batch_size: Size = 2048                           # global, over all processes; of pairs
    eval_batch_size: Size = 128                       # global; of users; changes speed alone


REFERENCE = Config(
    profile="reference",
    target=0.635,
    num_epochs=20,
)

# About a minute on two cores, without a network connection: see README.md, "Quick".
QUICK = replace(
    REFERENCE,
    profile="quick",
    target=0.65,
    num_epochs=20,
    num_ratings=None,
    num_users=None,
    num_items=None,
    eval_negatives=99,
    mf_size=16,
    mlp_sizes=(64, 64, 32, 16),
    learning_rate=0.002,
    batch_size=1024,
    eval_batch_size=512,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}

# Free in the closed division: v0.5's rules, "Hyperparameters and Optimizer".
FREE_FIELDS = ("batch_size", "eval_batch_size", "learning_rate", "adam_beta1", "adam_beta2")


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if config.mlp_sizes[0] % 2:
        raise UserError(
            f"mlp_sizes={config.mlp_sizes}: expected an even first size; a user's and a film's "
            "vector share it."
        )
    return config


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0: always the same."""
    return config.learning_rate


def num_train_examples(config):
    """Pairs in an epoch: each rating but a user's latest, and its negatives."""
    return (config.num_ratings - config.num_users) * (1 + config.train_negatives)
