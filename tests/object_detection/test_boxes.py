"""boxes.py, anchors.py and masks.py, by cases worked by hand and the fact sheet's examples."""

import dataclasses
import math

import numpy as np
import pytest

from object_detection import anchors, bitmaps, boxes, masks
from object_detection.config import QUICK, REFERENCE


def test_anchors_are_rounded_as_in_the_reference():
    sizes = {4: [(48, 24), (32, 32), (24, 48)], 8: [(88, 48), (64, 64), (48, 96)],
             16: [(184, 96), (128, 128), (88, 176)], 32: [(360, 176), (256, 256), (184, 368)],
             64: [(728, 368), (512, 512), (360, 720)]}  # fmt: skip
    for stride, expected in sizes.items():
        found = anchors.base_anchors(stride, REFERENCE.anchor_scale, REFERENCE.aspect_ratios)
        assert list(zip(*boxes.widths_heights(found))) == expected
    found = anchors.base_anchors(4, 8, (0.5, 1.0, 2.0))
    assert found.tolist() == [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]]


def test_anchors_come_by_level_row_column_and_ratio():
    found = anchors.anchors(QUICK, 64, 128)
    assert len(found) == 3 * (16 * 32 + 8 * 16 + 4 * 8 + 2 * 4)
    base = anchors.all_base_anchors(QUICK)
    assert found[1].tolist() == base[0][1].tolist()
    assert found[3 * 32].tolist() == (base[0][0] + [0, 4, 0, 4]).tolist()
    assert found[3 * 16 * 32 + 3 * 17 + 2].tolist() == (base[1][2] + [8, 8, 8, 8]).tolist()
    shapes = anchors.level_shapes(REFERENCE, 800, 1344)
    counts = [3 * rows * columns for rows, columns in shapes]
    assert counts == [201600, 50400, 12600, 3150, 819]


def test_sides_are_inclusive():
    one = np.array([[10.0, 20.0, 10.0, 29.0]])
    assert [float(side) for side in np.ravel(boxes.widths_heights(one))] == [1.0, 10.0]
    # Half of the one lies in the other: 5 of 5 + 10 pixels, by 10 and 5 rows.
    assert boxes.overlaps(one, np.array([[10.0, 25.0, 10.0, 34.0]])).item() == 5 / 15
    assert boxes.overlaps(one, np.array([[11.0, 20.0, 12.0, 29.0]])).item() == 0.0
    assert boxes.overlaps(one, one).item() == 1.0


def test_the_box_code_and_its_limit():
    anchor, box = np.array([[0.0, 0.0, 9.0, 19.0]]), np.array([[5.0, 0.0, 24.0, 9.0]])
    code = boxes.encode(box, anchor, (10.0, 10.0, 5.0, 5.0))
    expected = [10 * 1.0, 10 * -0.25, 5 * math.log(2.0), 5 * math.log(0.5)]
    np.testing.assert_allclose(code, [expected], rtol=1e-15)
    np.testing.assert_allclose(boxes.decode(code, anchor, (10.0, 10.0, 5.0, 5.0)), box, atol=1e-13)
    huge = boxes.decode(np.array([[0.0, 0.0, 100.0, 0.0]]), anchor, (1.0, 1.0, 1.0, 1.0))
    assert boxes.widths_heights(huge)[0].item() == pytest.approx(10 * 1000 / 16)
    assert boxes.clip(huge, 15, 12).tolist() == [[0.0, 0.0, 11.0, 14.0]]


def test_anchors_are_labelled():
    ground = np.array([[0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 29.0, 29.0]])
    candidates = np.array([
        [0.0, 0.0, 9.0, 9.0],       # the first itself
        [0.0, 0.0, 9.0, 6.0],       # exactly 0.7 of it
        [0.0, 3.0, 9.0, 12.0],      # 7 / 13
        [20.0, 20.0, 24.0, 24.0],   # a quarter of the second: the best that it has
        [25.0, 25.0, 29.0, 29.0],   # as good
        [-1.0, 0.0, 9.0, 9.0],      # crosses the border
        [20.0, 20.0, 40.0, 40.0],   # beyond the other border
        [10.0, 10.0, 19.0, 19.0],   # nothing
    ])  # fmt: skip
    positive, negative, matches = boxes.label_anchors(candidates, ground, 40, 40, 0.7, 0.3)
    assert positive.tolist() == [True, True, False, True, True, False, False, False]
    assert negative.tolist() == [False] * 7 + [True]
    assert matches.tolist() == [0, 0, 0, 1, 1, 0, 1, 0]


def test_sampling_takes_the_smallest_keys():
    keys = np.array([5, 0, 3, 1, 4, 2])
    positive = np.array([True, False, True, False, True, False])
    negative = np.array([False, True, False, True, False, False])
    assert boxes.sample(keys, positive, negative, 4, 2) == {2: 0, 4: 0, 1: 1, 3: 1}
    assert boxes.sample(keys, positive, negative, 2, 1) == {2: 0, 1: 1}
    assert boxes.sample(keys, positive, ~positive, 6, 5) == {2: 0, 4: 0, 0: 0, 1: 1, 3: 1, 5: 1}


def test_suppression_is_of_what_was_kept():
    """The second goes by the first, so the third, which only the second overlaps, is kept."""
    chain = np.array([[0.0, 0, 9, 9], [0.0, 4, 9, 13], [0.0, 8, 9, 17]])
    assert boxes.suppress(chain, 0.4).tolist() == [True, False, True]
    third = np.array([[0.0, 0, 9, 9], [0.0, 5, 9, 14]])  # overlaps by 5 / 15, no more than itself
    assert boxes.suppress(third, 5 / 15).tolist() == [True, True]
    assert boxes.suppress(third, 0.333).tolist() == [True, False]


def test_levels_turn_at_their_bounds():
    sides = {111: 0, 112: 1, 223: 1, 224: 2, 447: 2, 448: 3, 5000: 3, 1: 0}
    for side, level in sides.items():
        assert boxes.level_of(REFERENCE, np.array([7.0, 3.0, 6.0 + side, 2.0 + side])) == level


def test_detections_are_suppressed_by_class():
    config = dataclasses.replace(QUICK, num_classes=2, detections=3)
    place = np.array([[0.0, 0, 9, 9], [0.0, 1, 9, 10], [50.0, 50, 60, 60]])
    regions = np.repeat(place[:, None], 3, axis=1)
    scores = np.array([[0.1, 0.5, 0.4], [0.1, 0.6, 0.3], [0.91, 0.04, 0.05]])
    # Of class 1 the second region stands for the first, of class 2 the first for the second; a
    # score of 0.05 is not enough.
    assert boxes.detections(config, scores, regions).tolist() == [1 * 3 + 1, 0 * 3 + 2, -1]
    scores[2] = 0.1, 0.5, 0.4
    assert boxes.detections(config, scores, regions).tolist() == [4, 7, 2]  # ties: the lower index
    found = boxes.choose(config, scores[None], regions[None])
    assert found[0].tolist() == [place[[1, 2, 0]].tolist()]
    assert (found[1].tolist(), found[2].tolist()) == ([[0.6, 0.5, 0.4]], [[1, 1, 2]])


def test_roi_align_by_hand():
    """A plane is sampled where its samples' mean is; a box of no size is a cell long."""
    y, x = np.mgrid[:20, :30].astype(np.float64)
    cells = np.stack([x, y], axis=2)
    found = masks.align(cells, [8.0, 12.0, 64.0, 40.0], 1 / 4, 7)
    np.testing.assert_allclose(found[2, 5], [2 + 5.5 * 14 / 7, 3 + 2.5 * 7 / 7])
    found = masks.align(cells, [8.0, 8.0, 8.0, 8.0], 1 / 4, 1)
    np.testing.assert_allclose(found[0, 0], [2.5, 2.5])
    # Beyond the last cell by less than one: its value; by more: 0.
    assert masks.align(np.ones((4, 4, 1)), [3.0, 3.0, 5.0, 4.0], 1.0, 1)[0, 0, 0] == 0.5


def test_mask_targets_by_hand():
    bitmap = np.zeros((32, 32), bool)
    bitmap[:, 8:] = True
    found = masks.target(bitmap, np.array([0.0, 0.0, 28.0, 28.0]), 28)
    assert found[:, 8:].all() and not found[:, :8].any()  # a bin is a pixel
    assert (masks.unpack(masks.pack(bitmap)) == bitmap).all()
    assert masks.pack(bitmap)[0].tolist() == [0, 255, 255, 255]


def test_a_discs_target_lies_where_the_disc_does():
    """Drawn by COCO's rule, in a box that it does not fill.  The mean of many: each is off by what
    bins of two pixels are."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0.0, 2 * np.pi, 720)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    apart = []
    for _ in range(16):
        centre, radius, corner = rng.uniform(30, 40, 2), rng.uniform(12, 18), rng.uniform(5, 9, 2)
        bitmap = np.zeros((80, 10), np.uint8)
        bitmaps.draw(bitmap, [(centre + radius * circle).ravel()], 80, 80)
        box = np.concatenate([corner, corner + 56.0])
        found = masks.target(masks.unpack(bitmap), box, 28)
        middle = np.argwhere(found)[:, ::-1].mean(axis=0) + 0.5  # x, y, in bins
        apart.append([*(corner + 2.0 * middle - centre), 4 * found.sum() / (np.pi * radius**2) - 1])
    np.testing.assert_allclose(np.mean(apart, axis=0), 0.0, atol=0.1)
