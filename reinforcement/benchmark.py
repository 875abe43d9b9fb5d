"""What the suite must know of reinforcement: Minigo on 9x9."""

from common.benchmark import Benchmark
from reinforcement.config import FREE_FIELDS
from reinforcement.quality import quality

# Norm of the difference over the norm, of each tensor; about ten times what was seen.
TOLERANCES = {
    "fp32": {
        "activation": 1e-4,
        "loss": 1e-5,
        "gradient": 1e-2,
        "gradient_scale": 1e-3,
        "velocity": 1e-2,
        "parameter": 1e-3,
        "statistic": 1e-5,
        "evaluation": 1e-2,
    },
    "fp64": {
        "activation": 1e-12,
        "loss": 1e-13,
        "gradient": 1e-11,
        "gradient_scale": 1e-12,
        "velocity": 1e-11,
        "parameter": 1e-12,
        "statistic": 1e-13,
        "evaluation": 1e-13,
    },
}


def rule_set(log):
    """MLCommons' closed rules are of later versions: 8,192 games and another quality."""
    return None if log["submission_division"] == "closed" else "2.1.0"


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names, for the log."""
    return {
        "global_batch_size": config.batch_size,
        "train_samples": config.steps_per_generation * config.batch_size,
        "eval_samples": config.num_positions * config.prediction_rounds,
        "gradient_accumulation_steps": 1,
        "opt_name": "sgd",
        "opt_base_learning_rate": config.learning_rate,
        "opt_momentum": config.momentum,
        "opt_weight_decay": config.weight_decay,
        "opt_learning_rate_decay_boundary_steps": list(config.rate_steps),
        "model_bn_span": -(-config.batch_size // num_processes),  # each norms its own part
        "min_selfplay_games_per_generation": config.games_per_generation,
    }


BENCHMARK = Benchmark(
    application="reinforcement",
    name="minigo",
    rule_set=rule_set,
    runs=20,
    quality=quality,
    log_values=log_values,
    closed=True,
    free_fields=FREE_FIELDS,
    batch={
        "planes": "uint8 [B, size, size, 17], stones of eight positions and the side to move",
        "policy": "float32 [B, moves], shares of the search's visits",
        "winner": "float32 [B], 1 Black, -1 White",
    },
    evaluation_batch={
        "moves": "int32 [B, T], before each position; -1 behind the last",
        "lengths": "int32 [B], how many there are",
        "komi": "float64 [B]",
        "draws": "int64 [B], seeds of the symmetries",
        "answers": "int64 [B], the experts' moves",
    },
    loss="mean over the batch of the policy's cross entropy and of the value's squared error; "
    "without weight decay",
    optimizer_sums={"velocity": "v = momentum v + g + decay w"},
    update="w - rate v",
    statistic="m old + (1 - m) new, m batch_norm_momentum, new over the batch and the board, a "
    "variance over n - 1",
    evaluation={
        "choices": "int64 [B], the moves visited most",
        "visits": "int32 [B, moves], of the root's children",
        "values": "float64 [B], of the root, for the side to move",
    },
    tolerances=TOLERANCES,
)
