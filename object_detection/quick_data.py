"""The embedded data of the quick profile: drawn shapes in COCO's layout, as JPEG and polygons.

Four kinds of objects, told by shape and texture: any colour, any place, sizes over a factor of
four, up to four in a picture.  A later one covers earlier ones; what is left of those is annotated,
in several polygons where it is in several pieces.  Ground: waves, lines and patches.
"""

import json
import os

import numpy as np
from PIL import Image

from common.data import embedded

VERSION = 1              # of the data: another number, another folder
SEED = 20170
SIDE = 128               # pixels of a picture
NUM_TRAIN, NUM_EVAL = 600, 150
NUM_EMPTY = 6            # of training's, more: pictures without an object
MOST_OBJECTS = 4
RADII = (9.0, 37.0)      # of an object: half its extent, in pixels, as many of each octave
SEEN = 0.4               # share of an object that others leave, at least

# Name and COCO-like id of each kind; the ids have gaps.
KINDS = {"disc": 1, "square": 3, "triangle": 4, "cross": 8}

ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] + 0.5  # of the pixels' centres
ROWS, COLUMNS = ROWS.astype(np.float32), COLUMNS.astype(np.float32)


def inside(kind, x, y):
    """bool: the places of an object that reaches from -1 to 1."""
    if kind == "disc":
        return x * x + y * y <= 1
    if kind == "square":
        return np.maximum(abs(x), abs(y)) <= 0.9
    if kind == "triangle":
        return (y <= 0.85) & (abs(x) <= 0.54 * (y + 1))
    return (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 1)


def texture(kind, x, y):
    """float32 in -1..1.  x, y: in pixels from the object's centre, turned with it."""
    if kind == "disc":
        return np.sin(np.hypot(x, y) * 0.9)           # rings
    if kind == "square":
        return np.sin(y * 1.0)                        # stripes
    if kind == "triangle":
        return np.sign(np.sin(x * 0.7) * np.sin(y * 0.7))  # checks
    return np.zeros_like(x)                           # plain


def ground(rng):
    """float32 [SIDE, SIDE, 3]: waves, lines and patches."""
    waves = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(3):
        a, b, phase = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(0, 6.3)
        waves += np.sin(a * ROWS + b * COLUMNS + phase)
    image = rng.uniform(70, 185, 3) + waves[..., None] * rng.uniform(-9, 9, 3)
    for _ in range(rng.integers(4, 9)):  # lines through the picture
        angle, place = rng.uniform(0, np.pi), rng.uniform(0, SIDE, 2)
        across = (COLUMNS - place[0]) * np.cos(angle) + (ROWS - place[1]) * np.sin(angle)
        image[abs(across) < rng.uniform(0.5, 1.5)] += rng.uniform(-45, 45, 3)
    for _ in range(rng.integers(3, 7)):  # faint ovals
        place, spread = rng.uniform(0, SIDE, 2), rng.uniform(4, 22, 2)
        oval = ((COLUMNS - place[0]) / spread[0]) ** 2 + ((ROWS - place[1]) / spread[1]) ** 2 < 1
        image[oval] += rng.uniform(-25, 25, 3)
    return image.astype(np.float32)


def draw(rng, num_objects):
    """(uint8 [SIDE, SIDE, 3], the same without objects, [(kind, bool [SIDE, SIDE])]).

    The masks are of what is seen.
    """
    image = ground(rng)
    noise = rng.normal(0, 5, image.shape)
    empty = np.clip(image + noise, 0, 255).astype(np.uint8)
    kinds, masks, areas = [], [], []
    while len(masks) < num_objects:
        kind = [*KINDS][rng.integers(len(KINDS))]
        radius = np.exp(rng.uniform(*np.log(RADII)))
        x, y = rng.uniform(0.6 * radius, SIDE - 0.6 * radius, 2)  # some are cut by the edge
        angle = rng.uniform(-0.3, 0.3)
        colour = rng.uniform(30, 225, 3)
        x, y = COLUMNS - np.float32(x), ROWS - np.float32(y)
        x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
        whole = inside(kind, x / radius, y / radius)
        left = [mask & ~whole for mask in masks]
        covers = any(mask.sum() < SEEN * area for mask, area in zip(left, areas))
        if covers or abs(image[whole].mean(axis=0) - colour).mean() < 40:
            continue  # too much of another, or hardly to be told from what is behind it
        image[whole] = colour + 38 * texture(kind, x[whole], y[whole])[:, None]
        kinds, masks, areas = kinds + [kind], left + [whole], areas + [whole.sum()]
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image, empty, list(zip(kinds, masks))


def outlines(mask):
    """[[x, y, x, y, ...]]: the polygons around the pieces of a mask, along the pixels' edges.

    Holes are left out.  Pieces that touch at a corner are two.
    """
    framed = np.pad(mask, 1)
    here = framed[1:-1, 1:-1]
    leaving = {}  # {corner: [next corner]}, the mask on the right
    sides = (
        (here & ~framed[:-2, 1:-1], (0, 0), (1, 0)),
        (here & ~framed[1:-1, 2:], (1, 0), (1, 1)),
        (here & ~framed[2:, 1:-1], (1, 1), (0, 1)),
        (here & ~framed[1:-1, :-2], (0, 1), (0, 0)),
    )
    for edges, start, end in sides:
        for y, x in np.argwhere(edges).tolist():
            leaving.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    found = []
    while leaving:
        first = place = next(iter(leaving))
        corners, way = [], None
        while True:
            nexts = leaving[place]
            # Where two pieces touch, the right turn stays with its own.
            turn = nexts[0] if way is None else max(nexts, key=lambda n: (
                way[0] * (n[1] - place[1]) - way[1] * (n[0] - place[0])))
            nexts.remove(turn)
            if not nexts:
                del leaving[place]
            step = turn[0] - place[0], turn[1] - place[1]
            if step != way:
                corners.append(place)
            place, way = turn, step
            if place == first:
                break
        x, y = np.array(corners).T
        if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0:  # a hole runs the other way round
            found.append([float(value) for corner in corners for value in corner])
    return found


def annotation(kind, mask):
    """COCO's fields of an object, but for the ids."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    x, y = float(columns[0]), float(rows[0])
    return {
        "category_id": KINDS[kind],
        "bbox": [x, y, float(columns[-1]) - x + 1, float(rows[-1]) - y + 1],
        "segmentation": outlines(mask),
        "area": float(mask.sum()),
        "iscrowd": 0,
    }


def pictures(split):
    """Yields (id, picture, the same without objects, [(kind, mask)]) of "train" or "test"."""
    test = split == "test"
    count, empty = (NUM_EVAL, 0) if test else (NUM_TRAIN, NUM_EMPTY)
    for number in range(count + empty):
        rng = np.random.default_rng([SEED, test, number])
        objects = int(rng.integers(1, MOST_OBJECTS + 1)) if number < count else 0
        yield 10 * number + 139 + test, *draw(rng, objects)


def write(folder):
    """Writes annotations/, train2017/ and val2017/ into an empty folder."""
    os.mkdir(os.path.join(folder, "annotations"))
    for split, name in (("train", "train2017"), ("test", "val2017")):
        os.mkdir(os.path.join(folder, name))
        images, annotations = [], []
        for number, picture, _, objects in pictures(split):
            file_name = f"{number:012}.jpg"
            Image.fromarray(picture).save(os.path.join(folder, name, file_name), quality=92)
            images.append({"id": number, "file_name": file_name, "height": SIDE, "width": SIDE})
            for kind, mask in objects:
                own = {"id": len(annotations) + 1, "image_id": number}
                annotations.append(own | annotation(kind, mask))
        categories = [{"id": number, "name": kind} for kind, number in KINDS.items()]
        content = {"info": {"description": "drawn shapes"}, "images": images,
                   "annotations": annotations, "categories": categories}  # fmt: skip
        path = os.path.join(folder, "annotations", f"instances_{name}.json")
        with open(path, "w", encoding="ascii") as opened:
            opened.write(json.dumps(content))  # at once: it is faster than json.dump


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("object_detection", VERSION, write)
