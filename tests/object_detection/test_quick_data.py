"""The embedded pictures: the same everywhere, as they are annotated, and beyond cheap detectors."""

import collections
import dataclasses
import hashlib
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as reference
from scipy import ndimage
from sklearn.cluster import KMeans

from object_detection import bitmaps, coco, data, images, quality, quick_data
from object_detection.config import QUICK

LIMIT = 0.06  # AP of boxes and of masks that no cheap detector reaches; targets lie twice as high
# sha256 of the annotations: others need another VERSION.
SUMS = {
    "train": "7429c13916d242352f2ac38fcc24ce876b9988a3acb3a0aafcefd7436f6b3925",
    "test": "8f36eb97fbbbff839351800115c37377149e2551e924a6716df0cb016063bee6",
}


@pytest.fixture(scope="module")
def written():
    """The config of the embedded data."""
    return data.prepare(dataclasses.replace(QUICK, seed=1))


@pytest.fixture(scope="module")
def truth(written):
    """{split: the .json}."""
    found = {}
    for split in coco.FOLDERS:
        with open(coco.json_path(written.data_dir, split), encoding="ascii") as opened:
            found[split] = json.load(opened)
    return found


def test_counts(written, truth):
    assert (written.num_listed_images, written.num_train_images, written.num_eval_images) == (
        606, 600, 150)  # fmt: skip
    assert written.num_classes == len(quick_data.KINDS) == 4
    for content in truth.values():
        per_picture = collections.Counter(one["image_id"] for one in content["annotations"])
        assert set(per_picture.values()) == {1, 2, 3, 4}
        kinds = collections.Counter(one["category_id"] for one in content["annotations"])
        assert max(kinds.values()) < 1.3 * min(kinds.values())


def test_the_targets_are_twice_what_cheap_detectors_reach():
    assert min(quality.quality(QUICK).targets(QUICK.target).values()) >= 2 * LIMIT


def test_sizes_overlaps_and_pieces(truth):
    """Sides over a factor of four; covered objects, some in several pieces."""
    annotations = truth["train"]["annotations"]
    long = np.array([max(one["bbox"][2:]) for one in annotations])
    assert np.quantile(long, 0.95) > 4 * np.quantile(long, 0.05) * 0.9
    assert sum(len(one["segmentation"]) > 1 for one in annotations) > 20
    by_picture = collections.defaultdict(list)
    for one in annotations:
        by_picture[one["image_id"]].append(one["bbox"])
    overlapping = sum(
        any(overlap(boxes) for boxes in [[a, b] for i, a in enumerate(own) for b in own[:i]])
        for own in by_picture.values())
    assert overlapping > 0.3 * len(by_picture)


def overlap(boxes):
    (ax, ay, aw, ah), (bx, by, bw, bh) = boxes
    return min(ax + aw, bx + bw) > max(ax, bx) and min(ay + ah, by + bh) > max(ay, by)


def test_annotations_are_what_is_seen(written, truth):
    """Polygons give the very pixels that were drawn, but for holes; boxes and areas fit them."""
    annotations = iter(truth["test"]["annotations"])
    for _, _, _, objects in quick_data.pictures("test"):
        for kind, mask in objects:
            one = next(annotations)
            assert one["category_id"] == quick_data.KINDS[kind]
            runs = reference.merge(reference.frPyObjects(one["segmentation"], *mask.shape))
            assert np.array_equal(reference.decode(runs), outlined(mask))
            x, y, w, h = map(int, one["bbox"])
            assert mask[y : y + h, x : x + w].sum() == mask.sum() == one["area"]
            assert mask[y].any() and mask[y + h - 1].any()
            assert mask[:, x].any() and mask[:, x + w - 1].any()
    assert next(annotations, None) is None


@settings(max_examples=100)
@given(st.integers(0, 1 << 30), st.sampled_from((0.3, 0.5, 0.7)), st.integers(2, 12))
def test_outlines_of_any_mask(seed, share, side):
    """Each piece's polygons give its pixels and those of its holes."""
    mask = np.random.default_rng(seed).random((side, side)) < share
    outlines = quick_data.outlines(mask)
    assert len(outlines) == ndimage.label(mask)[1]
    if outlines:
        runs = reference.merge(reference.frPyObjects(outlines, side, side))
        assert np.array_equal(reference.decode(runs), outlined(mask))


def outlined(mask):
    """bool: a mask's pieces, each with its holes; what touches the outside by a corner is none."""
    labels, count = ndimage.label(mask)
    pieces = [ndimage.binary_fill_holes(labels == number, np.ones((3, 3)))
              for number in range(1, count + 1)]
    return np.any(pieces, axis=0)


def test_the_pictures_are_the_same_everywhere(written):
    for split, expected in SUMS.items():
        with open(coco.json_path(written.data_dir, split), "rb") as opened:
            assert hashlib.sha256(opened.read()).hexdigest() == expected, split


def test_files_hold_the_drawn_pictures(written):
    for number, (identity, picture, _, _) in enumerate(quick_data.pictures("test")):
        if number % 15 == 0:
            path = coco.picture_path(written.data_dir, "test", f"{identity:012}.jpg")
            difference = images.read_image(path).astype(int) - picture
            assert abs(difference).mean() < 6, os.path.basename(path)


# Cheap detectors.


def scored(written, truth, found):
    """(box AP, mask AP) of Detections."""
    categories = coco.load(written, "test").categories
    return [quality.average_precision(truth["test"], quality.as_coco(found, categories, kind), kind)
            for kind in quality.RESULTS]


def detections(number, found):
    """Detections of a picture.  found: [(box x, y, width, height, class, score, mask)]."""
    size = quick_data.SIDE, quick_data.SIDE
    boxes, classes, scores, masks = zip(*found) if found else ((), (), (), ())
    return quality.Detections(
        number, size, np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32),
        np.array(classes, np.int32), [bitmaps.run_lengths(0, 0, mask, *size)["counts"]
                                      for mask in masks],
    )  # fmt: skip


def box_mask(box):
    x, y, w, h = np.round(box).astype(int)
    mask = np.zeros((quick_data.SIDE, quick_data.SIDE), bool)
    mask[max(y, 0) : y + h, max(x, 0) : x + w] = True
    return mask


def test_the_commonest_boxes_everywhere(written, truth, capsys):
    """The one of the middle of all, with the commonest class; and a hundred of a clustering, each
    with its own commonest class."""
    annotations = truth["train"]["annotations"]
    boxes = np.array([one["bbox"] for one in annotations])
    ranks = {category: rank for rank, category in enumerate(sorted(quick_data.KINDS.values()), 1)}
    classes = np.array([ranks[one["category_id"]] for one in annotations])
    ids = [one["id"] for one in truth["test"]["images"]]
    results = []
    for count in (1, 25, 100):
        clusters = KMeans(count, n_init=1, random_state=0).fit(boxes)
        guesses = []
        for number in range(count):
            own = clusters.labels_ == number
            kinds = np.bincount(classes[own])
            box = np.median(boxes[own], axis=0)
            guesses.append((box, kinds.argmax(), kinds.max() / len(classes), box_mask(box)))
        results.append(scored(written, truth, [detections(number, guesses) for number in ids]))
    with capsys.disabled():
        print("\nobject_detection quick: 1, 25, 100 commonest boxes everywhere, box and mask AP "
              + ", ".join(f"{box:.3f} {mask:.3f}" for box, mask in results))
    assert np.max(results) < LIMIT


def test_components_by_mean_colour(written, truth, capsys):
    """What differs from the ground without objects, known exactly; its pieces, classed by the
    nearest of the kinds' mean colours, the largest first."""
    colours = collections.defaultdict(list)
    for _, picture, _, objects in quick_data.pictures("train"):
        for kind, mask in objects:
            colours[kind].append(picture[mask].mean(axis=0))
    kinds = sorted(quick_data.KINDS, key=quick_data.KINDS.get)
    means = np.array([np.mean(colours[kind], axis=0) for kind in kinds])
    results = []
    for by_truth in (False, True):
        found = []
        for number, picture, empty, objects in quick_data.pictures("test"):
            differs = abs(picture.astype(int) - empty).sum(axis=2) > 6
            labels, count = ndimage.label(differs)
            own = []
            for mask in (labels == label for label in range(1, count + 1)):
                if mask.sum() < 30:
                    continue
                columns = np.flatnonzero(mask.any(axis=0))
                rows = np.flatnonzero(mask.any(axis=1))
                box = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
                distance = ((picture[mask].mean(axis=0) - means) ** 2).sum(axis=1)
                kind = distance.argmin() + 1
                if by_truth:  # of the object that it has most of
                    kind = kinds.index(max(objects, key=lambda o: (o[1] & mask).sum())[0]) + 1
                own.append((box, kind, mask.mean(), mask))
            found.append(detections(number, own))
        results.append(scored(written, truth, found))
    with capsys.disabled():
        print("\nobject_detection quick: components by mean colour, box and mask AP "
              "{:.3f} {:.3f}; by their true class {:.3f} {:.3f}".format(*results[0], *results[1]))
    assert np.max(results[0]) < LIMIT
    assert np.min(results[1]) > 5 * LIMIT  # so the pieces are well found, and the classes count
