"""Draws what a trained network finds in a picture:

    python -m object_detection.detect FRAMEWORK CHECKPOINT PICTURE PNG

CHECKPOINT is a file, or a run folder, whose newest one is taken; any of the frameworks may have
written it.  PICTURE is a JPEG or a PNG; PNG is written: masks, boxes, classes and scores.
"""

import dataclasses
import os
import sys

from common import trained
from common.command import FRAMEWORKS
from common.data import folder as folders
from common.errors import UserError, told
from object_detection import coco, data, drawing, images, quality

USAGE = "usage: python -m object_detection.detect FRAMEWORK CHECKPOINT PICTURE PNG"


def main(arguments):
    """Returns the exit code: 0, or 1 for a fault of the user."""
    return told(lambda: run(*arguments))


def run(framework_name="", path="", picture="", output="", *more):
    """Writes the drawing, and prints a line for each detection in it.  Raises UserError.

    Returns 0.
    """
    if framework_name not in FRAMEWORKS or not output or more:
        raise UserError(f"{USAGE}; FRAMEWORK is one of {', '.join(FRAMEWORKS)}.")
    path = trained.newest(path)
    for read in (path, picture):
        if os.path.exists(output) and os.path.exists(read) and os.path.samefile(read, output):
            raise UserError(f"{output}: is read, so it is not written. Name another PNG.")
    config = dataclasses.replace(trained.config_of(path, "object_detection"), backbone="",
                                 eval_batch_size=1)  # fmt: skip
    batch = data.own_batch(config, picture)  # before the framework starts
    trainer = trained.trainer_of(config, framework_name, path)
    [found] = quality.compare(trainer.predict(batch), batch)
    labels = labels_of(config)
    try:
        drawing.drawn(images.read_image(picture), found, labels).save(output, "PNG")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error}).") from None
    for box, label, score in zip(found.boxes.tolist(), found.classes, found.scores):
        if score >= drawing.LEAST_SCORE:
            shown = " ".join(f"{number:.1f}" for number in box)
            print(f"{score:.3f} {labels[label - 1]} {shown}", flush=True)
    return 0


def labels_of(config):
    """The name of each class: the dataset's, or "class N" where it is no longer there, or whole."""
    folder = os.path.join(config.data_dir, config.index)
    if config.index and folders.is_whole(folder):
        return coco.load(config, "test").labels
    return [f"class {number}" for number in range(1, config.num_classes + 1)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
