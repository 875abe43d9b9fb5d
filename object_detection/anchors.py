"""The anchors: boxes of three shapes around each cell of each level of the pyramid.

Plain definitions in numpy.  A box is x1, y1, x2, y2, the last two inclusive.
"""

import numpy as np


def base_anchors(stride, scale, ratios):
    """Around the cell at 0, 0.  scale: a square's side over the stride.  ratios: height / width.

    Rounded as in Detectron: the sides of a box of the cell's area, to the nearest, ties to even,
    times `scale`.  Returns float64 [len(ratios), 4], x1, y1, x2, y2.
    """
    centre = (stride - 1) / 2
    found = []
    for ratio in ratios:
        width = np.round(np.sqrt(stride**2 / ratio))
        height = np.round(width * ratio)
        width, height = width * scale, height * scale
        found.append([centre - (width - 1) / 2, centre - (height - 1) / 2,
                      centre + (width - 1) / 2, centre + (height - 1) / 2])  # fmt: skip
    return np.array(found)


def all_base_anchors(config):
    """Those of all levels: float64 [levels, ratios, 4], x1, y1, x2, y2."""
    return np.stack([base_anchors(stride, config.anchor_scale, config.aspect_ratios)
                     for stride in config.strides])  # fmt: skip


def level_shapes(config, height, width):
    """[(rows, columns)] of the pyramid's levels of a picture, the last one for proposals alone.

    height, width: padded, multiples of the backbone's largest stride.
    """
    return [(-(-height // stride), -(-width // stride)) for stride in config.strides]


def anchors(config, height, width):
    """All anchors of a picture: float64 [A, 4], x1, y1, x2, y2.

    In this order: level, row, column, ratio.  height, width: padded.
    """
    found = []
    levels = zip(level_shapes(config, height, width), config.strides, all_base_anchors(config))
    for (rows, columns), stride, base in levels:
        for row in range(rows):
            for column in range(columns):
                found.append(base + np.array([column, row, column, row]) * stride)
    return np.concatenate(found)
