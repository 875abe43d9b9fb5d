"""Detections drawn onto their picture, for people to look at."""

import os

import numpy as np
from PIL import Image, ImageDraw

from common.files import replaced
from object_detection import coco, images

LEAST_SCORE = 0.5        # of what is drawn
COLOURS = np.array(
    [(230, 60, 60), (60, 180, 75), (255, 225, 25), (70, 130, 240), (245, 130, 48),
     (145, 30, 180), (70, 240, 240), (240, 50, 230), (188, 246, 12), (0, 128, 128)], np.uint8
)  # fmt: skip


def drawn(pixels, found, labels, least_score=LEAST_SCORE):
    """A PIL picture: masks, boxes, classes and scores, the surest on top.

    pixels: uint8 [H, W, 3].  found: its quality.Detections.  labels: the name of each class.
    """
    from faster_coco_eval.core import mask  # late, as in quality.py

    chosen = [row for row in np.argsort(-found.scores, kind="stable")
              if found.scores[row] >= least_score][::-1]
    pixels = pixels.copy()
    for row in chosen:
        runs = {"size": list(found.size), "counts": found.masks[row]}
        inside = mask.decode(runs).astype(bool)
        pixels[inside] = pixels[inside] // 2 + colour(found.classes[row]) // 2
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    for row in chosen:
        x, y, width, height = found.boxes[row].tolist()
        shade = tuple(colour(found.classes[row]).tolist())
        pen.rectangle([x, y, max(x, x + width - 1), max(y, y + height - 1)], outline=shade)
        text = f"{labels[found.classes[row] - 1]} {found.scores[row]:.2f}"
        place = (max(0, x), max(0, y - 11))
        pen.rectangle(pen.textbbox(place, text), fill=shade)
        pen.text(place, text, fill=(0, 0, 0))
    return picture


def colour(number):
    """uint8 [3]: of a class, from 1."""
    return COLOURS[(number - 1) % len(COLOURS)]


def write(config, found):
    """Writes the first config.draw_images of these quality.Detections into the run folder."""
    folder = os.path.join(config.output_dir, "detections")
    os.makedirs(folder, exist_ok=True)
    pictures = coco.load(config, "test")
    rows = {number: row for row, number in enumerate(pictures.ids.tolist())}
    for one in found[: config.draw_images]:
        name = pictures.name(rows[one.number])
        pixels = images.read_image(coco.picture_path(config.data_dir, "test", name))
        with replaced(os.path.join(folder, f"{one.number:012}.png"), "wb") as opened:
            drawn(pixels, one, pictures.labels).save(opened, "PNG")
