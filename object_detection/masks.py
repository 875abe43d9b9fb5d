"""RoIAlign and the masks that a network is trained to give.  He et al. 2017, sec. 3.

Plain definitions in numpy.  A box is x1, y1, x2, y2, the last two inclusive.
"""

import math

import numpy as np

# A bin is set where at least half of it is.  A little less: a mean of exactly one half may be
# rounded either way.
HALF = 0.5 - 1e-5

# A bitmap's pixel c holds what lies from c to c + 1, so its value is that of the place c + 0.5.
HALF_PIXEL = 0.5


def sample_points(low, high, bins):
    """Where a side of a box is sampled, twice in each bin: float64 [2 bins].

    low, high: the box's ends, in cells of the map.  "Legacy": no half cell is taken off, the last
    cell counts as a point, and a side is a cell long at least.
    """
    length = max(high - low, 1.0)
    return np.array([low + (i + 0.5) * length / (2 * bins) for i in range(2 * bins)])


def corners(at, size):
    """[(cell, weight)] of the two cells between which a sample lies; none beyond the map by more
    than one cell.
    """
    if at < -1.0 or at > size:
        return []
    at = min(max(at, 0.0), size - 1.0)
    first = math.floor(at)
    second = min(first + 1, size - 1)
    return [(first, 1.0 - (at - first)), (second, at - first)]


def align(cells, box, scale, bins):
    """RoIAlign: bilinear samples of a map, 2 x 2 in each bin, averaged.

    cells: [H, W, C].  box: [4], x1, y1, x2, y2, in pixels.  scale: cells a pixel.
    Returns float64 [bins, bins, C], rows first.
    """
    x1, y1, x2, y2 = np.asarray(box, np.float64) * scale
    found = np.zeros((bins, bins, cells.shape[2]))
    for i, y in enumerate(sample_points(y1, y2, bins)):
        for j, x in enumerate(sample_points(x1, x2, bins)):
            for row, row_weight in corners(y, cells.shape[0]):
                for column, column_weight in corners(x, cells.shape[1]):
                    weight = row_weight * column_weight / 4.0
                    found[i // 2, j // 2] += weight * cells[row, column]
    return found


def target(bitmap, box, size):
    """What the mask head is to give for a box: bool [size, size], rows first.

    bitmap: bool [H, W], of the instance, at the picture's scale.  box: [4], x1, y1, x2, y2: a bin
    is its share of this frame, as when a polygon is cropped and drawn (T05).
    """
    return align(bitmap[:, :, None].astype(np.float64), box - HALF_PIXEL, 1.0, size)[..., 0] >= HALF


def unpack(packed):
    """uint8 [..., W / 8], eight columns a byte, the first in the lowest bit -> bool [..., W]."""
    return np.unpackbits(packed, axis=-1, bitorder="little").astype(bool)


def pack(bitmaps):
    """bool [..., W] -> uint8 [..., W / 8]: see unpack."""
    return np.packbits(bitmaps, axis=-1, bitorder="little")
