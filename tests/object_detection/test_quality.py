"""Box AP and mask AP: pycocotools' numbers, cases by hand, pasting, the files that are written."""

import contextlib
import errno
import io
import json
import logging
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from object_detection import coco, data, drawing, quality
from tests.object_detection import scenes


def prepared(folder, **changes):
    return data.prepare(scenes.own(folder, **changes))


def predicted(config, batch, found, detections=100, side=28):
    """What predict gives: found: {image id: [(box in the file, class, score, mask)]}."""
    rows = len(batch["image_ids"])
    out = {
        "boxes": np.zeros((rows, detections, 4), np.float32),
        "scores": np.zeros((rows, detections), np.float32),
        "classes": np.zeros((rows, detections), np.int64),
        "masks": np.zeros((rows, detections, side, side), np.float32),
    }
    for row, number in enumerate(batch["image_ids"].tolist()):
        for place, (box, kind, score, mask) in enumerate(found.get(number, ())):
            ratio = batch["sizes"][row, ::-1] / np.maximum(batch["original_sizes"][row, ::-1], 1)
            out["boxes"][row, place] = np.array(box) * np.tile(ratio, 2)
            out["scores"][row, place], out["classes"][row, place] = score, kind
            out["masks"][row, place] = mask
    return out


def records(config, found):
    return [quality.compare(predicted(config, batch, found), batch)
            for batch in data.batches(config, "test").stream()]


# Of scenes.TEST: dog, cat, egg are the classes 1, 2, 3.
PERFECT = {
    20: [((10, 20, 39, 34), 2, 0.9, 1.0), ((40, 5, 59, 24), 1, 0.8, 1.0)],
    10: [((5, 5, 44, 64), 3, 0.7, 1.0)],
}


def test_perfect_detections(folder):
    config = prepared(folder)
    found = records(config, PERFECT)
    own = quality.quality(config)
    assert own.names == ("bbox", "segm") and own.count(found) == 3
    values = own.values(found)
    # A mask of ones is pasted a pixel larger on each side than its box: an overlap of 0.8 or so.
    assert values["bbox"] == pytest.approx(1.0, abs=1e-9) and 0.5 < values["segm"] < 1.0
    assert own.met(values, own.targets("bbox=0.377,segm=0.339"))
    [one] = [one for record in found for one in record if one.number == 20]
    assert np.allclose(one.boxes, [[10, 20, 30, 15], [40, 5, 20, 20]], atol=1e-4)


def test_the_library_is_quiet(folder, caplog):
    """Also where a framework has set the root logger's level, as PaddlePaddle does."""
    config = prepared(folder)
    with caplog.at_level(logging.INFO):
        quality.score(config, records(config, PERFECT))
    assert not caplog.records


def test_values_by_hand(folder):
    """One class found, one with another class before it, one not at all: 1, 1/2 and 0, by three."""
    config = prepared(folder)
    found = {20: [((10, 20, 39, 34), 2, 0.9, 1.0), ((60, 40, 79, 59), 1, 0.9, 1.0),
                  ((40, 5, 59, 24), 1, 0.8, 1.0)]}
    assert quality.score(config, records(config, found))[0] == pytest.approx(0.5, abs=1e-9)


def test_nothing_found_is_zero(folder):
    config = prepared(folder)
    found = records(config, {})
    assert quality.score(config, found) == (0.0, 0.0) and quality.count(found) == 3
    only = {20: [((0, 50, 5, 59), 3, 0.9, 0.0)]}  # a mask without a pixel
    assert quality.score(config, records(config, only)) == (0.0, 0.0)


def test_a_crowd_is_no_fault(folder):
    """A cat within picture 10's crowd of cats is ignored; elsewhere it counts as wrong."""
    config = prepared(folder)
    inside = PERFECT | {10: [*PERFECT[10], ((2, 2, 20, 20), 2, 0.95, 1.0)]}
    outside = PERFECT | {10: [*PERFECT[10], ((40, 2, 59, 20), 2, 0.95, 1.0)]}
    assert quality.score(config, records(config, inside))[0] == pytest.approx(1.0, abs=1e-9)
    assert quality.score(config, records(config, outside))[0] == pytest.approx(5 / 6, abs=1e-3)


def theirs(path, results, kind):
    """The twelve statistics of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        judge = COCOeval(truth, truth.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


def crowded(seed):
    """(images, annotations) of twelve pictures with many objects, overlaps and crowds."""
    rng = np.random.default_rng(seed)
    images = [scenes.image(n + 1, 100, 120) for n in range(12)]
    annotations = []
    for number in range(90):
        x, y = rng.uniform(0, 80, 2).round(2)
        w, h = rng.uniform(4, 60, 2).round(2)
        points = rng.uniform(0, 1, (9, 2)) * (w, h) + (x, y)
        annotations.append(scenes.box(
            number + 1, int(rng.integers(1, 12)), int(rng.choice([7, 2, 40])), x, y, w, h,
            segmentation=[points.round(2).ravel().tolist(), [x, y, x + w, y, x + w, y + h]],
        ))  # fmt: skip
    annotations += [scenes.crowd(200 + n, n + 1, 7, 100, 120) for n in range(3)]
    return images, annotations


def guesses(annotations, seed):
    """{image id: detections} near the truth, with wrong ones, wrong classes and equal scores."""
    rng = np.random.default_rng([seed, 1])
    found = {}
    for one in annotations:
        for _ in range(rng.integers(0, 4)):
            x, y, w, h = np.array(one["bbox"]) + rng.normal(0, 3, 4)
            kind = {2: 1, 7: 2, 40: 3}[one["category_id"]]
            kind = kind if rng.random() < 0.8 else int(rng.integers(1, 4))
            box = (x, y, x + max(w, 2) - 1, y + max(h, 2) - 1)
            mask = rng.random((28, 28)) < rng.choice([0.3, 0.9, 1.0])
            found.setdefault(one["image_id"], []).append(
                (box, kind, round(rng.random(), 1), mask.astype(np.float32)))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_pycocotools(seed, tmp_path):
    """Both AP to 1e-9, with crowds, ties, small and large, from the results as they are written."""
    images, annotations = crowded(seed)
    scenes.write(tmp_path, test=(images, annotations))
    config = prepared(tmp_path, save_detections=True, output_dir=str(tmp_path))
    values = quality.score(config, records(config, guesses(annotations, seed)))
    assert 0.05 < values[0] < 0.95 and 0.01 < values[1] < 0.95
    for value, (kind, name) in zip(values, quality.RESULTS.items()):
        path = coco.json_path(str(tmp_path), "test")
        assert value == pytest.approx(theirs(path, str(tmp_path / name), kind)[0], abs=1e-9)


def test_the_results_file_is_as_coco_takes_it(folder, tmp_path):
    config = prepared(folder, save_detections=True, output_dir=str(tmp_path))
    quality.score(config, records(config, PERFECT))
    boxes, masks = (json.loads((tmp_path / name).read_text()) for name in quality.RESULTS.values())
    assert [set(one) for one in boxes] == [{"image_id", "category_id", "bbox", "score"}] * 3
    assert [set(one) for one in masks] == [{"image_id", "category_id", "segmentation", "score"}] * 3
    assert [(one["image_id"], one["category_id"]) for one in boxes] == [(10, 40), (20, 7), (20, 2)]
    assert np.allclose(boxes[1]["bbox"], [10, 20, 30, 15], atol=1e-4)
    assert boxes[1]["score"] == pytest.approx(0.9)
    assert masks[0]["segmentation"]["size"] == [80, 60]
    pixels = reference.decode(masks[0]["segmentation"])
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    assert abs(rows[0] - 5) <= 1 and abs(rows[-1] - 64) <= 1
    assert abs(columns[0] - 5) <= 1 and abs(columns[-1] - 44) <= 1


@pytest.mark.parametrize("module, name, changes", [
    (json, "dump", {"save_detections": True}), (Image.Image, "save", {"draw_images": 1}),
], ids=["results", "drawings"])
def test_a_full_disk_leaves_no_part(module, name, changes, folder, tmp_path, monkeypatch):
    output = tmp_path / "run"
    output.mkdir()
    config = prepared(folder, output_dir=str(output), **changes)

    def full(content, opened, *more):
        opened.write(b"cut" if "b" in opened.mode else "cut")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, name, full)
    with pytest.raises(OSError, match="No space left") as caught:
        quality.score(config, records(config, PERFECT))
    assert caught.value.filename.startswith(str(output))
    assert [found for *_, files in os.walk(output) for found in files] == []


def test_nothing_is_written_unasked(folder, tmp_path):
    config = prepared(folder, output_dir=str(tmp_path / "run"))
    quality.score(config, records(config, PERFECT))
    assert not (tmp_path / "run").exists()


def test_drawings(folder, tmp_path):
    """As many as asked for, by their ids; what is drawn is where it was found."""
    config = prepared(folder, draw_images=2, output_dir=str(tmp_path / "run"))
    quality.score(config, records(config, PERFECT))
    assert sorted(os.listdir(tmp_path / "run" / "detections")) == [
        "000000000010.png", "000000000020.png"]  # fmt: skip
    drawn = np.asarray(Image.open(tmp_path / "run" / "detections" / "000000000010.png"))
    plain = np.asarray(Image.open(folder / "val2017" / "000000000010.jpg"))
    assert drawn.shape == plain.shape
    tinted = plain[30, 20] // 2 + drawing.colour(3) // 2
    assert np.array_equal(drawn[30, 20], tinted)                       # inside of the mask
    assert drawn[64, 20].tolist() == drawing.colour(3).tolist()        # the box's lower edge
    assert np.array_equal(drawn[70:, :], plain[70:, :])                # outside


def test_unsure_detections_are_not_drawn():
    found = quality.Detections(1, (40, 40), np.array([[5, 5, 20, 20.0]], np.float32),
                               np.array([0.4], np.float32), np.array([1], np.int32),
                               [reference.encode(np.ones((40, 40), np.uint8, order="F"))["counts"]])
    pixels = scenes.noise(40, 40)
    assert np.array_equal(np.asarray(drawing.drawn(pixels, found, ["cat"])), pixels)
    assert not np.array_equal(np.asarray(drawing.drawn(pixels, found, ["cat"], 0.3)), pixels)


def test_boxes_beyond_the_picture_are_scored_and_drawn(folder):
    config = prepared(folder)
    found = records(config, {20: [((-30, -20, 200, 90), 2, 0.9, 1.0), ((90, 70, 99, 80), 1, 0.6,
                                                                      1.0)]})
    assert quality.score(config, found)[0] == 0.0
    [one] = [one for record in found for one in record if one.number == 20]
    assert reference.area([{"size": [60, 80], "counts": c} for c in one.masks]).tolist() == [
        4800, 0]  # fmt: skip
    drawing.drawn(scenes.noise(60, 80), one, ["dog", "cat", "egg"])
