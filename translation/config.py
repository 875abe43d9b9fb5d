"""Every number of the translation benchmark: Transformer "big" on WMT17 English to German.

Vaswani et al. 2017, "Attention Is All You Need", with the layer norms before each sublayer; MLPerf
Training v0.5's reference, transformer/model/model_params.py.
"""

import math
from dataclasses import dataclass, replace

from common.errors import UserError
from common.options import Amount, Count, Decay, Depth, Options, Positive, Size, Width


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data: DATA_DIR/NAME.en and DATA_DIR/NAME.de, a sentence a line.
    train_name: str = "train"
    test_name: str = "newstest2014"
    num_train_pairs: Count | None = 4_590_101         # None: as many as the files hold
    num_eval_sentences: Count | None = 3_003
    vocabulary_size: Size = 33_708                    # pieces, shared by both languages
    encoded: str = ""                                 # folder in data_dir; found by data.prepare
    max_length: Width = 256                           # pieces with the end; no longer pair trains

    # Batches.
    batch_tokens: Size = 4096                         # global; places a side, padding counted
    eval_batch_size: Size = 32                        # sentences, global; changes speed, not BLEU

    # Network.
    hidden_size: Width = 1024
    filter_size: Width = 4096
    num_heads: Depth = 16
    num_layers: Depth = 6                             # of the encoder, and of the decoder
    max_positions: Size = 1024                        # pieces; no sentence is decoded to more
    dropout: Decay = 0.1                              # of sublayers, attention weights, ReLU
    label_smoothing: Decay = 0.1

    # Optimizer.
    learning_rate: Amount = 2.0                       # times hidden_size^-0.5, see below
    warmup_steps: Count = 16_000
    adam_beta1: Decay = 0.9
    adam_beta2: Decay = 0.997
    adam_epsilon: Positive = 1e-9

    # Decoding.
    beam_size: Depth = 4
    alpha: Amount = 0.6                               # length penalty; Wu et al. 2016, eq. 14
    extra_decode_length: Width = 50                   # pieces more than the source has


REFERENCE = Config(
    profile="reference",
    target=0.25,                                      # BLEU 25, uncased
    num_epochs=10,
    evaluate_every_epochs=1,
    evaluate_first_epoch=1,
)

# About a minute on two cores, without a network connection: see README.md, "Quick".
QUICK = replace(
    REFERENCE,
    profile="quick",
    target=0.9,
    num_epochs=20,
    test_name="test",
    num_train_pairs=None,
    num_eval_sentences=None,
    vocabulary_size=1000,
    max_length=64,
    batch_tokens=1024,
    eval_batch_size=125,
    hidden_size=128,
    filter_size=512,
    num_heads=4,
    num_layers=2,
    dropout=0.0,                                      # three epochs do not overfit
    learning_rate=0.4,
    warmup_steps=200,
    extra_decode_length=10,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}

# The small network of the paper's table 3: --set by hand, or benchmarks/translation.py.
BASE = replace(REFERENCE, batch_tokens=2048, hidden_size=512, filter_size=2048, num_heads=8)

# Free in the closed division: v0.5's and v0.7's tables of hyperparameters.
FREE_FIELDS = (
    "encoded",
    "batch_tokens",
    "eval_batch_size",
    "learning_rate",
    "warmup_steps",
    "adam_beta1",
    "adam_beta2",
)


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if config.hidden_size % (2 * config.num_heads):
        raise UserError(
            f"hidden_size={config.hidden_size}: expected a multiple of twice "
            f"num_heads={config.num_heads}."
        )
    if config.hidden_size < 4:
        raise UserError(f"hidden_size={config.hidden_size}: expected 4 or more.")
    if config.batch_tokens < config.max_length:
        raise UserError(
            f"batch_tokens={config.batch_tokens}: expected max_length={config.max_length} or more, "
            "so that the longest pair fits."
        )
    if config.vocabulary_size < 2 * config.beam_size:
        raise UserError(
            f"vocabulary_size={config.vocabulary_size}: expected twice beam_size or more."
        )
    return config


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0, without Adam's bias corrections.

    Linear over warmup_steps, then falling with the root of the step; 0 at the first.  The paper's
    section 5.3, times learning_rate.
    """
    warmup = config.warmup_steps
    rate = config.learning_rate * config.hidden_size**-0.5
    return rate * min(1.0, step / warmup) / math.sqrt(max(step, warmup))
