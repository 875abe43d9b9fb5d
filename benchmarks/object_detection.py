"""Mask R-CNN's training step against peers; its reader and its evaluation apart from the network.

    common/in_environment.sh object_detection FRAMEWORK \\
        -m benchmarks.object_detection FRAMEWORK [--measure=reader | evaluation]

step: full-size steps of ours and of the peer in turn, on one picture of 800 x 1,333 with --objects
objects, from random weights.  Both sample 256 anchors and 512 of 2,000 proposals, and train all but
the stem and C2.  Ours always gives the mask head 128 regions; the peers, as public detectors do,
those that are positive, which is fewer.  Peers: torchvision's maskrcnn_resnet50_fpn; for TensorFlow
and PaddlePaddle, networks of the framework's own layers and detection operators, in
detection_peers/.  A line tells the seconds of CPU as well, which other work on the machine disturbs
less than the seconds that pass, and the memory that the process took at most.

reader: a batch of pictures of COCO's commonest size, 640 x 480, with seven objects each, written to
a folder of its own.  What runs in turn, on one thread: decoding the files alone; that and resizing;
a training batch, with boxes, bitmaps and keys; a test batch.

evaluation: 1,000 such pictures with --detections each.  What runs in turn: pasting the masks and
their run lengths; box AP and mask AP of them all.
"""

import dataclasses
import functools
import importlib
import json
import os
import resource
import tempfile
import time

import numpy as np
from absl import flags
from PIL import Image

from benchmarks import command
from common import timing
from common.command import FRAMEWORKS
from object_detection import coco, data, images, quality
from object_detection.config import REFERENCE
from object_detection.parameters import initial_parameters

ROUNDS = {"step": 5, "reader": 15, "evaluation": 5}
HEIGHT, WIDTH = 480, 640
STEP_WIDTH = 800         # step: at that height, 800 x 1,333 once resized
STEP_RATE = 1e-5         # random weights learn nothing: small, so that losses stay finite
STEP_SCALE = 0.25        # of the norm that ends a branch, or activations grow block by block
OBJECTS = 7              # of a picture: COCO has 7.2 in training
CORNERS = 20             # of a polygon
EVALUATED = 1000         # pictures


def write_pictures(folder, count, files, width=WIDTH, objects=OBJECTS):
    """A COCO folder of as many pictures in both splits; files: whether the pictures are written."""
    rng = np.random.default_rng(0)
    pictures = [{"id": n + 1, "file_name": f"{n + 1:012}.jpg", "height": HEIGHT, "width": width}
                for n in range(count)]
    annotations = []
    angles = np.sort(rng.uniform(0, 2 * np.pi, CORNERS))
    for number in range(count * objects):
        radii = np.exp(rng.uniform(np.log(8), np.log(180), 2))
        centre = rng.uniform(radii.clip(max=200), (width, HEIGHT) - radii.clip(max=200))
        points = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = points.clip(0, (width, HEIGHT)).round(2)
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        annotations.append({
            "id": number + 1, "image_id": number // objects + 1, "iscrowd": 0,
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
            small = rng.integers(0, 256, (HEIGHT // 8, width // 8, 3), np.uint8)
            pixels = Image.fromarray(small).resize((width, HEIGHT), Image.Resampling.BICUBIC)
            pixels.save(os.path.join(folder, name, picture["file_name"]), quality=90)


def own(config, folder):
    """The config on a folder of one's own."""
    counts = ("num_listed_images", "num_train_images", "num_eval_images")
    return dataclasses.replace(config, data_dir=folder, backbone="", **dict.fromkeys(counts))


def step_batch(config, objects):
    """The reader's batch of one picture of 800 x 1,333."""
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(folder, config.batch_size, True, STEP_WIDTH, objects)
        config = data.prepare(own(config, folder))
        batches = data.batches(config, "train", 1)
        return config, batches.at(batches.indices[0])


def for_peer(batch):
    """A batch as detectors take it: pictures of their own size, and as many rows as objects.

    A list of dictionaries: image, uint8 [H, W, 3], RGB; padded, the same with zeros below and on
    the right; boxes, float32 [N, 4], x1, y1, x2, y2; labels, int64 [N]; masks, uint8 [N, H, W],
    padded where `padded` is.
    """
    found = []
    for row, (height, width) in enumerate(batch["sizes"]):
        exists = batch["classes"][row] > 0
        boxes = batch["boxes"][row][exists]
        boxes[:, 2:] += 1.0  # the last pixel included
        masks = np.unpackbits(batch["masks"][row][exists], axis=2, bitorder="little")
        found.append({
            "image": np.ascontiguousarray(batch["images"][row, :height, :width]),
            "padded": batch["images"][row],
            "boxes": boxes,
            "labels": batch["classes"][row][exists].astype(np.int64),
            "masks": masks,
        })  # fmt: skip
    return found


def measure_step(name, config, values):
    """Times training steps on one batch.  Returns the figures."""
    if name == "pytorch":
        command.need("torchvision")
    framework, train = command.start("object_detection", name, config)
    peers = importlib.import_module(f"benchmarks.detection_peers.{name}")
    config = dataclasses.replace(
        config, branch_scale=STEP_SCALE, learning_rate_per_16=16.0 * STEP_RATE / config.batch_size,
        warmup_steps=0,
    )  # fmt: skip
    counted, batch = step_batch(config, values.objects)
    config = dataclasses.replace(
        counted, num_classes=config.num_classes, data_dir=config.data_dir, backbone=""
    )
    peer = peers.make_step(config, STEP_RATE)
    trainer = train.Trainer(config, initial_parameters(config))
    step, pictures = command.training_step(framework, trainer), for_peer(batch)
    processor = {"ours": [], "peer": []}

    def counting(side, run, of):
        def counted(_):
            before = time.process_time()
            loss = run(of)
            processor[side].append(time.process_time() - before)
            return loss

        return counted

    sides = {"ours": counting("ours", step, batch), "peer": counting("peer", peer, pictures)}
    rounds = [None] * (values.warmup + values.steps)
    seconds = command.alternate(framework, sides, rounds, values.warmup)
    label = f"{name}, {config.short_side} x {config.long_side},"
    figures = timing.report(label, seconds, config.batch_size, "images")
    processor = {side: np.array(spent[values.warmup :]) for side, spent in processor.items()}
    figures += timing.report(f"{label} CPU,", processor, config.batch_size, "images")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{label} peak memory of the process, both in it: {peak:.2f} GiB")
    return figures


def measure_reader(name, config, values):
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


def measure_evaluation(name, config, values):
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
    values = command.define_flags("batch_size", None, "images", ROUNDS)
    flags.DEFINE_integer("objects", OBJECTS, "step: of the picture", 1, flag_values=values)
    flags.DEFINE_integer("detections", 47, "evaluation: of a picture", 1, flag_values=values)
    name = command.parse(values, argv, FRAMEWORKS, ROUNDS)
    if values.batch_size is None:
        values.batch_size = 1 if values.measure == "step" else 16
    config = command.configure(REFERENCE, values, "batch_size")
    if values.measure == "step":
        if values.batch_size > 1:
            raise command.UserError("--measure=step: the peers take one picture a step. "
                                    "Leave --batch_size.")
    elif values.device != "cpu" or values.compile:
        raise command.UserError(f"--measure={values.measure}: it runs on the CPU, without a "
                                "framework.")
    measure = {"step": measure_step, "reader": measure_reader, "evaluation": measure_evaluation}
    command.write(values, "object_detection", name, measure[values.measure](name, config, values))


if __name__ == "__main__":
    command.run(main)
