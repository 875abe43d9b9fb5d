"""What the suite must know of the toy: a line through points."""

import numpy as np

from common.benchmark import Benchmark
from common.quality import Quality

QUALITY = Quality(
    ("mean_squared_error",),
    higher_is_better=False,
    compare=lambda predictions, batch: (predictions - batch["y"]) ** 2,
    score=lambda records: float(np.concatenate(records).mean()),
    count=lambda records: sum(map(len, records)),
)


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names, for the log."""
    return {
        "global_batch_size": config.batch_size,
        "train_samples": config.num_train,
        "eval_samples": config.num_eval,
        "gradient_accumulation_steps": 1,
        "opt_name": "sgd",
        "opt_base_learning_rate": config.learning_rate,
    }


BENCHMARK = Benchmark(
    application="toy",
    name="line",
    rule_set=lambda log: None,
    runs=2,
    quality=lambda config: QUALITY,
    log_values=log_values,
    closed=True,
    free_fields=("batch_size",),
    batch={"x": "float32 [B, 2], points", "y": "float32 [B], their heights"},
    loss="mean over the batch of the squared error",
    optimizer_sums={},
    update="w - rate g",
    statistic="",
    evaluation_batch={"x": "float32 [B, 2], points"},
    evaluation={"heights": "[B], predicted"},
    tolerances={
        "fp64": dict.fromkeys(
            ("activation", "loss", "gradient", "gradient_scale", "parameter", "evaluation"), 1e-12
        ),
    },
)
