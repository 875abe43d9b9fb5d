"""The embedded data of the quick profile: drawn shapes, as JPEG files in ImageNet's folders.

Ten shapes at any place, size, colour and contrast, over a patterned ground.  A linear model on
pixels cannot tell them: averaged over places and contrasts, the classes look alike.
"""

import os

import numpy as np
from PIL import Image

from common.data import embedded

VERSION = 2        # of the drawings: another number, another folder
SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "bar", "two_bars", "checker",
          "half_disc")
NUM_CLASSES = len(SHAPES)
NUM_TRAIN = 400   # of each class
NUM_EVAL = 100
SEED = 20180512


def folder_name(label):
    """A class folder's name, in the manner of WordNet's."""
    return f"n{90000000 + label:08d}"


def mask(shape, x, y):
    """bool: which points belong to a shape in the square -1..1."""
    r = np.hypot(x, y)
    box = np.maximum(np.abs(x), np.abs(y))
    if shape == "disc":
        return r < 1
    if shape == "ring":
        return (r < 1) & (r > 0.6)
    if shape == "square":
        return box < 0.9
    if shape == "frame":
        return (box < 0.9) & (box > 0.55)
    if shape == "triangle":
        return (y < 0.8) & (y > 2.0 * np.abs(x) - 0.95)
    if shape == "cross":
        return (np.minimum(np.abs(x), np.abs(y)) < 0.3) & (box < 1)
    if shape == "bar":
        return (np.abs(y) < 0.35) & (np.abs(x) < 1)
    if shape == "two_bars":
        return (np.abs(np.abs(y) - 0.6) < 0.25) & (np.abs(x) < 1)
    if shape == "checker":
        return (x * y > 0) & (box < 0.95)
    return (r < 1) & (y > 0)  # half_disc


def draw(label, rng):
    """uint8 [H, W, 3]: one image of a class."""
    height, width = (int(side) for side in rng.integers(56, 81, 2))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    # Ground: two waves of any direction, and a colour.
    ground = np.zeros((height, width), np.float32)
    for _ in range(2):
        a, b, phase = rng.uniform(-0.25, 0.25, 2).tolist() + [rng.uniform(0, 6.28)]
        ground += np.sin(a * rows + b * columns + phase)
    colour = rng.uniform(60, 195, 3)
    image = colour + ground[..., None] * rng.uniform(-11, 11, 3)
    # Object: any place, size, small turn, and brighter or darker than the ground.
    radius = rng.uniform(0.23, 0.35) * min(height, width)
    cy, cx = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    angle = rng.uniform(-0.2, 0.2)
    x, y = (columns - cx) / radius, (rows - cy) / radius
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    inside = mask(SHAPES[label], x, y)[..., None]
    contrast = rng.uniform(35, 80) * rng.choice([-1, 1])
    image = image + inside * (contrast + rng.uniform(-10, 10, 3))
    image += rng.normal(0, 7, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def write(folder):
    """Writes train/ and val/ into an empty folder: 4,000 and 1,000 images."""
    for split, count, first in (("train", NUM_TRAIN, 0), ("val", NUM_EVAL, NUM_TRAIN)):
        for label in range(len(SHAPES)):
            name = folder_name(label)
            os.makedirs(os.path.join(folder, split, name))
            for number in range(first, first + count):
                image = Image.fromarray(draw(label, np.random.default_rng([SEED, label, number])))
                path = os.path.join(folder, split, name, f"{name}_{number}.JPEG")
                image.save(path, "JPEG", quality=92)


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("image_classification", VERSION, write)
