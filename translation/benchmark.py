"""What the suite must know of translation: Transformer on WMT17 English to German."""

from common.benchmark import Benchmark
from translation.config import FREE_FIELDS
from translation.quality import quality, signature

# Norm of the difference over the norm, of each tensor; several times what was seen.  In fp32 a sum
# next to zero rounds to the other side and a ReLU lets one element through or not: gradients then
# part by up to 3e-3, which no activation tells.  fp64 is the sharp test.
TOLERANCES = {
    "fp32": {
        "activation": 2.5e-6,  # a layer norm's epsilon of 1e-5 moves the first by 1.3e-5
        "loss": 1e-6,
        "gradient": 1e-2,
        "gradient_scale": 1e-4,
        "first_moment": 1e-2,
        "second_moment": 1e-2,
        "parameter": 2e-3,
        "evaluation": 5e-6,
    },
    "fp64": {
        "activation": 5e-14,
        "loss": 1e-14,
        "gradient": 2e-13,
        "gradient_scale": 1e-14,
        "first_moment": 2e-13,
        "second_moment": 2e-13,
        "parameter": 1e-13,
        "evaluation": 1e-14,
    },
}


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names (mlperf_logging.mllog.constants), for the log.

    A pair is a value and its metadata.
    """
    return {
        "global_batch_size": config.batch_tokens,
        "max_sequence_length": (config.max_length, {"method": "discard"}),
        "bleu_signature": signature(),
        "train_samples": config.num_train_pairs,
        "eval_samples": config.num_eval_sentences,
        "gradient_accumulation_steps": 1,
        "opt_name": "adam",
        "opt_base_learning_rate": config.learning_rate,
        "opt_learning_rate_warmup_steps": config.warmup_steps,
        "opt_adam_beta_1": config.adam_beta1,
        "opt_adam_beta_2": config.adam_beta2,
        "opt_adam_epsilon": config.adam_epsilon,
    }


BENCHMARK = Benchmark(
    application="translation",
    name="transformer",
    rule_set=lambda log: "0.7.0",
    runs=10,
    quality=quality,
    log_values=log_values,
    closed=False,  # its vocabulary is learnt otherwise
    free_fields=FREE_FIELDS,
    batch={
        "sources": "int32 [B, S], pieces, the end's 1 behind each sentence, then zeros",
        "targets": "int32 [B, T], likewise",
    },
    loss="mean over the targets' pieces, ends included, of the cross-entropy with smoothed labels, "
    "less the label's entropy: 1 - label_smoothing of the label is the right piece's, the rest in "
    "equal shares the others'",
    optimizer_sums={
        "first_moment": "m = beta1 m + (1 - beta1) g",
        "second_moment": "v = beta2 v + (1 - beta2) g g",
    },
    update="w - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), t from 1",
    statistic="",
    evaluation_batch={"sources": "int32 [B, S], as in training"},
    evaluation={
        "pieces": "int64 [B, L], the likeliest translation, zeros behind its end; L: S + "
        "extra_decode_length; decoding begins with a place of zeros",
        "scores": "[B], its log-probability over ((5 + its pieces with the end) / 6)^alpha; where "
        "none has ended, the best one's log-probability alone.  Of the best 2 beam_size ways on "
        "those that end compete with those that have ended, the others go on, beam_size of each; "
        "over when in every sentence the worst that has ended beats the best that goes on over "
        "the penalty of L pieces",
    },
    tolerances=TOLERANCES,
)
