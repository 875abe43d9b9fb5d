"""Boxes, anchors, sampling, suppression and RoIAlign on the device, in TensorFlow.

The definitions are those of boxes.py, anchors.py and masks.py; everything here has a fixed shape.
A box is x1, y1, x2, y2, the last two inclusive.  Of ties the lower index is first.
B pictures, N and M boxes, A anchors, G rows of ground truth, S regions, C channels, P bins a side.
"""

import math

import tensorflow as tf

from common.frameworks.tensorflow import dtype
from object_detection.anchors import level_shapes
from object_detection.boxes import LARGEST
from object_detection.masks import HALF, HALF_PIXEL


def make_anchors(config, base, height, width):
    """All anchors of a picture of that padded size, [A, 4]: see anchors.anchors.

    base: [levels, ratios, 4], those around the cell at 0, 0.
    """
    found = []
    for level, (rows, columns) in enumerate(level_shapes(config, height, width)):
        stride = config.strides[level]
        down = tf.cast(tf.range(rows) * stride, dtype())
        across = tf.cast(tf.range(columns) * stride, dtype())
        down, across = tf.meshgrid(down, across, indexing="ij")
        shifts = tf.stack([across, down, across, down], axis=2)  # [rows, columns, 4]
        found.append(tf.reshape(shifts[:, :, None] + base[level], [-1, 4]))
    return tf.concat(found, axis=0)


def overlaps(boxes, others):
    """Intersection over union.  boxes: [..., N, 4], others: [..., M, 4].  Returns [..., N, M]."""
    x1, y1, x2, y2 = tf.unstack(boxes[..., :, None, :], axis=-1)  # [..., N, 1]
    from_x1, from_y1, from_x2, from_y2 = tf.unstack(others[..., None, :, :], axis=-1)  # [..., 1, M]
    width = tf.minimum(x2, from_x2) - tf.maximum(x1, from_x1) + 1.0
    height = tf.minimum(y2, from_y2) - tf.maximum(y1, from_y1) + 1.0
    shared = tf.maximum(width, 0.0) * tf.maximum(height, 0.0)
    areas = (x2 - x1 + 1.0) * (y2 - y1 + 1.0)
    from_areas = (from_x2 - from_x1 + 1.0) * (from_y2 - from_y1 + 1.0)
    return shared / (areas + from_areas - shared)


def encode(boxes, anchors, weights):
    """The code of boxes as seen from anchors, [..., 4]: see boxes.encode.  Both: [..., 4]."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    from_x1, from_y1, from_x2, from_y2 = tf.unstack(anchors, axis=-1)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    from_width, from_height = from_x2 - from_x1 + 1.0, from_y2 - from_y1 + 1.0
    x = x1 + 0.5 * width - (from_x1 + 0.5 * from_width)
    y = y1 + 0.5 * height - (from_y1 + 0.5 * from_height)
    code = [x / from_width * weights[0], y / from_height * weights[1]]
    code += [tf.math.log(width / from_width) * weights[2]]
    code += [tf.math.log(height / from_height) * weights[3]]
    return tf.stack(code, axis=-1)


def decode(code, anchors, weights):
    """The boxes of a code: see boxes.decode.  code, anchors: [..., 4].  Returns [..., 4]."""
    dx, dy, dw, dh = tf.unstack(code, axis=-1)
    x1, y1, x2, y2 = tf.unstack(anchors, axis=-1)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    x = dx / weights[0] * width + (x1 + 0.5 * width)
    y = dy / weights[1] * height + (y1 + 0.5 * height)
    width = tf.exp(tf.minimum(dw / weights[2], LARGEST)) * width
    height = tf.exp(tf.minimum(dh / weights[3], LARGEST)) * height
    boxes = [x - 0.5 * width, y - 0.5 * height, x + 0.5 * width - 1.0, y + 0.5 * height - 1.0]
    return tf.stack(boxes, axis=-1)


def clip(boxes, sizes):
    """Boxes within their pictures.  boxes: [B, N, 4].  sizes: int [B, 2], height and width."""
    height, width = tf.unstack(tf.maximum(tf.cast(sizes, boxes.dtype) - 1.0, 0.0), axis=1)
    most = tf.stack([width, height, width, height], axis=1)[:, None]  # [B, 1, 4]
    return tf.minimum(tf.maximum(boxes, 0.0), most)


def rows_at(rows, places):
    """Rows of each picture.  rows: [B, N, ...].  places: int [B, M].  Returns [B, M, ...]."""
    return tf.gather(rows, places, batch_dims=1)


def label_anchors(config, anchors, boxes, exists, sizes):
    """Which anchors are positive and which negative: see boxes.label_anchors.

    anchors: [A, 4].  boxes: [B, G, 4].  exists: bool [B, G].  sizes: int [B, 2].
    Returns bool [B, A], bool [B, A], and the row of the box that each is matched with, int [B, A].
    """
    shared = overlaps(boxes, anchors)  # [B, G, A]
    shared = tf.where(exists[:, :, None], shared, -1.0)
    most, matches = tf.reduce_max(shared, axis=1), tf.argmax(shared, axis=1)  # [B, A]
    best = (shared == tf.reduce_max(shared, axis=2, keepdims=True)) & exists[:, :, None]
    positive = (most >= config.anchor_high) | tf.reduce_any(best, axis=1)
    height, width = tf.unstack(tf.cast(sizes, anchors.dtype), axis=1)
    x1, y1, x2, y2 = tf.unstack(anchors, axis=1)
    inside = (x1 >= 0.0) & (y1 >= 0.0)
    inside = inside & (x2 < width[:, None]) & (y2 < height[:, None])  # [B, A]
    return positive & inside, (most < config.anchor_low) & ~positive & inside, matches


def label_regions(config, candidates, valid, boxes, exists):
    """Which candidates are positive and which negative, by the box that each overlaps most.

    candidates: [B, N, 4].  valid: bool [B, N].  boxes: [B, G, 4].  exists: bool [B, G].
    Returns bool [B, N], bool [B, N], and the box's row, int [B, N].
    """
    shared = tf.where(exists[:, :, None], overlaps(boxes, candidates), -1.0)  # [B, G, N]
    most, matches = tf.reduce_max(shared, axis=1), tf.argmax(shared, axis=1)  # [B, N]
    positive = most >= config.roi_overlap
    return positive & valid, ~positive & valid, matches


def sample(keys, positive, negative, count, most):
    """The places with the smallest keys: at most `most` positive ones, then negative ones until
    there are `count`: see boxes.sample.

    keys: int [B, N], in each row a permutation.  positive, negative: bool [B, N].
    Returns places, int [B, count], and of each boxes.POSITIVE, NEGATIVE or NONE, int [B, count]:
    in this order, each kind by rising key.
    """
    keys, total = tf.cast(keys, tf.int64), tf.shape(keys, tf.int64)[1]
    first = tf.where(positive, keys, keys + total)
    last = -_largest(-first, most)[0][:, -1:]  # of fewer: total or more
    chosen = positive & (keys <= last)
    others = tf.where(negative, keys + total, keys + 2 * total)
    keys, places = _largest(-tf.where(chosen, keys, others), count)
    return places, -keys // total


def _largest(values, count):
    """The largest of each row, falling, and their places.  values: [B, N].  Both: [B, count].

    TensorFlow promises the lower place first among equal ones.  int64, as all numbers here: on GPUs
    TensorFlow keeps those of int32 on the host.
    """
    values, places = tf.math.top_k(values, count)
    return values, tf.cast(places, tf.int64)


def suppress(boxes, threshold):
    """Non-maximum suppression: see boxes.suppress.  boxes: [B, N, 4], by falling score.

    A box is kept if no kept box before it overlaps it.  Whoever guesses which are kept, and puts
    the guess into that sentence, has the next guess, right one place further at least; a guess that
    it gives back is the answer.  Returns bool [B, N].
    """
    places = tf.range(tf.shape(boxes)[1])
    over = (overlaps(boxes, boxes) > threshold) & (places[:, None] < places)
    over = tf.cast(over, dtype())  # [B, N, N]: row over column
    kept = tf.ones_like(over[:, :1])
    _, kept = tf.while_loop(
        lambda before, kept: tf.reduce_any(before != kept),
        lambda before, kept: (kept, tf.cast(kept @ over == 0.0, dtype())),  # [B, 1, N]
        (tf.zeros_like(kept), kept),
    )
    return kept[:, 0] > 0.0


def propose(config, logits, deltas, anchors, sizes, counts, level_count, count):
    """The anchors whose boxes are proposals, by falling score: see README.md, "Model".

    Of each level the best `level_count` are suppressed among themselves; of the rest the best are
    taken.  logits: [B, A].  deltas: [B, A, 4].  counts: [anchors of a level].
    Returns int [B, count]: places in `anchors`, -1 where there is none.
    """
    missing = tf.fill([tf.shape(logits)[0], count], tf.cast(-math.inf, logits.dtype))
    scores, places = [missing], [tf.fill(tf.shape(missing), tf.cast(-1, tf.int64))]
    first = 0
    for total in counts:
        own, order = _largest(logits[:, first : first + total], tf.minimum(total, level_count))
        order = order + first
        boxes = decode(rows_at(deltas, order), tf.gather(anchors, order), (1.0, 1.0, 1.0, 1.0))
        boxes = clip(boxes, sizes)
        scores.append(tf.where(suppress(boxes, config.proposal_overlap), own, -math.inf))
        places.append(tf.where(scores[-1] > -math.inf, order, -1))
        first += total
    # What is missing and what is suppressed have one score and one place, whichever comes first.
    scores, places = tf.concat(scores, axis=1), tf.concat(places, axis=1)
    _, order = _largest(scores, count)
    return rows_at(places, order)


def level_of(config, boxes):
    """The pyramid's level of each box, int [B, N]: see boxes.level_of.  boxes: [B, N, 4].

    Compared with the levels' bounds: a logarithm would be rounded in more ways than one.
    """
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    side = tf.sqrt((x2 - x1 + 1.0) * (y2 - y1 + 1.0)) / config.canonical_size + 1e-6
    level = tf.zeros_like(side, tf.int64)
    for upper in range(1, len(config.blocks)):
        level = level + tf.cast(side >= 2.0 ** (upper + 2 - config.canonical_level), tf.int64)
    return level


def sample_points(low, high, size, bins):
    """The cells that each sample of a box's side lies between: see masks.sample_points, corners.

    low, high: [B, N], in cells.  size: of the map's side.
    Returns cells, int [B, N, P, 4], and weights, [B, N, P, 4]: two samples of two cells a bin.
    """
    places = (tf.range(2 * bins, dtype=low.dtype) + 0.5) / (2 * bins)
    at = low[..., None] + places * tf.maximum(high - low, 1.0)[..., None]  # [B, N, 2 P]
    size = size[..., None]
    inside = tf.cast((at >= -1.0) & (at <= size), at.dtype)
    at = tf.minimum(tf.maximum(at, 0.0), size - 1.0)
    first = tf.floor(at)
    second = tf.minimum(first + 1.0, size - 1.0)
    cells = tf.cast(tf.stack([first, second], axis=-1), tf.int64)
    weights = tf.stack([1.0 - (at - first), at - first], axis=-1) * inside[..., None]
    shape = [*tf.unstack(tf.shape(low)), bins, 4]
    return tf.reshape(cells, shape), tf.reshape(weights, shape)


def number_of(levels, numbers):
    """The number of each level.  levels: int [B, S].  numbers: [int].  Returns int [B, S]."""
    found = tf.zeros_like(levels)
    for level, number in enumerate(numbers):
        found = tf.where(levels != level, found, number)
    return found


def align(config, maps, boxes, levels, bins):
    """RoIAlign of each box on its level: see masks.align.

    maps: [[B, H, W, C]] of the levels.  boxes: [B, S, 4].  levels: int [B, S].
    Returns [B, S, P, P, C], rows first.  No gradient reaches the boxes.
    """
    shapes = [tf.unstack(tf.shape(one, tf.int64)[1:3]) for one in maps]
    batch = tf.shape(boxes, tf.int64)[0]
    firsts = [batch * sum(rows * columns for rows, columns in shapes[:level])
              for level in range(len(maps))]  # fmt: skip
    height, width = (number_of(levels, sizes) for sizes in zip(*shapes))  # [B, S]
    first, stride = number_of(levels, firsts), number_of(levels, config.strides[: len(maps)])
    boxes = tf.stop_gradient(boxes / tf.cast(stride, boxes.dtype)[..., None])
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    rows, row_weights = sample_points(y1, y2, tf.cast(height, boxes.dtype), bins)  # [B, S, P, 4]
    columns, column_weights = sample_points(x1, x2, tf.cast(width, boxes.dtype), bins)
    picture = tf.range(batch)[:, None]
    rows = (picture * height)[..., None, None] + rows
    rows = first[..., None, None] + rows * width[..., None, None]
    cells = rows[:, :, :, None, :, None] + columns[:, :, None, :, None, :]  # [B, S, P, P, 4, 4]
    weights = row_weights[:, :, :, None, :, None] * column_weights[:, :, None, :, None, :] / 4.0
    channels = maps[0].shape[3]
    table = tf.concat([tf.reshape(one, [-1, channels]) for one in maps], axis=0)  # [cells, C]
    pooled = _sums(config, tf.cast(table, dtype()), tf.reshape(cells, [-1, 16]),
                   tf.reshape(weights, [-1, 16]))  # fmt: skip
    return tf.reshape(pooled, [*tf.unstack(tf.shape(levels)), bins, bins, channels])


def _sums(config, table, cells, weights):
    """Sums of rows, by their weights.  table: [cells, C].  cells: int [N, 16].  weights: [N, 16].

    As a product of a matrix in rows (CSR), three times as fast as tf.sparse.sparse_dense_matmul.
    Returns [N, C].
    """
    if config.compile:  # XLA has no sparse product
        return sum(tf.gather(table, cells[:, place]) * weights[:, place, None]
                   for place in range(16))  # fmt: skip
    count = tf.shape(cells, tf.int64)[0]
    row = tf.broadcast_to(tf.range(count)[:, None], [count, 16])
    matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=tf.reshape(tf.stack([row, cells], axis=2), [-1, 2]),
        values=tf.reshape(weights, [-1]),
        dense_shape=[count, tf.shape(table, tf.int64)[0]],
    )

    @tf.custom_gradient
    def product(table):
        def gradient(of):
            return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=of, transpose_a=True)

        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=table), gradient

    return product(table)


def mask_targets(config, masks, matches, boxes):
    """What the mask head is to give: see masks.target.

    masks: uint8 [B, G, H, W / 8], eight columns a byte.  matches: int [B, M], rows of G.
    boxes: [B, M, 4].  Returns [B, M, 2 P, 2 P], of 0 and 1.
    """
    batch, rows_of, height, width = tf.unstack(tf.shape(masks, tf.int64))
    x1, y1, x2, y2 = tf.unstack(boxes - HALF_PIXEL, axis=-1)
    bins = 2 * config.mask_bins
    rows, row_weights = sample_points(y1, y2, tf.cast(height, y1.dtype), bins)  # [B, M, P, 4]
    columns, column_weights = sample_points(x1, x2, tf.cast(8 * width, x1.dtype), bins)
    shape = [*tf.unstack(tf.shape(matches)), 4 * bins]
    columns, column_weights = tf.reshape(columns, shape), tf.reshape(column_weights, shape)
    instance = tf.range(batch)[:, None] * rows_of + matches  # [B, M]
    rows = (instance * height)[..., None] + tf.reshape(rows, shape)  # [B, M, 4 P]
    cells = (rows * width)[..., None] + (columns // 8)[:, :, None]  # [B, M, 4 P, 4 P]
    shifts = tf.cast(columns % 8, tf.uint8)[:, :, None]
    bits = tf.bitwise.right_shift(tf.gather(tf.reshape(masks, [-1]), cells), shifts)
    bits = tf.cast(tf.bitwise.bitwise_and(bits, 1), boxes.dtype)
    means = tf.reshape(bits * column_weights[:, :, None], [*shape, bins, 4])
    means = tf.reduce_sum(means, axis=4)  # [B, M, 4 P, P]
    means = tf.reshape(means, [*shape[:2], bins, 4, bins]) * row_weights[..., None]
    return tf.cast(tf.reduce_sum(means, axis=3) / 4.0 >= HALF, dtype())
