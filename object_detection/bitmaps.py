"""Masks as bitmaps of eight pixels a byte, from polygons; and as run lengths, which COCO scores.

A packed bitmap is uint8 [H, W / 8]: the pixel of column x is bit x % 8 of byte x // 8.
"""

import numpy as np


def rasterised(polygons, height, width):
    """(top, left, uint8 [h, w] of 0 and 1): the pixels of an object's polygons, in their frame.

    polygons: [float [2 P]], x, y, x, y, ... in pixels, in a picture of this height and width.
    left is a multiple of 8.  A pixel of any of them counts; which are, pycocotools' rule says.
    """
    # Late: whoever reads logs imports this module, and another application's environment lacks it.
    from faster_coco_eval.core import mask

    x, y = (np.concatenate([polygon[axis::2] for polygon in polygons]) for axis in (0, 1))
    left, right = frame(x, width)
    top, bottom = frame(y, height)
    if left >= right or top >= bottom:  # outside of the picture
        return 0, 0, np.zeros((0, 0), np.uint8)
    left -= left % 8
    shift = np.array([left, top], np.float64)
    moved = [(p.reshape(-1, 2).astype(np.float64) - shift).ravel().tolist() for p in polygons]
    runs = mask.frPyObjects(moved, bottom - top, right - left)
    return top, left, mask.decode(mask.merge(runs))


def frame(places, size):
    """(first, end) of the pixels that may be touched along an axis of this size."""
    return max(0, int(np.floor(places.min())) - 1), min(size, int(np.ceil(places.max())) + 1)


def scaled(polygons, ratios, flipped, width):
    """The polygons in a resized picture of this width, mirrored if flipped.

    ratios: of x and of y, new over old.  The mirror of x is width - x, as the picture's pixels go.
    """
    found = [polygon.reshape(-1, 2).astype(np.float64) * ratios for polygon in polygons]
    if flipped:
        found = [np.stack([width - points[:, 0], points[:, 1]], axis=1) for points in found]
    return [points.ravel() for points in found]


def draw(bitmap, polygons, height, width):
    """Sets the pixels of an object's polygons in a packed bitmap of zeros, uint8 [H, W / 8].

    The picture, of this height and width, is the upper left of the bitmap.
    """
    top, left, pixels = rasterised(polygons, height, width)
    packed = np.packbits(pixels, axis=1, bitorder="little")
    rows, columns = packed.shape
    bitmap[top : top + rows, left // 8 : left // 8 + columns] = packed


def pasted(probabilities, boxes, height, width):
    """[(top, left, bool [h, w])]: each mask in its picture, without what lies outside of it.

    probabilities: float [N, M, M], of a box's inside.  boxes: float [N, 4], x1, y1, x2, y2.
    T05 mask_head/inference.py: a border of zeros, the box grown alike about its centre and cut to
    whole pixels, bilinear between pixel centres, above 0.5.
    """
    side = probabilities.shape[1]
    framed = np.pad(probabilities, ((0, 0), (1, 1), (1, 1)))
    boxes = np.asarray(boxes, np.float64)
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * ((side + 2) / side)
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    low, high = np.trunc(centre - half).astype(np.int64), np.trunc(centre + half).astype(np.int64)
    found = []
    for values, first, last in zip(framed, low, high):
        left, *across = places(first[0], last[0], side + 2, width)
        top, *down = places(first[1], last[1], side + 2, height)
        # By columns, as run lengths go; and no matrix product, whose threads would wait actively.
        found.append((top, left, (mixed(mixed(values, *down).T, *across) > 0.5).T))
    return found


def places(first, last, side, size):
    """(place, int [n], int [n], float64 [n]): of the pixels from first to last, those within
    0..size - 1: where they begin; and of each its two neighbours among a mask's `side` values and
    the share of the second, as in torch's interpolate with align_corners=False.
    """
    count = max(last - first + 1, 1)
    place = max(first, 0)
    pixels = np.arange(place, max(place, min(last + 1, size)))
    at = np.maximum((pixels - first + 0.5) * (side / count) - 0.5, 0)
    before = np.minimum(at.astype(np.int64), side - 1)
    return place, before, np.minimum(before + 1, side - 1), at - before


def mixed(values, before, after, share):
    """[n, K] of values [side, K] between neighbours: see places."""
    rows = values[before]
    return rows + (values[after] - rows) * share.astype(values.dtype)[:, None]


def run_lengths(top, left, pixels, height, width):
    """COCO's {"size", "counts"} of pixels in a picture of zeros, counts compressed, as bytes.

    pixels: bool [h, w], at (top, left).  COCO counts column by column, zeros first.
    """
    from faster_coco_eval.core import mask  # late, as above

    rows, columns = pixels.shape
    flat = np.zeros(columns * (rows + 1) + 1, bool)  # column by column, a zero before each
    flat[:-1].reshape(columns, rows + 1)[:, 1:] = pixels.T
    column, row = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), rows + 1)
    places = (column + left) * height + row + top
    starts, ends = places[0::2], places[1::2]
    # A run that reaches the lower edge goes on where one starts at the next column's upper edge.
    goes_on = starts[1:] == ends[:-1]
    starts = starts[np.concatenate([[True], ~goes_on])[: len(starts)]]
    ends = ends[np.concatenate([~goes_on, [True]])[: len(ends)]]
    places = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(places, prepend=0, append=height * width)
    if counts[-1] == 0 and len(counts) > 1:
        counts = counts[:-1]
    return mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
