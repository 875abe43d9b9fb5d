"""What the suite must know of speech_recognition: Deep Speech 2 on LibriSpeech."""

from common.benchmark import Benchmark
from speech_recognition.config import FREE_FIELDS
from speech_recognition.quality import quality

# Norm of the difference over the norm, of each tensor; about ten times what was seen.  In fp32
# rounding decides now and then whether a convolution's output is cut: 9e-3 of a gradient, twice in
# 35 steps.
TOLERANCES = {
    "fp32": {
        "activation": 2e-5,
        "loss": 2e-6,
        "gradient": 2e-2,
        "gradient_scale": 1e-4,
        "velocity": 2e-2,
        "parameter": 2e-2,
        "statistic": 2e-5,
        "evaluation": 2e-6,
    },
    "fp64": {
        "activation": 1e-13,
        "loss": 1e-13,
        "gradient": 1e-11,
        "gradient_scale": 2e-13,
        "velocity": 5e-12,
        "parameter": 2e-12,
        "statistic": 5e-14,
        "evaluation": 1e-14,
    },
}


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names (mlperf_logging.mllog.constants), for the log."""
    return {
        "global_batch_size": config.batch_size,
        "train_samples": config.num_train_utterances,
        "eval_samples": config.num_eval_utterances,
        "gradient_accumulation_steps": 1,
        "opt_name": "sgd",
        "opt_base_learning_rate": config.learning_rate,
        "opt_learning_rate_decay_factor": config.anneal,
        "opt_momentum": config.momentum,
        "opt_gradient_clip_norm": config.clip_norm,
        "model_bn_span": -(-config.batch_size // num_processes),  # each norms its own part
    }


def infinite_losses(batch):
    """How many utterances of a batch have more labels than CTC finds room for in their steps.

    Between equal neighbours there must be a blank.
    """
    labels = batch["labels"]
    is_label = labels > 0
    again = is_label[:, 1:] & (labels[:, 1:] == labels[:, :-1])
    return int((is_label.sum(axis=1) + again.sum(axis=1) > batch["lengths"]).sum())


BATCH = {
    "spectrograms": "float32 [B, F, 161], normalised; zeros behind an utterance's end",
    "steps": "int32 [1], how many time steps exist: what the convolutions leave of the global "
    "batch's longest utterance; F is rounded up beyond it",
    "lengths": "int32 [B], time steps of each utterance",
    "labels": "int32 [B, L], symbols, zeros behind the last",
}

BENCHMARK = Benchmark(
    application="speech_recognition",
    name="deepspeech2",
    rule_set=lambda log: None,
    runs=5,
    quality=quality,
    log_values=log_values,
    closed=True,
    free_fields=FREE_FIELDS,
    batch=BATCH,
    evaluation_batch=BATCH,
    loss="mean over the batch of CTC's loss, the blank being 0; infinite ones are 0",
    optimizer_sums={"velocity": "v = momentum v + g, g after clip_norm"},
    update="w - rate (g + momentum v), g after clip_norm",
    statistic="m old + (1 - m) new, m batch_norm_momentum, new over the batch and the steps that "
    "exist, a variance over n - 1",
    evaluation={
        "symbols": "int64 [B, T], heard, zeros behind the last",
        "scores": "[B], the logarithm of their probability",
    },
    tolerances=TOLERANCES,
    counts={"infinite_losses": infinite_losses},
)
