"""Mask R-CNN's reader and its evaluation apart from the network, on one core.

    common/in_environment.sh object_detection FRAMEWORK \\
        -m benchmarks.object_detection FRAMEWORK [--measure=evaluation]

reader: a batch of pictures of COCO's commonest size, 640 x 480, with seven objects each, written to
a folder of its own.  What runs in turn, on one thread: decoding the files alone; that and resizing;
a training batch, with boxes, bitmaps and keys; a test batch.

evaluation: 1,000 such pictures with --detections each.  What runs in turn: pasting the masks and
their run lengths; box AP and mask AP of them all.
"""

import dataclasses
import functools
import json
import os
import tempfile

import numpy as np
from absl import flags
from PIL import Image

from benchmarks import command
from common import timing
from common.command import FRAMEWORKS
from object_detection import coco, data, images, quality
from object_detection.config import REFERENCE

ROUNDS = {"reader": 15, "evaluation": 5}
HEIGHT, WIDTH = 480, 640
OBJECTS = 7              # of a picture: COCO has 7.2 in training
CORNERS = 20             # of a polygon
EVALUATED = 1000         # pictures


def write_pictures(folder, count, files):
    """A COCO folder of as many pictures in both splits; files: whether the pictures are written."""
    rng = np.random.default_rng(0)
    pictures = [{"id": n + 1, "file_name": f"{n + 1:012}.jpg", "height": HEIGHT, "width": WIDTH}
                for n in range(count)]
    annotations = []
    angles = np.sort(rng.uniform(0, 2 * np.pi, CORNERS))
    for number in range(count * OBJECTS):
        radii = np.exp(rng.uniform(np.log(8), np.log(180), 2))
        centre = rng.uniform(radii.clip(max=200), (WIDTH, HEIGHT) - radii.clip(max=200))
        points = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = points.clip(0, (WIDTH, HEIGHT)).round(2)
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        annotations.append({
            "id": number + 1, "image_id": number // OBJECTS + 1, "iscrowd": 0,
            "category_id": int(rng.integers(1, 81)), "bbox": [*low.tolist(), *size.tolist()],
            "area": float(size.prod()), "segmentation": [points.ravel().tolist()],
        })  # fmt: skip
    categories = [{"id": n, "name": f"class {n}"} for n in range(1, 81)]
    content = {"images": pictures, "annotations": annotations, "categories": categories}
    os.mkdir(os.path.join(folder, "annotations"))
    for split, name in coco.FOLDERS.items():
        os.mkdir(os.path.join(folder, name))
        with open(coco.json_path(folder, split), "w") as opened:
            opened.write(json.dumps(content))
        for picture in pictures if files else []:
            small = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
            pixels = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            pixels.save(os.path.join(folder, name, picture["file_name"]), quality=90)


def own(config, folder):
    """The config on a folder of one's own."""
    counts = ("num_listed_images", "num_train_images", "num_eval_images")
    return dataclasses.replace(config, data_dir=folder, backbone="", **dict.fromkeys(counts))


def measure_reader(config, values):
    """Times batches of the reader on one thread.  Returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(folder, config.batch_size, files=True)
        config = data.prepare(own(dataclasses.replace(
            config, eval_batch_size=config.batch_size), folder))
        train, test = (data.batches(config, split) for split in coco.FOLDERS)
        pictures = [one for one in data.look_up_test(config, test.indices[0])[0] if one]

        def resized():
            for one in pictures:
                images.resize(images.read_image(one.path),
                              images.resized_size(*one.size, config))

        candidates = {
            "training batch": functools.partial(train.at, train.indices[0]),
            "test batch": functools.partial(test.at, test.indices[0]),
            "files, resized": resized,
            "files": lambda: [images.read_image(one.path) for one in pictures],
        }
        seconds = timing.alternate(candidates, values.steps, values.warmup)
        return timing.report("reader, one thread,", seconds, config.batch_size, "images")


def guesses(config, detections):
    """[(predictions, batch)] of the whole evaluation, without pictures: objects of the truth,
    moved a little, and boxes of anywhere; some masks ellipses, others noise."""
    rng = np.random.default_rng(1)
    pictures = coco.load(config, "test")
    rows, columns = np.mgrid[-1:1:28j, -1:1:28j]
    ellipse = np.exp(-2 * (rows**2 + columns**2) + 1.5) / 4
    found = []
    for numbers in data.batches(config, "test").indices:
        size = images.resized_size(HEIGHT, WIDTH, config)
        batch = {
            "sizes": np.tile(size, (len(numbers), 1)),
            "original_sizes": pictures.sizes[numbers],
            "image_ids": pictures.ids[numbers],
        }
        first = pictures.first[numbers][:, None] + np.arange(detections) % OBJECTS
        shape = len(numbers), detections
        boxes = pictures.boxes[first] + rng.normal(0, 6, (*shape, 4))
        boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 3)
        predictions = {
            "boxes": (boxes * size[0] / HEIGHT).astype(np.float32),
            "scores": rng.random(shape, np.float32),
            "classes": np.where(rng.random(shape) < 0.5, pictures.classes[first],
                                rng.integers(1, 81, shape)),
            "masks": np.clip(ellipse + rng.normal(0, 0.1, (*shape, 28, 28)), 0, 1).astype(
                np.float32),
        }  # fmt: skip
        found.append((predictions, batch))
    return found


def measure_evaluation(config, values):
    """Times the evaluation of EVALUATED pictures without the network.  Returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(folder, EVALUATED, files=False)
        config = own(config, folder)
        name = coco.survey(folder)
        coco.make(folder, name)
        config = dataclasses.replace(config, index=name, num_eval_images=EVALUATED)
        pairs = guesses(config, values.detections)

        def compared():
            return [quality.compare(predictions, batch) for predictions, batch in pairs]

        records = compared()
        candidates = {
            "pasting and run lengths": compared,
            "box AP and mask AP": lambda: quality.score(config, records),
        }
        seconds = timing.alternate(candidates, values.steps, values.warmup)
        return timing.report("evaluation,", seconds, EVALUATED, "images")


def main(argv):
    values = command.define_flags("batch_size", 16, "images", ROUNDS)
    flags.DEFINE_integer("detections", 47, "evaluation: of a picture", 1, flag_values=values)
    name = command.parse(values, argv, FRAMEWORKS, ROUNDS)
    config = command.configure(REFERENCE, values, "batch_size")
    if values.device != "cpu" or values.compile:
        raise command.UserError(f"--measure={values.measure}: it runs on the CPU, without a "
                                "framework.")
    measure = {"reader": measure_reader, "evaluation": measure_evaluation}[values.measure]
    command.write(values, "object_detection", name, measure(config, values))


if __name__ == "__main__":
    command.run(main)
