"""Small COCO folders: pictures of noise, annotations as said, and the quick config on them."""

import dataclasses
import json

import numpy as np
from PIL import Image

from object_detection.config import QUICK

CATEGORIES = ({"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 40, "name": "egg"})


def noise(height, width, seed=0):
    """uint8 [H, W, 3]: smooth noise, which a JPEG keeps."""
    small = np.random.default_rng([seed, height, width]).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def image(number, height=60, width=80):
    """COCO's fields of a picture."""
    return {"id": number, "file_name": f"{number:012}.jpg", "height": height, "width": width}


def box(number, picture, category, x, y, width, height, **changes):
    """COCO's fields of an object whose mask is its box."""
    x2, y2 = x + width, y + height
    return {
        "id": number, "image_id": picture, "category_id": category, "iscrowd": 0,
        "bbox": [x, y, width, height], "area": width * height,
        "segmentation": [[x, y, x2, y, x2, y2, x, y2]],
    } | changes  # fmt: skip


def crowd(number, picture, category, height=60, width=80):
    """COCO's fields of a crowd: the picture's left half."""
    counts = [0, height * (width // 2), height * (width - width // 2)]
    return box(number, picture, category, 0, 0, width // 2, height, iscrowd=1,
               segmentation={"size": [height, width], "counts": counts})


TRAIN = (
    [image(5), image(3, 80, 60), image(9), image(4), image(12, 60, 60), image(2), image(8, 90, 30)],
    [
        box(1, 5, 7, 10, 20, 30, 15),
        box(2, 3, 2, 0.5, 10.25, 20, 30),
        box(3, 5, 40, 50.5, 5, 40, 20),   # beyond the right edge
        crowd(4, 9, 7),                   # image 9: a crowd alone
        box(5, 12, 2, 5, 5, 50, 50),
        crowd(6, 12, 7, 60, 60),
        box(7, 2, 7, 3, 3, 1, 20),        # image 2: one pixel wide
        box(8, 8, 40, 2, 2, 20, 70),
        box(9, 5, 7, 12, 22, 5, 5),
    ],
)  # image 4: nothing at all
TEST = (
    [image(20), image(10, 80, 60), image(30, 60, 60)],
    [box(1, 20, 7, 10, 20, 30, 15), box(2, 20, 2, 40, 5, 20, 20), box(3, 10, 40, 5, 5, 40, 60),
     crowd(4, 10, 7, 80, 60)],
)  # fmt: skip


def content(images, annotations, categories=CATEGORIES):
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def write(folder, train=TRAIN, test=TEST):
    """Writes a dataset; each split: (images, annotations)."""
    (folder / "annotations").mkdir()
    for name, (images, annotations) in (("train2017", train), ("val2017", test)):
        (folder / name).mkdir()
        for one in images:
            pixels = noise(one["height"], one["width"], one["id"])
            Image.fromarray(pixels).save(folder / name / one["file_name"], quality=95)
        text = json.dumps(content(list(images), list(annotations)))
        (folder / "annotations" / f"instances_{name}.json").write_text(text)
    return folder


def own(folder, **changes):
    """The quick config on a folder, batches of two."""
    changes = {"seed": 1, "batch_size": 2, "eval_batch_size": 2, "num_classes": None} | changes
    return dataclasses.replace(QUICK, **changes, data_dir=str(folder))
