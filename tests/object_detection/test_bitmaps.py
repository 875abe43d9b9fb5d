"""Rasterising, packing, pasting and run lengths against pycocotools and plain definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as reference

from object_detection import bitmaps

SIDES = st.integers(1, 70)
# Of 64ths: exact in any sum, so that a shift moves no rounding.
PLACES = st.integers(-20 * 64, 90 * 64).map(lambda n: n / 64)
POLYGONS = st.lists(st.lists(st.tuples(PLACES, PLACES), min_size=3, max_size=7).map(
    lambda points: np.array(points, np.float32).ravel()), min_size=1, max_size=3)


def whole(polygons, height, width):
    """uint8 [H, W]: pycocotools' mask of the whole picture."""
    runs = reference.frPyObjects([p.astype(float).tolist() for p in polygons], height, width)
    return reference.decode(reference.merge(runs))


@settings(max_examples=300)
@given(POLYGONS, SIDES, SIDES, st.integers(0, 3), st.integers(0, 9))
def test_a_drawn_bitmap_is_pycocotools_mask(polygons, height, width, below, beside):
    """In its frame alone, into the upper left of a padded picture, eight pixels a byte."""
    padded_height, padded_width = height + below, -(-(width + beside) // 32) * 32
    bitmap = np.zeros((padded_height, padded_width // 8), np.uint8)
    bitmaps.draw(bitmap, polygons, height, width)
    pixels = np.unpackbits(bitmap, axis=1, bitorder="little")
    assert np.array_equal(pixels[:height, :width], whole(polygons, height, width))
    assert not pixels[height:].any() and not pixels[:, width:].any()


def test_a_square_by_hand():
    """COCO's pixels from (2, 1) to before (5, 3): bits 2 to 4."""
    bitmap = np.zeros((4, 4), np.uint8)
    bitmaps.draw(bitmap, [np.array([2, 1, 5, 1, 5, 3, 2, 3], np.float32)], 4, 32)
    assert bitmap[:, 0].tolist() == [0, 0b11100, 0b11100, 0] and not bitmap[:, 1:].any()


def test_scaled_and_mirrored_by_hand():
    polygon = [np.array([2, 1, 5, 1, 5, 3], np.float32)]
    (plain,) = bitmaps.scaled(polygon, np.array([2.0, 3.0]), False, 40)
    (mirror,) = bitmaps.scaled(polygon, np.array([2.0, 3.0]), True, 40)
    assert plain.tolist() == [4, 3, 10, 3, 10, 9]
    assert mirror.tolist() == [36, 3, 30, 3, 30, 9]


@settings(max_examples=50)
@given(st.tuples(*[st.integers(1, 30)] * 4))
def test_the_mirror_of_a_box_is_its_bitmaps_mirror(corner):
    x, y, w, h = corner
    polygon = [np.array([x, y, x + w, y, x + w, y + h, x, y + h], np.float32)]
    flipped = bitmaps.scaled(polygon, np.ones(2), True, 64)
    assert np.array_equal(whole(flipped, 64, 64), whole(polygon, 64, 64)[:, ::-1])


# Pasting.


def interpolated(values, height, width):
    """float64 [height, width]: torch's interpolate, bilinear, align_corners=False, by its text."""
    found = np.empty((height, width))
    for i in range(height):
        y = max((i + 0.5) * values.shape[0] / height - 0.5, 0.0)
        top = min(math.floor(y), values.shape[0] - 1)
        bottom = min(top + 1, values.shape[0] - 1)
        for j in range(width):
            x = max((j + 0.5) * values.shape[1] / width - 0.5, 0.0)
            left = min(math.floor(x), values.shape[1] - 1)
            right = min(left + 1, values.shape[1] - 1)
            down, across = y - top, x - left
            found[i, j] = (
                (1 - down) * ((1 - across) * values[top, left] + across * values[top, right])
                + down * ((1 - across) * values[bottom, left] + across * values[bottom, right])
            )
    return found


def paste(mask, box, height, width):
    """bool [H, W]: T05 mask_head/inference.py, paste_mask_in_image, step by step."""
    side = len(mask)
    padded = np.zeros((side + 2, side + 2))
    padded[1:-1, 1:-1] = mask
    scale = (side + 2) / side
    half = [(box[2] - box[0]) * 0.5 * scale, (box[3] - box[1]) * 0.5 * scale]
    centre = [(box[2] + box[0]) * 0.5, (box[3] + box[1]) * 0.5]
    x0, y0 = int(centre[0] - half[0]), int(centre[1] - half[1])
    x1, y1 = int(centre[0] + half[0]), int(centre[1] + half[1])
    w, h = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
    inside = interpolated(padded, h, w)
    found = np.zeros((height, width))
    left, right = max(x0, 0), min(x1 + 1, width)
    top, bottom = max(y0, 0), min(y1 + 1, height)
    if left < right and top < bottom:
        found[top:bottom, left:right] = inside[top - y0 : bottom - y0, left - x0 : right - x0]
    return found


def in_picture(pasted, height, width):
    """bool [H, W] of (top, left, pixels)."""
    top, left, pixels = pasted
    found = np.zeros((height, width), bool)
    if pixels.size:
        found[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return found


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 30), SIDES, SIDES, st.sampled_from((3, 7, 28)),
       st.tuples(*[st.integers(-400, 1200).map(lambda n: n / 16)] * 4))
def test_pasting_is_the_references(seed, height, width, side, box):
    """Also where the box is beyond the picture, or turned inside out."""
    mask = np.random.default_rng(seed).random((side, side))
    expected = paste(mask, box, height, width)
    found = in_picture(bitmaps.pasted(mask[None], np.array([box]), height, width)[0],
                       height, width)
    sure = abs(expected - 0.5) > 1e-9
    assert np.array_equal(found[sure], (expected > 0.5)[sure])


def test_interpolation_is_torchs(framework):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).random((30, 30))
    for size in ((11, 47), (30, 30), (90, 13), (1, 1)):
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(values)[None, None], size, mode="bilinear", align_corners=False)
        assert np.allclose(interpolated(values, *size), theirs[0, 0].numpy(), atol=1e-12)


def test_a_whole_mask_by_hand():
    """A box of 28 x 28 from (10, 5): grown by 30/28 to 29.9 about its centre, so pixels 9 to 37."""
    top, left, pixels = bitmaps.pasted(np.ones((1, 28, 28)), np.array([[10, 5, 37, 32.0]]), 60,
                                       80)[0]
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    assert (top, left) == (4, 9) and pixels.shape == (29, 29)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (1, 27, 1, 27)


# Run lengths.


@settings(max_examples=300)
@given(st.integers(0, 1 << 30), SIDES, SIDES, st.data())
def test_run_lengths_are_pycocotools(seed, height, width, data):
    """Of any pixels at any place, empty and full ones too."""
    top, left = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    rows = data.draw(st.integers(0, height - top))
    columns = data.draw(st.integers(0, width - left))
    share = data.draw(st.sampled_from((0.0, 0.2, 0.8, 1.0)))
    pixels = np.random.default_rng(seed).random((rows, columns)) < share
    found = bitmaps.run_lengths(top, left, pixels, height, width)
    expected = np.asfortranarray(in_picture((top, left, pixels), height, width).astype(np.uint8))
    assert np.array_equal(reference.decode(found), expected)
    assert found == reference.encode(expected)
