"""What the suite must know of object_detection: Mask R-CNN on COCO 2017."""

from common.benchmark import Benchmark
from object_detection.config import FREE_FIELDS, boundaries
from object_detection.quality import quality

# Norm of the difference over the norm, of each tensor; about ten times what was seen, which is most
# at full size.
TOLERANCES = {
    "fp32": {
        "activation": 5e-5,
        "loss": 2e-6,
        "gradient": 5e-3,
        "gradient_scale": 4e-5,
        "velocity": 5e-3,
        "parameter": 1e-5,
        "statistic": 1e-9,
        "evaluation": 5e-5,
    },
    "fp64": {
        "activation": 6e-14,
        "loss": 1e-14,
        "gradient": 1e-13,
        "gradient_scale": 1e-14,
        "velocity": 1e-13,
        "parameter": 1e-14,
        "statistic": 1e-15,
        "evaluation": 2e-14,
    },
}


def log_values(config, num_processes):
    """The hyperparameters by their MLLOG names (mlperf_logging.mllog.constants), for the log."""
    return {
        "global_batch_size": config.batch_size,
        "train_samples": config.num_train_images,
        "eval_samples": config.num_eval_images,
        "gradient_accumulation_steps": 1,
        "opt_name": "sgd",
        "opt_base_learning_rate": config.learning_rate_per_16 * config.batch_size / 16,
        "opt_learning_rate_warmup_steps": config.warmup_steps,
        "opt_learning_rate_warmup_factor": config.warmup_factor,
        "opt_learning_rate_decay_factor": config.decay_factor,
        "opt_learning_rate_decay_steps": boundaries(config),
        "opt_momentum": config.momentum,
        "opt_weight_decay": config.weight_decay,
        "num_image_candidates": config.proposals,
        "min_image_size": config.short_side,
        "max_image_size": config.long_side,
    }


IMAGES = {
    "images": "uint8 [B, H, W, 3], RGB, resized and flipped, padded below and on the right",
    "sizes": "int32 [B, 2], height and width of each without the padding; 0, 0: no picture",
}
BATCH = IMAGES | {
    "boxes": "float32 [B, G, 4], x1, y1, x2, y2, the last two inclusive; zeros behind the last",
    "classes": "int32 [B, G], from 1; zeros behind the last",
    "masks": "uint8 [B, G, H, W / 8], bitmaps of the objects, eight columns a byte, the first in "
    "the lowest bit",
    "anchor_keys": "int32 [B, A], a permutation: where anchors are sampled, the smallest win",
    "roi_keys": "int32 [B, R + G], likewise of the proposals, by falling score, then of `boxes`",
}
EVALUATION_BATCH = IMAGES | {
    "image_ids": "int64 [B], as the annotations have them; 0: no picture",
    "original_sizes": "int32 [B, 2], height and width of each picture's file",
}

BENCHMARK = Benchmark(
    application="object_detection",
    name="maskrcnn",
    rule_set=lambda log: "3.1.0",
    runs=5,
    quality=quality,
    log_values=log_values,
    closed=True,
    free_fields=FREE_FIELDS,
    batch=BATCH,
    evaluation_batch=EVALUATION_BATCH,
    loss="mean over the pictures of the sum of their five losses",
    optimizer_sums={"velocity": "v = momentum v + g + weight_decay w, of a bias momentum v + g"},
    update="w - rate v, of a bias w - 2 rate v",
    statistic="as it was: frozen",
    evaluation={
        "boxes": "[B, D, 4], x1, y1, x2, y2 of the detections, by falling score; zeros behind the "
        "last",
        "scores": "[B, D], zeros behind the last",
        "classes": "int64 [B, D], from 1; zeros behind the last",
        "masks": "[B, D, 28, 28], probabilities, rows first",
        "decision.proposals": "int64 [B, eval_proposals], the anchors whose boxes are proposals, "
        "by falling score; -1 behind the last",
        "decision.detections": "int64 [B, detections], region times (1 + num_classes) plus class, "
        "by falling score; -1 behind the last",
    },
    tolerances=TOLERANCES,
)
