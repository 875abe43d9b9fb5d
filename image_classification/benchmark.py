"""What the suite must know of image_classification: ResNet-50 on ImageNet."""

from common.benchmark import Benchmark
from image_classification.config import FREE_FIELDS, peak_learning_rate
from image_classification.quality import QUALITY

# Norm of the difference over the norm, of each tensor; about ten times what was seen.  fp32's
# activations and gradients come nearest at the full size: PaddlePaddle's differ by 6e-4 and 8e-2.
# There a sum beside zero may round to the other side of a ReLU: activations hardly change, but the
# gradient of that element comes or goes, and with it some 1 % of the gradient of a small batch.
# fp64, where that does not happen, is the sharp test.
TOLERANCES = {
    "fp32": {
        "activation": 1e-3,
        "loss": 1e-5,
        "gradient": 3e-1,
        "gradient_scale": 5e-3,
        "velocity": 3e-1,
        "parameter": 5e-2,
        "statistic": 1e-4,
        "evaluation": 5e-6,
    },
    "fp64": {
        "activation": 5e-12,
        "loss": 3e-14,
        "gradient": 5e-12,
        "gradient_scale": 1e-13,
        "velocity": 5e-12,
        "parameter": 2e-12,
        "statistic": 5e-12,
        "evaluation": 1e-14,
    },
}


def rule_set(log):
    """The rules since 0.7.0 want a polynomial schedule: v0.5's steps are judged by rules.yaml."""
    stepped = "opt_learning_rate_decay_boundary_epochs" in log
    return None if stepped and log["submission_division"] == "closed" else "4.0.0"


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names (mlperf_logging.mllog.constants), for the log."""
    steps_per_epoch = config.num_train_images / config.batch_size
    peak = peak_learning_rate(config)
    values = {
        "global_batch_size": config.batch_size,
        "train_samples": config.num_train_images,
        "eval_samples": config.num_eval_images,
        "gradient_accumulation_steps": 1,
        "opt_name": config.optimizer,
        "opt_base_learning_rate": peak,
        "opt_learning_rate_warmup_epochs": config.warmup_epochs,
        "model_bn_span": -(-config.batch_size // num_processes),  # each norms its own part
    }
    if config.schedule == "step":
        values["opt_learning_rate_decay_boundary_epochs"] = list(config.boundary_epochs)
        values["opt_weight_decay"] = config.weight_decay
        values["opt_momentum"] = config.momentum
        return values
    prefix = f"{config.optimizer}_opt"
    warmup_steps = int(config.warmup_epochs * steps_per_epoch)
    decay_steps = int(config.decay_epochs * steps_per_epoch) - warmup_steps + 1
    values |= {
        f"{prefix}_base_learning_rate": peak,
        f"{prefix}_end_learning_rate": config.end_learning_rate,
        f"{prefix}_learning_rate_decay_poly_power": 2,
        f"{prefix}_learning_rate_decay_steps": decay_steps,
        f"{prefix}_learning_rate_warmup_epochs": config.warmup_epochs,
        f"{prefix}_momentum": config.momentum,
        f"{prefix}_weight_decay": config.weight_decay,
    }
    if config.optimizer == "lars":
        values["lars_epsilon"] = 0.0
    return values


BENCHMARK = Benchmark(
    application="image_classification",
    name="resnet",
    rule_set=rule_set,
    runs=5,
    quality=lambda config: QUALITY,
    log_values=log_values,
    closed=True,
    free_fields=FREE_FIELDS,
    batch={
        "images": "uint8 [B, H, W, 3], RGB from 0 to 255; the network takes off mean_rgb",
        "labels": "int64 [B], classes from 0",
    },
    loss="mean over the batch of the cross-entropy with smoothed labels: 1 - label_smoothing of a "
    "label is the right class's, the rest in equal shares all classes'",
    optimizer_sums={
        "velocity": "v = momentum v + g + decay w; lars: v = momentum v + rate t (g + decay w), "
        "t = lars_trust |w| / (|g| + decay |w|), of vectors momentum v + rate g"
    },
    update="w - rate v; lars: w - v",
    statistic="m old + (1 - m) new, m batch_norm_momentum, new of the batch, a variance over n - 1",
    evaluation_batch={"images": "uint8 [B, H, W, 3], as in training"},
    evaluation={
        "classes": "int64 [B], the likeliest",
        "logits": "[B, classes], with the moving statistics in batch norm",
    },
    tolerances=TOLERANCES,
    departs="v0.5's learning rate goes down in steps; since 0.7.0 the rules want a polynomial: say "
    "--set schedule=polynomial, or --profile=lars",
)
