"""Boxes, anchors, sampling, suppression and RoIAlign on the device, in PyTorch.

The definitions are those of boxes.py, anchors.py and masks.py; everything here has a fixed shape.
A box is x1, y1, x2, y2, the last two inclusive.  Of ties the lower index is first.
B pictures, N and M boxes, A anchors, G rows of ground truth, S regions, C channels, P bins a side.
"""

import torch
import torch.nn.functional as F

from common.frameworks.pytorch import dtype
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
        down = torch.arange(rows, dtype=dtype(), device=base.device) * stride
        across = torch.arange(columns, dtype=dtype(), device=base.device) * stride
        down, across = torch.meshgrid(down, across, indexing="ij")
        shifts = torch.stack([across, down, across, down], dim=2)  # [rows, columns, 4]
        found.append((shifts[:, :, None] + base[level]).reshape(-1, 4))
    return torch.cat(found)


def overlaps(boxes, others):
    """Intersection over union.  boxes: [..., N, 4], others: [..., M, 4].  Returns [..., N, M]."""
    x1, y1, x2, y2 = boxes[..., :, None, :].unbind(-1)  # [..., N, 1]
    from_x1, from_y1, from_x2, from_y2 = others[..., None, :, :].unbind(-1)  # [..., 1, M]
    width = torch.minimum(x2, from_x2) - torch.maximum(x1, from_x1) + 1.0
    height = torch.minimum(y2, from_y2) - torch.maximum(y1, from_y1) + 1.0
    shared = width.clamp(min=0.0) * height.clamp(min=0.0)
    areas = (x2 - x1 + 1.0) * (y2 - y1 + 1.0)
    from_areas = (from_x2 - from_x1 + 1.0) * (from_y2 - from_y1 + 1.0)
    return shared / (areas + from_areas - shared)


def encode(boxes, anchors, weights):
    """The code of boxes as seen from anchors, [..., 4]: see boxes.encode.  Both: [..., 4]."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    from_x1, from_y1, from_x2, from_y2 = anchors.unbind(-1)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    from_width, from_height = from_x2 - from_x1 + 1.0, from_y2 - from_y1 + 1.0
    x = x1 + 0.5 * width - (from_x1 + 0.5 * from_width)
    y = y1 + 0.5 * height - (from_y1 + 0.5 * from_height)
    code = [x / from_width * weights[0], y / from_height * weights[1]]
    code += [torch.log(width / from_width) * weights[2]]
    code += [torch.log(height / from_height) * weights[3]]
    return torch.stack(code, dim=-1)


def decode(code, anchors, weights):
    """The boxes of a code: see boxes.decode.  code, anchors: [..., 4].  Returns [..., 4]."""
    dx, dy, dw, dh = code.unbind(-1)
    x1, y1, x2, y2 = anchors.unbind(-1)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    x = dx / weights[0] * width + (x1 + 0.5 * width)
    y = dy / weights[1] * height + (y1 + 0.5 * height)
    width = torch.exp((dw / weights[2]).clamp(max=LARGEST)) * width
    height = torch.exp((dh / weights[3]).clamp(max=LARGEST)) * height
    boxes = [x - 0.5 * width, y - 0.5 * height, x + 0.5 * width - 1.0, y + 0.5 * height - 1.0]
    return torch.stack(boxes, dim=-1)


def clip(boxes, sizes):
    """Boxes within their pictures.  boxes: [B, N, 4].  sizes: int [B, 2], height and width."""
    height, width = (sizes.to(boxes.dtype) - 1.0).clamp(min=0.0).unbind(1)
    most = torch.stack([width, height, width, height], dim=1)[:, None]  # [B, 1, 4]
    return torch.minimum(boxes.clamp(min=0.0), most)


def rows_at(rows, places):
    """Rows of each picture.  rows: [B, N, ...].  places: int [B, M].  Returns [B, M, ...]."""
    batch = torch.arange(len(rows), device=rows.device)[:, None]
    return rows[batch, places.long()]


def label_anchors(config, anchors, boxes, exists, sizes):
    """Which anchors are positive and which negative: see boxes.label_anchors.

    anchors: [A, 4].  boxes: [B, G, 4].  exists: bool [B, G].  sizes: int [B, 2].
    Returns bool [B, A], bool [B, A], and the row of the box that each is matched with, int [B, A].
    """
    shared = overlaps(boxes, anchors)  # [B, G, A]
    shared = torch.where(exists[:, :, None], shared, -1.0)
    most, matches = shared.max(dim=1)  # [B, A]
    best = (shared == shared.amax(dim=2, keepdim=True)) & exists[:, :, None]
    positive = (most >= config.anchor_high) | best.any(dim=1)
    height, width = sizes.to(anchors.dtype).unbind(1)
    x1, y1, x2, y2 = anchors.unbind(1)
    inside = (x1 >= 0.0) & (y1 >= 0.0)
    inside = inside & (x2 < width[:, None]) & (y2 < height[:, None])  # [B, A]
    return positive & inside, (most < config.anchor_low) & ~positive & inside, matches


def label_regions(config, candidates, valid, boxes, exists):
    """Which candidates are positive and which negative, by the box that each overlaps most.

    candidates: [B, N, 4].  valid: bool [B, N].  boxes: [B, G, 4].  exists: bool [B, G].
    Returns bool [B, N], bool [B, N], and the box's row, int [B, N].
    """
    shared = torch.where(exists[:, :, None], overlaps(boxes, candidates), -1.0)  # [B, G, N]
    most, matches = shared.max(dim=1)  # [B, N]
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
    first = torch.where(positive, keys, keys + total)
    last = first.topk(most, dim=1, largest=False).values[:, -1:]  # of fewer: total or more
    chosen = positive & (keys <= last)
    others = torch.where(negative, keys + total, keys + 2 * total)
    keys, places = torch.where(chosen, keys, others).topk(count, dim=1, largest=False)
    return places, keys // total


def suppress(boxes, threshold):
    """Non-maximum suppression: see boxes.suppress.  boxes: [B, N, 4], by falling score.

    A box is kept if no kept box before it overlaps it.  Whoever guesses which are kept, and puts
    the guess into that sentence, has the next guess, right one place further at least; a guess that
    it gives back is the answer.  Returns bool [B, N].
    """
    over = (overlaps(boxes, boxes) > threshold).to(dtype()).triu(1)  # [B, N, N]: row over column
    kept = boxes.new_ones(boxes.shape[:2])[:, None]
    while True:
        before = kept
        kept = (before @ over == 0.0).to(dtype())  # [B, 1, N]
        if torch.equal(before, kept):  # the one value of a step that the host reads
            return kept[:, 0] > 0.0


def propose(config, logits, deltas, anchors, sizes, counts, level_count, count):
    """The anchors whose boxes are proposals, by falling score: see README.md, "Model".

    Of each level the best `level_count` are suppressed among themselves; of the rest the best are
    taken.  logits: [B, A].  deltas: [B, A, 4].  counts: [anchors of a level].
    Returns int [B, count]: places in `anchors`, -1 where there is none.
    """
    missing = logits.new_full((len(logits), count), -torch.inf)
    scores, places = [missing], [torch.full_like(missing, -1, dtype=torch.int64)]
    first = 0
    for total in counts:
        own, order = logits[:, first : first + total].sort(dim=1, descending=True, stable=True)
        own, order = own[:, :level_count], order[:, :level_count] + first
        boxes = clip(decode(rows_at(deltas, order), anchors[order], (1.0, 1.0, 1.0, 1.0)), sizes)
        scores.append(torch.where(suppress(boxes, config.proposal_overlap), own, -torch.inf))
        places.append(torch.where(scores[-1] > -torch.inf, order, -1))
        first += total
    # What is missing and what is suppressed have one score and one place, whichever comes first.
    scores, places = torch.cat(scores, dim=1), torch.cat(places, dim=1)
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return places.gather(1, order)


def level_of(config, boxes):
    """The pyramid's level of each box, int [B, N]: see boxes.level_of.  boxes: [B, N, 4].

    Compared with the levels' bounds: a logarithm would be rounded in more ways than one.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    side = torch.sqrt((x2 - x1 + 1.0) * (y2 - y1 + 1.0)) / config.canonical_size + 1e-6
    level = torch.zeros_like(side, dtype=torch.int64)
    for upper in range(1, len(config.blocks)):
        level = level + (side >= 2.0 ** (upper + 2 - config.canonical_level)).long()
    return level


def sample_points(low, high, size, bins):
    """The cells that each sample of a box's side lies between: see masks.sample_points, corners.

    low, high: [B, N], in cells.  size: of the map's side.
    Returns cells, int [B, N, P, 4], and weights, [B, N, P, 4]: two samples of two cells a bin.
    """
    places = (torch.arange(2 * bins, dtype=low.dtype, device=low.device) + 0.5) / (2 * bins)
    at = low[..., None] + places * (high - low).clamp(min=1.0)[..., None]  # [B, N, 2 P]
    size = size[..., None]
    inside = ((at >= -1.0) & (at <= size)).to(at.dtype)
    at = torch.minimum(at.clamp(min=0.0), size - 1.0)
    first = at.floor()
    second = torch.minimum(first + 1.0, size - 1.0)
    cells = torch.stack([first, second], dim=-1).long()
    weights = torch.stack([1.0 - (at - first), at - first], dim=-1) * inside[..., None]
    return cells.unflatten(2, (bins, 2)).flatten(3), weights.unflatten(2, (bins, 2)).flatten(3)


def number_of(levels, numbers):
    """The number of each level.  levels: int [B, S].  numbers: [int].  Returns int [B, S]."""
    found = torch.zeros_like(levels)
    for level, number in enumerate(numbers):
        found = torch.where(levels == level, number, found)
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
    x1, y1, x2, y2 = (boxes / stride[..., None]).unbind(-1)
    rows, row_weights = sample_points(y1, y2, height.to(boxes.dtype), bins)  # [B, S, P, 4]
    columns, column_weights = sample_points(x1, x2, width.to(boxes.dtype), bins)
    picture = torch.arange(len(boxes), device=boxes.device)[:, None]
    rows = (picture * height)[..., None, None] + rows
    rows = first[..., None, None] + rows * width[..., None, None]
    cells = rows[:, :, :, None, :, None] + columns[:, :, None, :, None, :]  # [B, S, P, P, 4, 4]
    weights = row_weights[:, :, :, None, :, None] * column_weights[:, :, None, :, None, :] / 4.0
    table = torch.cat([one.permute(0, 2, 3, 1).flatten(0, 2) for one in maps])  # [cells, C]
    pooled = F.embedding_bag(
        cells.flatten(0, 3).flatten(1),  # [bins, 16]
        table.to(dtype()),
        mode="sum",
        per_sample_weights=weights.flatten(0, 3).flatten(1),
    )
    return pooled.unflatten(0, cells.shape[:4])


def mask_targets(config, masks, matches, boxes):
    """What the mask head is to give: see masks.target.

    masks: uint8 [B, G, H, W / 8], eight columns a byte.  matches: int [B, M], rows of G.
    boxes: [B, M, 4].  Returns [B, M, 2 P, 2 P], of 0 and 1.
    """
    batch, rows_of, height, width = masks.shape
    x1, y1, x2, y2 = (boxes - HALF_PIXEL).unbind(-1)
    bins = 2 * config.mask_bins
    rows, row_weights = sample_points(y1, y2, torch.full_like(y1, height), bins)  # [B, M, P, 4]
    columns, column_weights = sample_points(x1, x2, torch.full_like(x1, 8 * width), bins)
    columns, column_weights = columns.flatten(2), column_weights.flatten(2)  # [B, M, 4 P]
    instance = torch.arange(batch, device=masks.device)[:, None] * rows_of + matches  # [B, M]
    rows = (instance * height)[..., None] + rows.flatten(2)  # [B, M, 4 P]
    cells = (rows * width)[..., None] + (columns // 8)[:, :, None]  # [B, M, 4 P, 4 P]
    bits = masks.flatten()[cells] >> (columns % 8).to(torch.uint8)[:, :, None] & 1
    means = (bits * column_weights[:, :, None]).unflatten(3, (bins, 4)).sum(4)  # [B, M, 4 P, P]
    means = means.unflatten(2, (bins, 4)) * row_weights[..., None]  # [B, M, P, 4, P]
    return (means.sum(3) / 4.0 >= HALF).to(dtype())
