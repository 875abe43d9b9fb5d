"""Box AP and mask AP, as COCO's own evaluation has them, over all pictures of the evaluation.

Mean over the classes and the overlaps .50, .55, ..., .95; crowds are regions to be ignored.  By
faster-coco-eval, whose numbers are pycocotools's.
"""

import functools
import itertools
import json
import logging
import os
from dataclasses import dataclass

import numpy as np

from common.files import replaced
from common.quality import Quality
from object_detection import bitmaps, coco

RESULTS = {"bbox": "detections_bbox.json", "segm": "detections_segm.json"}


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, in the pixels of its file, the best first.

    number: the picture's id.  boxes: float32 [N, 4], x, y, width, height.  scores: float32 [N].
    classes: int32 [N], from 1.  masks: [COCO's compressed counts, bytes], of a picture of size,
    height and width.
    """

    number: int
    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: list[bytes]


def quality(config):
    """The Quality of a prepared config."""
    return Quality(
        ("bbox", "segm"),
        higher_is_better=True,
        compare=compare,
        score=functools.partial(score, config),
        count=count,
    )


def compare(predictions, batch):
    """[Detections] of a batch's pictures.

    predictions: {"boxes": [B, D, 4], x1, y1, x2, y2, in the resized picture; "scores": [B, D];
    "classes": int [B, D], 0 behind the last; "masks": [B, D, M, M], probabilities}.
    batch: as data.batches gives it.
    """
    found = []
    for row, number in enumerate(batch["image_ids"].tolist()):
        if number:
            kept = predictions["classes"][row] > 0
            one = {name: np.asarray(array[row][kept]) for name, array in predictions.items()}
            sizes = batch["sizes"][row], batch["original_sizes"][row]
            found.append(detections(number, one, *sizes))
    return found


def detections(number, found, resized, original):
    """The Detections of a picture.

    found: what `compare` gets, of one picture, without what is behind the last.  resized, original:
    height and width.
    """
    height, width = map(int, original)
    boxes = found["boxes"] * np.tile(original[::-1] / resized[::-1], 2)
    boxes = boxes.astype(np.float32)
    masks = [
        bitmaps.run_lengths(*mask, height, width)["counts"]
        for mask in bitmaps.pasted(found["masks"], boxes, height, width)
    ]
    corner, far = boxes[:, :2], boxes[:, 2:]
    return Detections(
        number,
        (height, width),
        np.concatenate([corner, far - corner + 1], axis=1),
        found["scores"].astype(np.float32),
        found["classes"].astype(np.int32),
        masks,
    )


def count(records):
    """How many pictures the records speak of."""
    return sum(len(record) for record in records)


def score(config, records):
    """(box AP, mask AP).  records: what `compare` gave, of all pictures.

    Writes what the config asks for into the run folder.
    """
    found = sorted(itertools.chain(*records), key=lambda one: one.number)
    pictures = coco.load(config, "test")
    results = {kind: as_coco(found, pictures.categories, kind) for kind in RESULTS}
    if config.save_detections:
        for kind, name in RESULTS.items():
            with replaced(os.path.join(config.output_dir, name)) as opened:
                json.dump(results[kind], opened)
    if config.draw_images:
        # Late: it takes Pillow, which another application's environment may lack.
        from object_detection import drawing

        drawing.write(config, found)
    with open(coco.json_path(config.data_dir, "test"), encoding="utf-8") as opened:
        truth = json.load(opened)
    return tuple(average_precision(truth, results[kind], kind) for kind in RESULTS)


def as_coco(found, categories, kind):
    """[{field: value}] of Detections, as COCO's server takes them.

    categories: int [classes], the id of each class.  kind: "bbox" or "segm".
    """
    results = []
    for one in found:
        masks = [{"size": list(one.size), "counts": counts.decode()} for counts in one.masks]
        values = one.boxes.astype(np.float64).tolist() if kind == "bbox" else masks
        field = "bbox" if kind == "bbox" else "segmentation"
        for number, value, certain in zip(one.classes.tolist(), values, one.scores.tolist()):
            category = int(categories[number - 1])
            results.append({"image_id": one.number, "category_id": category, field: value,
                            "score": certain})  # fmt: skip
    return results


def average_precision(truth, results, kind):
    """AP over all areas and 100 detections a picture and class.  0 where nothing was found.

    truth: the dictionary of an instances_*.json.  results: by as_coco.
    """
    # Late: whoever reads logs imports this module, and another application's environment lacks it.
    from faster_coco_eval import COCO, COCOeval_faster

    # Beside PaddlePaddle, which lets all loggers speak, it would tell of each step.
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    if not results:  # the library refuses an empty list
        return 0.0
    truth = COCO(truth)
    judge = COCOeval_faster(truth, truth.loadRes(results), kind)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[0])
