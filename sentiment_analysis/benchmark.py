"""What the suite must know of sentiment_analysis: Seq-CNN on IMDB's film reviews."""

from common.benchmark import Benchmark
from sentiment_analysis.config import FREE_FIELDS
from sentiment_analysis.quality import QUALITY

# Norm of the difference over the norm, of each tensor; ten times what was seen and more.  In fp32
# two windows whose filter answers are equal but for rounding may win the maximum one here, one
# there: no activation tells, but their words' gradients change places.  fp64 is the sharp test.
TOLERANCES = {
    "fp32": {
        "activation": 1e-5,
        "loss": 1e-6,
        "gradient": 5e-5,
        "gradient_scale": 1e-5,
        "first_moment": 5e-5,
        "second_moment": 1e-4,
        "parameter": 5e-5,
        "evaluation": 1e-5,
    },
    "fp64": {
        "activation": 2e-14,
        "loss": 1e-14,
        "gradient": 5e-14,
        "gradient_scale": 5e-15,
        "first_moment": 5e-14,
        "second_moment": 1e-13,
        "parameter": 2e-14,
        "evaluation": 1e-14,
    },
}


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names (mlperf_logging.mllog.constants), for the log."""
    return {
        "global_batch_size": config.batch_size,
        "train_samples": config.num_train_reviews,
        "eval_samples": config.num_eval_reviews,
        "gradient_accumulation_steps": 1,
        "opt_name": "adam",
        "opt_base_learning_rate": config.learning_rate,
        "opt_adam_beta_1": config.adam_beta1,
        "opt_adam_beta_2": config.adam_beta2,
        "opt_adam_epsilon": config.adam_epsilon,
    }


BATCH = {
    "tokens": "int32 [before + T + after], the words of all reviews in one stream; "
    "vocabulary_size stands where no word is; before: half the widest of windows, rounded down; "
    "after: that window less before and 1",
    "blocks": "int32 [B, M], the blocks of block_size places of tokens[before : before + T] "
    "that hold each review, its last one repeated",
    "seen": "bool [vocabulary_size], whether the batch holds a word; the embedding's other rows "
    "stay",
    "labels": "int64 [B], 0 positive, 1 negative",
}

BENCHMARK = Benchmark(
    application="sentiment_analysis",
    name="seq_cnn",
    rule_set=lambda log: None,
    runs=5,
    quality=lambda config: QUALITY,
    log_values=log_values,
    closed=True,
    free_fields=FREE_FIELDS,
    batch=BATCH,
    evaluation_batch=BATCH,
    loss="mean over the batch of the cross-entropy",
    optimizer_sums={
        "first_moment": "m = beta1 m + (1 - beta1) g",
        "second_moment": "v = beta2 v + (1 - beta2) g g",
    },
    update="w - rate m / (sqrt(v) + epsilon), bias corrections in the rate; m, v and w of words "
    "that the batch does not hold stay",
    statistic="",
    evaluation={"classes": "int64 [B], the likelier", "logits": "[B, 2]"},
    tolerances=TOLERANCES,
)
