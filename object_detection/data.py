"""COCO 2017 as batches of pictures, boxes and masks, numpy out.

Training's batches hold pictures of one orientation, in the reference's order: a pass is a shuffle
of all, cut into batches; an epoch, floor(pictures / batch) + 1 of them, may end within a pass.

A batch's shapes follow from the sizes and objects of all its pictures, whoever reads them, so that
any number of processes computes alike.
"""

import dataclasses
import functools
import itertools
import os
from dataclasses import dataclass

import numpy as np

from common.data.batches import Batches, permutation
from common.data.buckets import Packed, filler
from common.data.dataset import with_counts, with_folder
from common.errors import UserError
from object_detection import backbone, bitmaps, coco, images, quick_data
from object_detection.config import size_step


def prepare(config):
    """The config with its data found, checked, counted and indexed.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    smallest = padded(config, np.ones((1, 2), np.int64))
    if config.anchors_per_image > num_anchors(config, *smallest):
        raise UserError(f"anchors_per_image={config.anchors_per_image}: expected at most "
                        f"{num_anchors(config, *smallest)}, which the smallest batch has.")
    config = with_folder(config, "object_detection", "COCO 2017", quick_data.ensure)
    backbone.require(config)
    name = coco.survey(config.data_dir)
    coco.make(config.data_dir, name)
    config = dataclasses.replace(config, index=name)
    train, test = (coco.load(config, split) for split in coco.FOLDERS)
    # COCO itself was not at hand: the reference's 117,266 of `train` are Detectron2's count.
    for split in coco.FOLDERS:
        coco.require_pictures(config, split)
    counts = {
        "num_classes": len(train.categories),
        "num_listed_images": train.listed,
        "num_train_images": len(train),
        "num_eval_images": len(test),
    }
    return with_counts(config, os.path.join(config.data_dir, "annotations"), counts)


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".  A batch: see read.

    A number is a place in the endless stream of training's rows, or a picture of the test.
    """
    if split == "train":
        following = functools.partial(batches, config, split, epoch + 1)
        indices, look_up = train_indices(config, epoch), look_up_train
    else:
        indices, look_up, following = test_indices(config), look_up_test, None
    return Batches(
        indices, functools.partial(read, config), functools.partial(look_up, config), following
    )


def parity_batches(config, num_steps):
    """(config with counts, the first batches of training), without a dataset.

    The embedded pictures, resized as the config has it; the network keeps its number of classes.
    """
    counts = ("num_listed_images", "num_train_images", "num_eval_images")
    own = prepare(dataclasses.replace(
        config, data_dir=quick_data.ensure(), backbone="", num_classes=None,
        **dict.fromkeys(counts),
    ))  # fmt: skip
    counted = dataclasses.replace(config, **{name: getattr(own, name) for name in counts})
    endless = (
        batch for epoch in itertools.count(1) for batch in batches(own, "train", epoch).stream()
    )
    return counted, list(itertools.islice(endless, num_steps))


# The order.


def steps_per_epoch(config):
    """Training's batches in an epoch.  T05 data/build.py."""
    return config.num_train_images // config.batch_size + 1


def is_portrait(sizes):
    """bool [N]: the two kinds that batches are made of.  sizes: int [N, 2], height and width."""
    return sizes[:, 0] >= sizes[:, 1]


@functools.lru_cache(maxsize=4)
def batches_per_pass(folder, batch_size):
    """How many batches a shuffle of all training pictures gives.  folder: of the index."""
    kinds = np.bincount(is_portrait(coco.load_from(folder, "train").sizes), minlength=2)
    return int((-(-kinds // batch_size)).sum())


@functools.lru_cache(maxsize=3)  # an epoch may end in the next pass, and another is read ahead
def order_of_pass(folder, batch_size, seed, number):
    """int64 [batches, batch_size]: a pass's pictures, passes counted from 1; -1: no more.

    Batches come in the order of their first picture in the shuffle.  T05 grouped_batch_sampler.py.
    folder: of the index.
    """
    portrait = is_portrait(coco.load_from(folder, "train").sizes)
    order = permutation(len(portrait), number, seed).astype(np.int64)
    rows, first = [], []
    for kind in (False, True):
        places = np.flatnonzero(portrait[order] == kind)
        members = np.full(-(-len(places) // batch_size) * batch_size, -1)
        members[: len(places)] = order[places]
        rows.append(members.reshape(-1, batch_size))
        first.append(places[::batch_size])
    return np.concatenate(rows)[np.argsort(np.concatenate(first))]


def members_of(config, steps):
    """(pass, int64 [..., batch_size]) of the pictures of steps of one pass; -1: no more.

    steps: an int or an array of them, counted from 0 over all epochs.
    """
    folder = os.path.join(config.data_dir, config.index)
    number, batch = np.divmod(steps, batches_per_pass(folder, config.batch_size))
    number = int(np.max(number)) + 1
    return number, order_of_pass(folder, config.batch_size, config.seed, number)[batch]


def train_indices(config, epoch):
    """The places of an epoch's batches: step * batch_size + row, and fillers behind the last."""
    size, count = config.batch_size, steps_per_epoch(config)
    steps = np.arange((epoch - 1) * count, epoch * count)
    folder = os.path.join(config.data_dir, config.index)
    passes = steps // batches_per_pass(folder, size)
    counts = np.concatenate([(members_of(config, steps[passes == number])[1] >= 0).sum(axis=1)
                             for number in np.unique(passes)])
    return Packed(
        np.arange(steps[0] * size, (steps[-1] + 1) * size),
        np.arange(count) * size,
        counts,
        np.full(count, size),
        filler(steps * size),
    )


def test_indices(config):
    """Every picture once: landscape, then portrait, by their length on the network's side."""
    sizes = coco.load(config, "test").sizes
    long = [max(images.resized_size(height, width, config)) for height, width in sizes.tolist()]
    portrait = is_portrait(sizes)
    order = np.lexsort((long, portrait))
    size, starts, counts, before = config.eval_batch_size, [], [], 0
    for count in np.bincount(portrait, minlength=2).tolist():
        starts += range(before, before + count, size)
        counts += [min(size, count - place) for place in range(0, count, size)]
        before += count
    return Packed(order, *map(np.array, (starts, counts, counts, [0] * len(counts))))


# A batch.


@dataclass(frozen=True)
class Picture:
    """What is read of a picture, and how.

    path: of its file.  size: height and width.  number: its id.  boxes, classes, polygons: see
    coco.Pictures; empty in the test.  draws: what its generator is seeded with.
    """

    path: str
    size: tuple[int, int]
    number: int
    boxes: np.ndarray
    classes: np.ndarray
    polygons: list
    draws: tuple[int, ...]


def look_up_train(config, places):
    """([Picture, or None for a filler], (H, W, G)) of places in one batch of training."""
    step = int(max(places[0], filler(places[0]))) // config.batch_size
    number, members = members_of(config, step)
    pictures = coco.load(config, "train")
    kept = members[members >= 0]
    most = int((pictures.first[kept + 1] - pictures.first[kept]).max())
    shape = *padded(config, pictures.sizes[kept]), num_rows(config, most)
    rows = [members[place % config.batch_size] if place >= 0 else None for place in places]
    return [None if row is None else Picture(
        path=coco.picture_path(config.data_dir, "train", pictures.name(row)),
        size=tuple(pictures.sizes[row].tolist()),
        number=int(pictures.ids[row]),
        boxes=pictures.boxes[pictures.first[row] : pictures.first[row + 1]],
        classes=pictures.classes[pictures.first[row] : pictures.first[row + 1]],
        polygons=pictures.polygons_of(row),
        draws=(config.seed, number, int(row)),
    ) for row in rows], shape  # fmt: skip


def look_up_test(config, numbers):
    """([Picture, or None], (H, W, 0)) of pictures of the test; None completes the batch."""
    pictures = coco.load(config, "test")
    found = [test_picture(
        coco.picture_path(config.data_dir, "test", pictures.name(number)),
        tuple(pictures.sizes[number].tolist()),
        int(pictures.ids[number]),
    ) for number in numbers]  # fmt: skip
    found += [None] * (config.eval_batch_size - len(found))
    return found, (*padded(config, pictures.sizes[numbers]), 0)


def test_picture(path, size, number):
    """A Picture whose objects are not looked at."""
    nothing = np.zeros((0, 4), np.float32)
    return Picture(path, size, number, boxes=nothing, classes=nothing[:, 0], polygons=[], draws=())


def own_batch(config, path):
    """An evaluation's batch of one picture of the user's own, whose id is 1.  Raises UserError."""
    size = images.read_image(path).shape[:2]
    picture = test_picture(path, size, 1)
    return read(config, ([picture], (*padded(config, np.array([size])), 0)))


def padded(config, sizes):
    """(H, W) of pictures of one orientation.  sizes: int [N, 2], height and width of the files.

    The short side is config.short_side, whatever the pictures', and the long one a multiple of
    shape_step: at the reference's sizes nine shapes an orientation, for a framework compiles each.
    """
    resized = [images.resized_size(*size, config) for size in sizes.tolist()]
    short = rounded_up(max(config.short_side, *map(min, resized)), size_step(config))
    long = rounded_up(max(short, *map(max, resized)), config.shape_step)
    return (long, short) if is_portrait(sizes).any() else (short, long)


def num_rows(config, count):
    """Rows of ground truth for as many boxes: one of box_counts, or a multiple of the last."""
    fitting = [rows for rows in config.box_counts if rows >= count]
    return fitting[0] if fitting else rounded_up(count, config.box_counts[-1])


def rounded_up(number, step):
    """The next multiple of step."""
    return -(-number // step) * step


def num_anchors(config, height, width):
    """Anchors of a padded picture, over all levels."""
    places = sum(-(-height // stride) * -(-width // stride) for stride in config.strides)
    return places * len(config.aspect_ratios)


def read(config, found):
    """One batch, or a process's part of one.  found: by look_up_train or look_up_test.

    images: uint8 [B, H, W, 3], RGB, resized and flipped; zeros beyond a picture.
    sizes: int32 [B, 2], height and width of the picture within; 0 in a filler's row.
    In training, with G rows of ground truth, zeros behind the last:
    boxes: float32 [B, G, 4], x1, y1, x2, y2, inclusive, in the resized picture.
    classes: int32 [B, G], from 1.
    masks: uint8 [B, G, H, W / 8], the objects' bitmaps: see bitmaps.py.
    anchor_keys: int32 [B, A], a permutation of 0..A - 1; where anchors are sampled, the smallest
        keys win.
    roi_keys: int32 [B, config.proposals + G], likewise, of proposals and then ground truth.
    In the test:
    image_ids: int64 [B]; 0: a filler.
    original_sizes: int32 [B, 2], height and width of the file.
    """
    rows, (height, width, num_boxes) = found
    batch = {
        "images": np.zeros((len(rows), height, width, 3), np.uint8),
        "sizes": np.zeros((len(rows), 2), np.int32),
    }
    if num_boxes:
        batch |= {
            "boxes": np.zeros((len(rows), num_boxes, 4), np.float32),
            "classes": np.zeros((len(rows), num_boxes), np.int32),
            "masks": np.zeros((len(rows), num_boxes, height, width // 8), np.uint8),
            "anchor_keys": np.empty((len(rows), num_anchors(config, height, width)), np.int32),
            "roi_keys": np.empty((len(rows), config.proposals + num_boxes), np.int32),
        }
    else:
        batch |= {
            "image_ids": np.zeros(len(rows), np.int64),
            "original_sizes": np.zeros((len(rows), 2), np.int32),
        }
    for row, picture in enumerate(rows):
        into = {name: array[row] for name, array in batch.items()}
        if num_boxes:
            read_train(config, picture, into)
        elif picture:
            read_image(config, picture, into)
            batch["image_ids"][row] = picture.number
            into["original_sizes"][:] = picture.size
    return batch


def read_image(config, picture, into, flipped=False):
    """Fills a row's image and size.  Raises UserError for a file that is not as it was indexed."""
    pixels = images.read_image(picture.path)
    if pixels.shape[:2] != picture.size:
        raise UserError(f"{picture.path}: {pixels.shape[0]} x {pixels.shape[1]} pixels, and the "
                        f"annotations say {picture.size[0]} x {picture.size[1]}. Fetch it again.")
    height, width = images.resized_size(*picture.size, config)
    pixels = images.resize(pixels, (height, width))
    into["images"][:height, :width] = pixels[:, ::-1] if flipped else pixels
    into["sizes"][:] = height, width


def read_train(config, picture, into):
    """Fills a row of training's batch; None: a filler, whose keys are in order."""
    keys = {name: np.arange(len(into[name]), dtype=np.int32)
            for name in ("roi_keys", "anchor_keys")}
    if picture:
        rng = np.random.default_rng(picture.draws)
        flipped = rng.random() < config.flip
        read_image(config, picture, into, flipped)
        height, width = into["sizes"].tolist()
        ratios = np.array([width / picture.size[1], height / picture.size[0]])
        boxes = picture.boxes * np.tile(ratios, 2).astype(np.float32)
        if flipped:
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]] - 1
        into["boxes"][: len(boxes)] = boxes
        into["classes"][: len(boxes)] = picture.classes
        for bitmap, polygons in zip(into["masks"], picture.polygons):
            bitmaps.draw(bitmap, bitmaps.scaled(polygons, ratios, flipped, width), height, width)
        for values in keys.values():
            rng.shuffle(values)
    for name, values in keys.items():
        into[name][:] = values
