"""What boxes mean: sizes, overlaps, the box code, matching, sampling, suppression, levels.

Plain definitions in numpy, by which the frameworks' own forms are tested.  A box is x1, y1, x2, y2:
the left, upper, right and lower pixel, the last two inclusive, so that a width is x2 - x1 + 1
("legacy": Detectron and maskrcnn-benchmark).  Of ties the lower index is first, everywhere.
"""

import math

import numpy as np

LARGEST = math.log(1000.0 / 16.0)  # of dw and dh when a box is decoded

# What `sample` says of a place.
POSITIVE, NEGATIVE, NONE = 0, 1, 2


def widths_heights(boxes):
    """boxes: [..., 4], x1, y1, x2, y2.  Returns widths [...] and heights [...]."""
    return boxes[..., 2] - boxes[..., 0] + 1.0, boxes[..., 3] - boxes[..., 1] + 1.0


def overlaps(boxes, others):
    """Intersection over union.  boxes: [N, 4], others: [M, 4], x1, y1, x2, y2.  Returns [N, M]."""
    boxes, others = boxes[:, None], others[None]
    shared = np.minimum(boxes[..., 2:], others[..., 2:]) + 1.0
    shared = np.maximum(shared - np.maximum(boxes[..., :2], others[..., :2]), 0.0).prod(axis=2)
    areas, from_areas = (np.multiply(*widths_heights(found)) for found in (boxes, others))
    return shared / (areas + from_areas - shared)


def encode(boxes, anchors, weights):
    """The code of boxes as seen from anchors: dx, dy, dw, dh times `weights`.  Girshick 2015.

    boxes, anchors: [N, 4], x1, y1, x2, y2.  Returns [N, 4].
    """
    width, height = widths_heights(boxes)
    from_width, from_height = widths_heights(anchors)
    x = boxes[:, 0] + 0.5 * width - (anchors[:, 0] + 0.5 * from_width)
    y = boxes[:, 1] + 0.5 * height - (anchors[:, 1] + 0.5 * from_height)
    code = [x / from_width, y / from_height, np.log(width / from_width),
            np.log(height / from_height)]  # fmt: skip
    return np.stack(code, axis=1) * weights


def decode(code, anchors, weights):
    """The boxes of a code.  code: [N, 4], dx, dy, dw, dh.  anchors: [N, 4], x1, y1, x2, y2.

    Returns boxes [N, 4], x1, y1, x2, y2.
    """
    code = code / weights
    width, height = widths_heights(anchors)
    x = code[:, 0] * width + (anchors[:, 0] + 0.5 * width)
    y = code[:, 1] * height + (anchors[:, 1] + 0.5 * height)
    width = np.exp(np.minimum(code[:, 2], LARGEST)) * width
    height = np.exp(np.minimum(code[:, 3], LARGEST)) * height
    return np.stack([x - 0.5 * width, y - 0.5 * height, x + 0.5 * width - 1.0,
                     y + 0.5 * height - 1.0], axis=1)  # fmt: skip


def clip(boxes, height, width):
    """boxes: [N, 4], x1, y1, x2, y2.  Returns them within a picture of that size."""
    return np.clip(boxes, 0.0, [width - 1.0, height - 1.0, width - 1.0, height - 1.0])


def label_anchors(anchors, boxes, height, width, high, low):
    """Which anchors are positive and which negative, and the box that each is matched with.

    Positive: the overlap with some box is `high` or more, or none overlaps that box more, ties
    included.  Negative: no overlap reaches `low`.  An anchor that crosses the picture's border is
    neither.  anchors: [A, 4], boxes: [G, 4], x1, y1, x2, y2.
    Returns bool [A], bool [A], int [A]: the box of the largest overlap, the first of equal ones.
    """
    shared = overlaps(anchors, boxes)
    most = shared.max(axis=1)
    positive = (most >= high) | (shared == shared.max(axis=0)).any(axis=1)
    inside = (anchors[:, :2] >= 0).all(axis=1) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
    return positive & inside, (most < low) & ~positive & inside, shared.argmax(axis=1)


def sample(keys, positive, negative, count, most):
    """The places with the smallest keys: at most `most` positive ones, then negative ones until
    there are `count`.

    keys: int [N], all different.  positive, negative: bool [N].
    Returns {place: POSITIVE or NEGATIVE}, positive ones first, each kind by rising key.
    """
    order = np.argsort(keys)
    chosen = [int(place) for place in order if positive[place]][:most]
    others = [int(place) for place in order if negative[place]][:count - len(chosen)]
    return dict.fromkeys(chosen, POSITIVE) | dict.fromkeys(others, NEGATIVE)


def suppress(boxes, threshold):
    """Non-maximum suppression.  boxes: [N, 4], x1, y1, x2, y2, by falling score.

    A box is kept if it overlaps none that was kept before by more than `threshold`.
    Returns bool [N].
    """
    over = overlaps(boxes, boxes) > threshold
    kept = np.zeros(len(boxes), bool)
    for place in range(len(boxes)):
        kept[place] = not (over[:place, place] & kept[:place]).any()
    return kept


def detections(config, scores, boxes):
    """The detections of a picture: suppressed class by class, the best of all classes.

    scores: [R, K], of regions, the background first.  boxes: [R, K, 4], x1, y1, x2, y2.
    Returns int [config.detections]: region * K + class, by falling score; -1 behind the last.
    """
    found = []
    for label in range(1, scores.shape[1]):
        order = np.argsort(-scores[:, label], kind="stable")
        order = order[scores[order, label] > config.score_threshold]
        kept = order[suppress(boxes[order, label], config.detection_overlap)]
        found.append(kept * scores.shape[1] + label)
    found = np.sort(np.concatenate(found))
    found = found[np.argsort(-scores.reshape(-1)[found], kind="stable")][: config.detections]
    return np.pad(found, (0, config.detections - len(found)), constant_values=-1)


def choose(config, scores, boxes, places=None):
    """The detections of each picture.  scores: [B, R, K].  boxes: [B, R, K, 4], x1, y1, x2, y2.

    places: int [B, D], see detections; None: they are chosen here.
    Returns boxes [B, D, 4], scores [B, D], classes int64 [B, D], zeros behind the last, and places.
    """
    own = np.stack([detections(config, *pair) for pair in zip(scores, boxes)])
    places = own if places is None else places
    exists = places >= 0
    at = np.maximum(places, 0)
    scores = np.take_along_axis(scores.reshape(len(scores), -1), at, axis=1)
    classes = at % boxes.shape[2]
    boxes = np.take_along_axis(boxes.reshape(len(boxes), -1, 4), at[..., None], axis=1)
    return boxes * exists[..., None], scores * exists, classes * exists, own


def level_of(config, box):
    """The pyramid's level, counted from 0, that a box is pooled from.  Lin et al. 2017, eq. 1.

    box: [4], x1, y1, x2, y2.
    """
    area = np.prod(widths_heights(box))
    level = math.log2(math.sqrt(area) / config.canonical_size + 1e-6) + config.canonical_level
    return min(max(math.floor(level), 2), 1 + len(config.blocks)) - 2
