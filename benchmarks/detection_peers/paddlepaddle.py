"""A Mask R-CNN of paddle.nn layers and paddle.vision.ops: generate_proposals, roi_align and others.

As PaddleDetection has it, eager but for the backbone, which --compile traces.  One picture a step.
"""

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.vision import ops


class Block(nn.Layer):
    """1x1, 3x3, 1x1 convolutions beside a shortcut, with frozen norms."""

    def __init__(self, channels, width, stride, config):
        super().__init__()
        wide = width * config.expansion
        self.branch = nn.Sequential(
            *convolution(channels, width, 1, stride), nn.ReLU(),
            *convolution(width, width, 3, 1), nn.ReLU(),
            *convolution(width, wide, 1, 1, config.branch_scale),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if channels != wide:
            self.shortcut = nn.Sequential(*convolution(channels, wide, 1, stride))

    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x))


class Pyramid(nn.Layer):
    """ResNet and the feature pyramid on it: P2 to P6."""

    def __init__(self, config):
        super().__init__()
        size, channels = config.pyramid_width, config.stem_width
        self.stem = nn.Sequential(
            *convolution(3, channels, 7, 2), nn.ReLU(), nn.MaxPool2D(3, 2, 1)
        )
        self.layers = nn.LayerList()
        for layer, (count, width) in enumerate(zip(config.blocks, config.widths)):
            blocks = []
            for block in range(count):
                blocks.append(Block(channels, width, 2 if layer and not block else 1, config))
                channels = width * config.expansion
            self.layers.append(nn.Sequential(*blocks))
        self.laterals = nn.LayerList(
            [nn.Conv2D(width * config.expansion, size, 1) for width in config.widths]
        )
        self.outputs = nn.LayerList(
            [nn.Conv2D(size, size, 3, padding=1) for _ in config.widths]
        )
        for part in [self.stem, *self.layers[: config.freeze_at - 1]]:
            for weight in part.parameters():
                weight.stop_gradient = True

    def forward(self, x):
        x = self.stem(x)
        stages = []
        for layer in self.layers:
            x = layer(x)
            stages.append(x)
        maps, above = [], None
        for place in reversed(range(len(stages))):
            x = self.laterals[place](stages[place])
            if above is not None:
                x = x + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = x
            maps.insert(0, self.outputs[place](x))
        return [*maps, F.max_pool2d(maps[-1], 1, 2)]


def convolution(channels, width, kernel, stride, scale=1.0):
    """[a convolution, its frozen norm]."""
    norm = nn.BatchNorm2D(
        width,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(scale), trainable=False),
        bias_attr=paddle.ParamAttr(trainable=False),
        use_global_stats=True,
    )
    return [
        nn.Conv2D(channels, width, kernel, stride, padding=kernel // 2, bias_attr=False,
                  weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingNormal())),
        norm,
    ]  # fmt: skip


class Heads(nn.Layer):
    """The proposals' head, the box head and the mask head."""

    def __init__(self, config):
        super().__init__()
        size, classes = config.pyramid_width, config.num_classes + 1
        ratios = len(config.aspect_ratios)
        small = paddle.ParamAttr(initializer=nn.initializer.Normal(std=0.01))
        self.proposal = nn.Sequential(
            nn.Conv2D(size, size, 3, padding=1, weight_attr=small), nn.ReLU()
        )
        self.objectness = nn.Conv2D(size, ratios, 1, weight_attr=small)
        self.deltas = nn.Conv2D(size, 4 * ratios, 1, weight_attr=small)
        self.box = nn.Sequential(
            nn.Flatten(), nn.Linear(config.box_bins**2 * size, config.box_size), nn.ReLU(),
            nn.Linear(config.box_size, config.box_size), nn.ReLU(),
        )  # fmt: skip
        self.classes = nn.Linear(config.box_size, classes)
        self.boxes = nn.Linear(config.box_size, 4 * classes)
        width, parts = size, []
        for _ in range(config.mask_layers):
            parts += [nn.Conv2D(width, config.mask_width, 3, padding=1), nn.ReLU()]
            width = config.mask_width
        parts += [nn.Conv2DTranspose(width, width, 2, 2), nn.ReLU(), nn.Conv2D(width, classes, 1)]
        self.mask = nn.Sequential(*parts)


def make_step(config, rate):
    """step(batch) -> loss.  batch: see benchmarks.object_detection.for_peer."""
    pyramid, heads = Pyramid(config), Heads(config)
    weights = [w for part in (pyramid, heads) for w in part.parameters() if not w.stop_gradient]
    optimizer = paddle.optimizer.Momentum(
        rate, config.momentum, parameters=weights, weight_decay=config.weight_decay
    )
    trunk = paddle.jit.to_static(pyramid) if config.compile else pyramid
    mean = paddle.to_tensor(config.mean_bgr)
    made = {}  # anchors of the maps' shapes

    def loss_of(image, boxes, labels, masks):
        height, width = image.shape[:2]
        pixels = image.astype("float32").flip(2) - mean
        maps = trunk(pixels.transpose([2, 0, 1])[None])
        hidden = [heads.proposal(one) for one in maps]
        logits = [heads.objectness(one) for one in hidden]
        deltas = [heads.deltas(one) for one in hidden]
        shapes = tuple(tuple(one.shape[2:]) for one in maps)
        if shapes not in made:
            made[shapes] = [anchors_of(config, n, shape) for n, shape in enumerate(shapes)]
        anchors = made[shapes]

        size = paddle.to_tensor([[height, width]], "float32")
        found, scores = [], []
        with paddle.no_grad():
            for one_logits, one_deltas, own in zip(logits, deltas, anchors):
                boxes_of, scores_of, _ = ops.generate_proposals(
                    F.sigmoid(one_logits), one_deltas, size, own, paddle.ones_like(own),
                    config.level_proposals, config.proposals, config.proposal_overlap,
                    min_size=0.0, return_rois_num=True,
                )  # fmt: skip
                found.append(boxes_of)
                scores.append(scores_of.flatten())
            found, scores = paddle.concat(found), paddle.concat(scores)
            best = scores.topk(min(config.proposals, len(scores)))[1]
            candidates = paddle.concat([found[best], boxes])

        total = anchor_losses(
            config,
            paddle.concat([one.transpose([0, 2, 3, 1]).flatten() for one in logits]),
            paddle.concat([one.transpose([0, 2, 3, 1]).reshape([-1, 4]) for one in deltas]),
            paddle.concat([one.reshape([-1, 4]) for one in anchors]),
            boxes, height, width,
        )  # fmt: skip

        with paddle.no_grad():
            shared = overlaps(candidates, boxes)
            most, matches = shared.max(axis=1), shared.argmax(axis=1)
            positive, negative = drawn(most >= config.roi_overlap, most < config.roi_overlap,
                                       config.positive_rois, config.rois_per_image)  # fmt: skip
            chosen = paddle.concat([positive, negative])
            regions, matched = candidates[chosen], matches[positive]
            picked = labels[matched]
            targets = paddle.concat([picked, paddle.zeros_like(negative)])
        x = heads.box(pool(config, maps[:-1], regions, config.box_bins))
        total = total + F.cross_entropy(heads.classes(x), targets)
        count = len(positive)
        regions = regions[:count]
        rows = heads.boxes(x[:count]).reshape([count, -1, 4])
        moved = rows[paddle.arange(count), picked]
        code = encode(boxes[matched], regions) * paddle.to_tensor(config.box_weights)
        total = total + smooth_l1(moved - code, 1.0).sum() / len(chosen)

        guessed = heads.mask(pool(config, maps[:-1], regions, config.mask_bins))
        guessed = guessed[paddle.arange(count), picked]
        with paddle.no_grad():
            numbers = paddle.bincount(matched, minlength=len(boxes)).astype("int32")
            order = matched.argsort()  # roi_align takes the boxes map by map
            wanted = ops.roi_align(masks[:, None], regions[order], numbers,
                                   2 * config.mask_bins, sampling_ratio=2)[:, 0]  # fmt: skip
            wanted = (wanted >= 0.5).astype("float32")
        return total + F.binary_cross_entropy_with_logits(guessed[order], wanted)

    def step(batch):
        (picture,) = batch
        tensors = [paddle.to_tensor(picture[name]) for name in ("padded", "boxes", "labels")]
        loss = loss_of(*tensors, paddle.to_tensor(picture["masks"]).astype("float32"))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def anchors_of(config, level, shape):
    """float32 [rows, columns, ratios, 4] of a level."""
    stride = config.strides[level]
    side, ratios = stride * config.anchor_scale, np.sqrt(config.aspect_ratios)
    halves = np.stack([1.0 / ratios, ratios], axis=1) * side / 2  # [ratios, 2]
    centres = np.stack(np.mgrid[: shape[0], : shape[1]][::-1], axis=2)[:, :, None] * stride
    boxes = np.concatenate([centres - halves, centres + halves], axis=3)
    return paddle.to_tensor(boxes.astype(np.float32))


def anchor_losses(config, logits, deltas, anchors, boxes, height, width):
    """The sum of the anchors' two losses."""
    with paddle.no_grad():
        inside = (anchors.min(axis=1) >= 0) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
        shared = overlaps(anchors, boxes)  # [A, G]
        most, matches = shared.max(axis=1), shared.argmax(axis=1)
        best = (shared == shared.max(axis=0)).any(axis=1)
        high = ((most >= config.anchor_high) | best) & inside
        positive, negative = drawn(high, (most < config.anchor_low) & ~high & inside,
                                   config.positive_anchors, config.anchors_per_image)  # fmt: skip
        chosen = paddle.concat([positive, negative])
        truth = (paddle.arange(len(chosen)) < len(positive)).astype("float32")
        code = encode(boxes[matches[positive]], anchors[positive])
    loss = F.binary_cross_entropy_with_logits(logits[chosen], truth)
    return loss + smooth_l1(deltas[positive] - code, config.anchor_beta).sum() / len(chosen)


def drawn(positive, negative, most, count):
    """Random places: at most `most` positive ones, and negative ones up to `count` in all."""
    positive, negative = positive.nonzero().flatten(), negative.nonzero().flatten()
    positive = positive[paddle.randperm(len(positive))[:most]]
    return positive, negative[paddle.randperm(len(negative))[: count - len(positive)]]


def pool(config, maps, boxes, bins):
    """RoIAlign of boxes, each on its level.  Returns [N, C, P, P]."""
    number = paddle.to_tensor([len(boxes)], "int32")
    own, back, counts = ops.distribute_fpn_proposals(
        boxes, 2, len(maps) + 1, config.canonical_level, int(config.canonical_size),
        rois_num=number,
    )  # fmt: skip
    pooled = [
        ops.roi_align(one, some, count, bins, 1.0 / stride, sampling_ratio=2, aligned=False)
        for one, some, count, stride in zip(maps, own, counts, config.strides)
        if len(some)
    ]
    return paddle.gather(paddle.concat(pooled), back.flatten())


def overlaps(boxes, others):
    """Intersection over union, [N, M]."""
    low = paddle.maximum(boxes[:, None, :2], others[None, :, :2])
    high = paddle.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(min=0.0).prod(axis=2)
    areas, from_areas = ((of[:, 2:] - of[:, :2]).prod(axis=1) for of in (boxes, others))
    return shared / (areas[:, None] + from_areas - shared)


def encode(boxes, anchors):
    """The code of boxes as seen from anchors, [N, 4]."""
    size, own = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, 2:] + boxes[:, :2] - anchors[:, 2:] - anchors[:, :2]) / 2.0
    return paddle.concat([middle / size, paddle.log(own / size)], axis=1)


def smooth_l1(x, beta):
    """x^2 / (2 beta) below beta, |x| - beta / 2 beyond."""
    x = x.abs()
    return paddle.where(x < beta, 0.5 * x * x / beta, x - 0.5 * beta)
