"""What the suite must know of recommendation: NeuMF on MovieLens-20M."""

from common.benchmark import Benchmark
from recommendation.config import FREE_FIELDS, num_train_examples
from recommendation.quality import QUALITY

# Norm of the difference over the norm, of each tensor; about ten times what was seen in five steps.
# fp32, second_moment: TensorFlow and PaddlePaddle take 1 - beta2 in float32, PyTorch in float64.
TOLERANCES = {
    "fp32": {
        "activation": 1e-6,
        "loss": 2e-6,
        "gradient": 1e-5,
        "gradient_scale": 3e-7,
        "first_moment": 1e-5,
        "second_moment": 1e-4,
        "parameter": 2e-5,
        "evaluation": 1e-6,
    },
    "fp64": {
        "activation": 3e-15,
        "loss": 5e-15,
        "gradient": 2e-14,
        "gradient_scale": 3e-15,
        "first_moment": 2e-14,
        "second_moment": 3e-14,
        "parameter": 2e-14,
        "evaluation": 3e-15,
    },
}


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names (mlperf_logging.mllog.constants), for the log."""
    return {
        "global_batch_size": config.batch_size,
        "train_samples": num_train_examples(config),
        "eval_samples": config.num_users,
        "gradient_accumulation_steps": 1,
        "opt_name": "adam",
        "opt_base_learning_rate": config.learning_rate,
        "opt_adam_beta_1": config.adam_beta1,
        "opt_adam_beta_2": config.adam_beta2,
        "opt_adam_epsilon": config.adam_epsilon,
    }


BENCHMARK = Benchmark(
    application="recommendation",
    name="ncf",
    rule_set=lambda log: None,
    runs=10,
    quality=lambda config: QUALITY,
    log_values=log_values,
    closed=True,
    free_fields=FREE_FIELDS,
    batch={
        "users": "int64 [B], rows of the users' embeddings",
        "items": "int64 [B], rows of the items' embeddings",
        "labels": "float32 [B], 1 for a rating, 0 for a negative",
    },
    loss="mean over the batch of the cross-entropy of yes and no",
    optimizer_sums={
        "first_moment": "m = beta1 m + (1 - beta1) g",
        "second_moment": "v = beta2 v + (1 - beta2) g g",
    },
    update="w - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), t from 1",
    statistic="",
    evaluation_batch={
        "users": "int64 [B], from 0",
        "items": "int64 [B, candidates], from 0, the held-out one last",
    },
    evaluation={"scores": "[B, candidates], before the sigmoid"},
    tolerances=TOLERANCES,
)
