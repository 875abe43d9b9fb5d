"""Boxes, anchors, sampling, suppression and RoIAlign on the device, in PaddlePaddle.

The definitions are those of boxes.py, anchors.py and masks.py; everything here has a fixed shape.
A box is x1, y1, x2, y2, the last two inclusive.  Of ties the lower index is first.
B pictures, N and M boxes, A anchors, G rows of ground truth, S regions, C channels, P bins a side.
"""

import paddle
import paddle.nn.functional as F

from common.frameworks.paddlepaddle import dtype
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
        down = paddle.arange(rows, dtype=dtype()) * stride
        across = paddle.arange(columns, dtype=dtype()) * stride
        down, across = paddle.meshgrid(down, across)
        shifts = paddle.stack([across, down, across, down], axis=2)  # [rows, columns, 4]
        found.append((shifts[:, :, None] + base[level]).reshape([-1, 4]))
    return paddle.concat(found)


def overlaps(boxes, others):
    """Intersection over union.  boxes: [..., N, 4], others: [..., M, 4].  Returns [..., N, M]."""
    # Expanded: two tensors that are both broadcast take ten times as long on a CPU.
    shape = [*boxes.shape[:-1], others.shape[-2]]
    x1, y1, x2, y2 = _sides(boxes[..., :, None, :])  # [..., N, 1]
    from_x1, from_y1, from_x2, from_y2 = _sides(others[..., None, :, :])  # [..., 1, M]
    areas = ((x2 - x1 + 1.0) * (y2 - y1 + 1.0)).expand(shape)
    from_areas = ((from_x2 - from_x1 + 1.0) * (from_y2 - from_y1 + 1.0)).expand(shape)
    x1, y1, x2, y2 = (one.expand(shape) for one in (x1, y1, x2, y2))
    width = paddle.minimum(x2, from_x2.expand(shape)) - paddle.maximum(x1, from_x1.expand(shape))
    height = paddle.minimum(y2, from_y2.expand(shape)) - paddle.maximum(y1, from_y1.expand(shape))
    shared = (width + 1.0).clamp(min=0.0) * (height + 1.0).clamp(min=0.0)
    return shared / (areas + from_areas - shared)


def _sides(boxes):
    """What boxes[..., 0] to boxes[..., 3] are; unbind(-1) copies number by number on a CPU."""
    return boxes.moveaxis(-1, 0).unbind(0)


def encode(boxes, anchors, weights):
    """The code of boxes as seen from anchors, [..., 4]: see boxes.encode.  Both: [..., 4]."""
    x1, y1, x2, y2 = _sides(boxes)
    from_x1, from_y1, from_x2, from_y2 = _sides(anchors)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    from_width, from_height = from_x2 - from_x1 + 1.0, from_y2 - from_y1 + 1.0
    x = x1 + 0.5 * width - (from_x1 + 0.5 * from_width)
    y = y1 + 0.5 * height - (from_y1 + 0.5 * from_height)
    code = [x / from_width * weights[0], y / from_height * weights[1]]
    code += [paddle.log(width / from_width) * weights[2]]
    code += [paddle.log(height / from_height) * weights[3]]
    return paddle.stack(code, axis=-1)


def decode(code, anchors, weights):
    """The boxes of a code: see boxes.decode.  code, anchors: [..., 4].  Returns [..., 4]."""
    dx, dy, dw, dh = _sides(code)
    x1, y1, x2, y2 = _sides(anchors)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    x = dx / weights[0] * width + (x1 + 0.5 * width)
    y = dy / weights[1] * height + (y1 + 0.5 * height)
    width = paddle.exp((dw / weights[2]).clamp(max=LARGEST)) * width
    height = paddle.exp((dh / weights[3]).clamp(max=LARGEST)) * height
    boxes = [x - 0.5 * width, y - 0.5 * height, x + 0.5 * width - 1.0, y + 0.5 * height - 1.0]
    return paddle.stack(boxes, axis=-1)


def clip(boxes, sizes):
    """Boxes within their pictures.  boxes: [B, N, 4].  sizes: int [B, 2], height and width."""
    height, width = (sizes.astype(boxes.dtype) - 1.0).clamp(min=0.0).unbind(1)
    most = paddle.stack([width, height, width, height], axis=1)[:, None]  # [B, 1, 4]
    return paddle.minimum(boxes.clamp(min=0.0), most)


def rows_at(rows, places):
    """Rows of each picture.  rows: [B, N, ...].  places: int [B, M].  Returns [B, M, ...]."""
    first = paddle.arange(0, len(rows) * rows.shape[1], rows.shape[1], places.dtype)
    return rows.flatten(0, 1)[first[:, None] + places]


def label_anchors(config, anchors, boxes, exists, sizes):
    """Which anchors are positive and which negative: see boxes.label_anchors.

    anchors: [A, 4].  boxes: [B, G, 4].  exists: bool [B, G].  sizes: int [B, 2].
    Returns bool [B, A], bool [B, A], and the row of the box that each is matched with, int [B, A].
    """
    shared = overlaps(boxes, anchors)  # [B, G, A]
    shared = shared.masked_fill(~exists[:, :, None], -1.0)
    most, matches = shared.max(axis=1), shared.argmax(axis=1)  # [B, A]
    best = (shared == shared.max(axis=2, keepdim=True)) & exists[:, :, None]
    positive = (most >= config.anchor_high) | best.any(axis=1)
    height, width = sizes.astype(anchors.dtype).unbind(1)
    x1, y1, x2, y2 = _sides(anchors)
    inside = (x1 >= 0.0) & (y1 >= 0.0)
    inside = inside & (x2 < width[:, None]) & (y2 < height[:, None])  # [B, A]
    return positive & inside, (most < config.anchor_low) & ~positive & inside, matches


def label_regions(config, candidates, valid, boxes, exists):
    """Which candidates are positive and which negative, by the box that each overlaps most.

    candidates: [B, N, 4].  valid: bool [B, N].  boxes: [B, G, 4].  exists: bool [B, G].
    Returns bool [B, N], bool [B, N], and the box's row, int [B, N].
    """
    shared = overlaps(boxes, candidates).masked_fill(~exists[:, :, None], -1.0)  # [B, G, N]
    most, matches = shared.max(axis=1), shared.argmax(axis=1)  # [B, N]
    positive = most >= config.roi_overlap
    return positive & valid, ~positive & valid, matches


def sample(keys, positive, negative, count, most):
    """The places with the smallest keys: at most `most` positive ones, then negative ones until
    there are `count`: see boxes.sample.

    keys: int [B, N], in each row a permutation.  positive, negative: bool [B, N].
    Returns places, int [B, count], and of each boxes.POSITIVE, NEGATIVE or NONE, int [B, count]:
    in this order, each kind by rising key.
    """
    total = keys.shape[1]
    first = paddle.where(positive, keys, keys + total)
    last = first.topk(most, axis=1, largest=False)[0][:, -1:]  # of fewer: total or more
    chosen = positive & (keys <= last)
    others = paddle.where(negative, keys + total, keys + 2 * total)
    keys, places = paddle.where(chosen, keys, others).topk(count, axis=1, largest=False)
    return places, keys // total


def suppress(boxes, threshold):
    """Non-maximum suppression: see boxes.suppress.  boxes: [B, N, 4], by falling score.

    A box is kept if no kept box before it overlaps it.  Whoever guesses which are kept, and puts
    the guess into that sentence, has the next guess, right one place further at least; a guess that
    it gives back is the answer.  Returns bool [B, N].
    """
    over = overlaps(boxes, boxes) > threshold
    over = over.astype(dtype()).triu(1)  # [B, N, N]: row over column
    kept = paddle.ones([boxes.shape[0], 1, boxes.shape[1]], dtype())
    _, kept = paddle.static.nn.while_loop(
        lambda before, kept: (before != kept).any(),  # the one value of a step that the host reads
        lambda before, kept: [kept, (kept @ over == 0.0).astype(dtype())],  # [B, 1, N]
        [paddle.zeros_like(kept), kept],
    )
    return kept[:, 0] > 0.0


def propose(config, logits, deltas, anchors, sizes, counts, level_count, count):
    """The anchors whose boxes are proposals, by falling score: see README.md, "Model".

    Of each level the best `level_count` are suppressed among themselves; of the rest the best are
    taken.  logits: [B, A].  deltas: [B, A, 4].  counts: [anchors of a level].
    Returns int [B, count]: places in `anchors`, -1 where there is none.
    """
    missing = paddle.full([len(logits), count], -paddle.inf, dtype())
    scores, places = [missing], [paddle.full_like(missing, -1, "int64")]
    first = 0
    for total in counts:
        own = logits[:, first : first + total]
        order = own.argsort(axis=1, descending=True, stable=True)[:, :level_count]
        own, order = own.take_along_axis(order, 1), order + first
        boxes = clip(decode(rows_at(deltas, order), anchors[order], (1.0, 1.0, 1.0, 1.0)), sizes)
        kept = suppress(boxes, config.proposal_overlap)
        scores.append(own.masked_fill(~kept, -paddle.inf))
        places.append(order.masked_fill(~kept, -1))
        first += total
    # What is missing and what is suppressed have one score and one place, whichever comes first.
    scores, places = paddle.concat(scores, axis=1), paddle.concat(places, axis=1)
    order = scores.argsort(axis=1, descending=True, stable=True)[:, :count]
    return places.take_along_axis(order, 1)


def level_of(config, boxes):
    """The pyramid's level of each box, int [B, N]: see boxes.level_of.  boxes: [B, N, 4].

    Compared with the levels' bounds: a logarithm would be rounded in more ways than one.
    """
    x1, y1, x2, y2 = _sides(boxes)
    side = paddle.sqrt((x2 - x1 + 1.0) * (y2 - y1 + 1.0)) / config.canonical_size + 1e-6
    level = paddle.zeros_like(side, "int64")
    for upper in range(1, len(config.blocks)):
        level = level + (side >= 2.0 ** (upper + 2 - config.canonical_level)).astype("int64")
    return level


def sample_points(low, high, size, bins):
    """The cells that each sample of a box's side lies between: see masks.sample_points, corners.

    low, high: [B, N], in cells.  size: of the map's side.
    Returns cells, int [B, N, P, 4], and weights, [B, N, P, 4]: two samples of two cells a bin.
    """
    places = (paddle.arange(2 * bins, dtype=low.dtype) + 0.5) / (2 * bins)
    at = low[..., None] + places * (high - low).clamp(min=1.0)[..., None]  # [B, N, 2 P]
    size = size[..., None]
    inside = ((at >= -1.0) & (at <= size)).astype(at.dtype)
    at = paddle.minimum(at.clamp(min=0.0), size - 1.0)
    first = at.floor()
    second = paddle.minimum(first + 1.0, size - 1.0)
    cells = paddle.stack([first, second], axis=-1).astype("int64")
    weights = paddle.stack([1.0 - (at - first), at - first], axis=-1) * inside[..., None]
    return cells.unflatten(2, (bins, 2)).flatten(3), weights.unflatten(2, (bins, 2)).flatten(3)


def number_of(levels, numbers):
    """The number of each level.  levels: int [B, S].  numbers: [int].  Returns int [B, S]."""
    found = paddle.zeros_like(levels)
    for level, number in enumerate(numbers):
        found = found.masked_fill(levels == level, number)
    return found


def align(config, maps, boxes, levels, bins):
    """RoIAlign of each box on its level: see masks.align.

    maps: [[B, C, H, W]] of the levels.  boxes: [B, S, 4].  levels: int [B, S].
    Returns [B, S, P, P, C], rows first.  No gradient reaches the boxes.
    """
    shapes = [one.shape[2:] for one in maps]
    firsts = [len(boxes) * sum(rows * columns for rows, columns in shapes[:level])
              for level in range(len(maps))]  # fmt: skip
    height, width = (number_of(levels, sizes) for sizes in zip(*shapes))  # [B, S]
    first, stride = number_of(levels, firsts), number_of(levels, config.strides[: len(maps)])
    x1, y1, x2, y2 = _sides(boxes / stride.astype(boxes.dtype)[..., None])
    rows, row_weights = sample_points(y1, y2, height.astype(boxes.dtype), bins)  # [B, S, P, 4]
    columns, column_weights = sample_points(x1, x2, width.astype(boxes.dtype), bins)
    picture = paddle.arange(len(boxes))[:, None]
    rows = (picture * height)[..., None, None] + rows
    rows = first[..., None, None] + rows * width[..., None, None]
    shape = [*rows.shape[:3], bins, 4, 4]  # [B, S, P, P, 4, 4]
    cells = rows[:, :, :, None, :, None].expand(shape)
    cells = cells + columns[:, :, None, :, None, :].expand(shape)
    weights = row_weights[:, :, :, None, :, None].expand(shape)
    weights = weights * column_weights[:, :, None, :, None, :].expand(shape) / 4.0
    table = paddle.concat([one.transpose([0, 2, 3, 1]).flatten(0, 2) for one in maps])  # [cells, C]
    rows = F.embedding(cells.flatten(0, 3).flatten(1), table.astype(dtype()))  # [bins, 16, C]
    pooled = weights.flatten(0, 3).flatten(1)[:, None] @ rows  # [bins, 1, C]
    return pooled.squeeze(1).unflatten(0, shape[:4])


def mask_targets(config, masks, matches, boxes):
    """What the mask head is to give: see masks.target.

    masks: uint8 [B, G, H, W / 8], eight columns a byte.  matches: int [B, M], rows of G.
    boxes: [B, M, 4].  Returns [B, M, 2 P, 2 P], of 0 and 1.
    """
    batch, rows_of, height, width = masks.shape
    x1, y1, x2, y2 = _sides(boxes - HALF_PIXEL)
    bins = 2 * config.mask_bins
    rows, row_weights = sample_points(y1, y2, paddle.full_like(y1, height), bins)  # [B, M, P, 4]
    columns, column_weights = sample_points(x1, x2, paddle.full_like(x1, 8 * width), bins)
    columns, column_weights = columns.flatten(2).flatten(0, 1), column_weights.flatten(2)
    instance = paddle.arange(batch)[:, None] * rows_of + matches  # [B, M]
    rows = (instance * height)[..., None] + rows.flatten(2)  # [B, M, 4 P]
    # Whole rows, then whole columns of them: single bytes take thirty times as long.
    masks = masks.flatten(0, 2).astype("int32")  # many kernels take no uint8
    lines = masks[rows].flatten(0, 1)  # [B M, 4 P, W / 8]
    lines = rows_at(lines.transpose([0, 2, 1]), columns // 8)  # [B M, 4 P columns, 4 P rows]
    places = (columns % 8).astype("int32")[:, :, None]
    bits = (lines & (paddle.ones_like(places) << places)).astype("bool").astype(dtype())
    means = bits * column_weights.flatten(0, 1)[:, :, None]
    means = means.unflatten(1, (bins, 4)).sum(2)  # [B M, P, 4 P]
    means = means * row_weights.flatten(2).flatten(0, 1)[:, None].expand_as(means)
    means = means.unflatten(2, (bins, 4)).sum(3).transpose([0, 2, 1])  # [B M, P, P]
    return (means.unflatten(0, matches.shape) / 4.0 >= HALF).astype(dtype())
