"""Mask R-CNN on a feature pyramid of ResNet, in PaddlePaddle.  He et al. 2017; Lin et al. 2017.

Attribute paths are the canonical names of parameters.py.
B batch, H height, W width, C channels, A anchors, R proposals, G rows of ground truth, S sampled
regions, M of them for the mask head, K classes with the background.
"""

import itertools

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.frameworks.paddlepaddle import buffer, dtype, parameter
from common.parameters import ignore
from object_detection.anchors import all_base_anchors
from object_detection.boxes import NONE, POSITIVE
from object_detection.parameters import block_plan

from .regions import (
    align,
    clip,
    decode,
    encode,
    label_anchors,
    label_regions,
    level_of,
    make_anchors,
    mask_targets,
    propose,
    rows_at,
    sample,
)

PLAIN = (1.0, 1.0, 1.0, 1.0)  # weights of the anchors' box code


class FrozenNorm(nn.Layer):
    """A square convolution without bias, then batch norm's stored scale and shift."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, trained):
        super().__init__()
        make = parameter if trained else buffer
        self.weight = make("weight", [out_channels, in_channels, kernel_size, kernel_size])
        self.scale = buffer("plain", [out_channels])
        self.shift = buffer("plain", [out_channels])
        self.stride = stride
        self.padding = (kernel_size - 1) // 2  # alike on all sides

    def forward(self, images):
        """images: [B, C, H, W].  Returns [B, out, H / stride, W / stride]."""
        # The scale is in the weights: there are fewer of them than of places.
        weight = self.weight * self.scale[:, None, None, None]
        x = F.conv2d(images, weight, stride=self.stride, padding=self.padding)
        return _shifted(x, self.shift)


def _shifted(images, shift):
    """images + shift, of each channel.  images: [B, C, H, W].  shift: [C].

    A CPU takes five times as long for F.conv2d's own bias, which is broadcast.
    """
    shift = shift[:, None, None]
    if paddle.device.get_device() == "cpu":
        shift = shift.expand_as(images)
    return images + shift


class Bottleneck(nn.Layer):
    """1x1, 3x3, 1x1 convolutions beside a shortcut.  He et al. 2015, fig. 5 right.

    The stride is on the first 1x1, as in the paper.
    """

    def __init__(self, in_channels, width, stride, projects, trained, config):
        super().__init__()
        out_channels = width * config.expansion
        self.convolution1 = FrozenNorm(in_channels, width, 1, stride, trained)
        self.convolution2 = FrozenNorm(width, width, 3, 1, trained)
        self.convolution3 = FrozenNorm(width, out_channels, 1, 1, trained)
        self.projects = projects
        if projects:
            self.shortcut = FrozenNorm(in_channels, out_channels, 1, stride, trained)

    def forward(self, images, record, name):
        """images: [B, C, H, W].  Returns [B, width * expansion, H / stride, W / stride]."""
        x = F.relu_(self.convolution1(images))
        record(f"{name}.convolution1", x)
        x = F.relu_(self.convolution2(x))
        record(f"{name}.convolution2", x)
        x = self.convolution3(x)
        record(f"{name}.convolution3", x)
        shortcut = images
        if self.projects:
            shortcut = self.shortcut(images)
            record(f"{name}.shortcut", shortcut)
        return F.relu_(x + shortcut)


class Convolution(nn.Layer):
    """A square convolution with bias."""

    def __init__(self, in_channels, out_channels, kernel_size):
        super().__init__()
        self.weight = parameter("weight", [out_channels, in_channels, kernel_size, kernel_size])
        self.bias = parameter("plain", [out_channels])
        self.padding = (kernel_size - 1) // 2

    def forward(self, images):
        """images: [B, C, H, W].  Returns [B, out, H, W]."""
        return _shifted(F.conv2d(images, self.weight, padding=self.padding), self.bias)


class Transposed(nn.Layer):
    """A transposed convolution 2x2 of stride 2, with bias."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.weight = parameter("weight", [in_channels, out_channels, 2, 2])
        self.bias = parameter("plain", [out_channels])

    def forward(self, images):
        """images: [B, C, H, W].  Returns [B, out, 2 H, 2 W]."""
        return _shifted(F.conv2d_transpose(images, self.weight, stride=2), self.bias)


class Dense(nn.Layer):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def forward(self, features):
        """features: [..., in].  Returns [..., out]."""
        return F.linear(features, self.weight, self.bias)


class ProposalHead(nn.Layer):
    """How much of an object each anchor holds, and how its box lies: the RPN, of all levels."""

    def __init__(self, config):
        super().__init__()
        ratios = len(config.aspect_ratios)
        self.convolution = Convolution(config.pyramid_width, config.pyramid_width, 3)
        self.objectness = Convolution(config.pyramid_width, ratios, 1)
        self.deltas = Convolution(config.pyramid_width, 4 * ratios, 1)

    def forward(self, maps):
        """maps: [[B, C, H, W]].  Returns logits [B, A] and deltas [B, A, 4]."""
        logits, deltas = [], []
        for one in maps:
            x = F.relu_(self.convolution(one))
            logits.append(self.objectness(x).transpose([0, 2, 3, 1]).flatten(1))
            deltas.append(self.deltas(x).transpose([0, 2, 3, 1]).flatten(1).unflatten(1, (-1, 4)))
        logits, deltas = paddle.concat(logits, axis=1), paddle.concat(deltas, axis=1)
        return logits.astype(dtype()), deltas.astype(dtype())


class BoxHead(nn.Layer):
    """The class of each region, and how its box lies for each class."""

    def __init__(self, config):
        super().__init__()
        classes = config.num_classes + 1
        features = config.box_bins**2 * config.pyramid_width
        self.dense1 = Dense(features, config.box_size)
        self.dense2 = Dense(config.box_size, config.box_size)
        self.classes = Dense(config.box_size, classes)
        self.deltas = Dense(config.box_size, 4 * classes)

    def forward(self, pooled, record):
        """pooled: [B, S, P, P, C].  Returns logits [B, S, K] and deltas [B, S, K, 4]."""
        x = F.relu_(self.dense1(pooled.flatten(2)))
        x = F.relu_(self.dense2(x))
        record("box_features", x)
        deltas = self.deltas(x).unflatten(2, (-1, 4))
        return self.classes(x).astype(dtype()), deltas.astype(dtype())


class MaskHead(nn.Layer):
    """The mask of each region, for each class."""

    def __init__(self, config):
        super().__init__()
        width = config.mask_width
        widths = [config.pyramid_width] + [width] * config.mask_layers
        self.convolutions = nn.LayerList(
            [Convolution(*pair, 3) for pair in itertools.pairwise(widths)]
        )
        self.transposed = Transposed(width, width)
        self.masks = Convolution(width, config.num_classes + 1, 1)

    def forward(self, pooled, classes, record):
        """pooled: [B, M, P, P, C].  classes: int [B, M].  Returns their logits [B, M, 2 P, 2 P]."""
        x = pooled.flatten(0, 1).transpose([0, 3, 1, 2])
        for convolution in self.convolutions:
            x = F.relu_(convolution(x))
        x = F.relu_(self.transposed(x))  # [B M, C, 2 P, 2 P]
        record("mask_features", x)
        logits = rows_at(self.masks(x), classes.reshape([-1, 1]))  # [B M, 1, 2 P, 2 P]
        return logits.unflatten(0, classes.shape)[:, :, 0].astype(dtype())


class MaskRCNN(nn.Layer):
    """The whole network."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        size = config.pyramid_width
        self.stem = FrozenNorm(3, config.stem_width, 7, 2, config.freeze_at < 1)
        self.blocks = nn.LayerList(
            [Bottleneck(*plan, config.freeze_at < layer + 2, config)
             for layer, *plan in block_plan(config)]
        )
        self.laterals = nn.LayerList(
            [Convolution(width * config.expansion, size, 1) for width in config.widths]
        )
        self.outputs = nn.LayerList([Convolution(size, size, 3) for _ in config.widths])
        self.rpn = ProposalHead(config)
        self.box_head = BoxHead(config)
        self.mask_head = MaskHead(config)
        # Here, on the device: made in a step, the host would wait for them.
        mean_bgr = paddle.to_tensor(config.mean_bgr, dtype())
        self.register_buffer("mean_bgr", mean_bgr, persistable=False)
        anchors = paddle.to_tensor(all_base_anchors(config), dtype())  # [levels, ratios, 4]
        self.register_buffer("anchors", anchors, persistable=False)

    def forward(self, images, sizes, record):
        """The pyramid.  images: uint8 [B, H, W, 3].  sizes: int [B, 2].

        Returns [[B, C, H / stride, W / stride]] of config.strides.
        """
        x = self.normalized(images, sizes)  # [B, 3, H, W]
        x = F.relu_(self.stem(x))  # [B, C, H / 2, W / 2]
        record("stem", x)
        x = F.max_pool2d(x, 3, stride=2, padding=1)  # [B, C, H / 4, W / 4]
        layers = {}
        for index, (layer, *_) in enumerate(block_plan(self.config)):
            x = self.blocks[index](x, record, f"blocks.{index}")
            record(f"blocks.{index}", x)
            layers[layer] = x
        maps, above = [], None
        for layer in reversed(layers):
            x = self.laterals[layer](layers[layer])
            if above is not None:
                x = x + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = x
            x = self.outputs[layer](x)
            record(f"pyramid.{layer}", x)
            maps.insert(0, x)
        return maps + [maps[-1][:, :, ::2, ::2]]

    def normalized(self, images, sizes):
        """images: uint8 [B, H, W, 3], RGB.  Returns [B, 3, H, W], BGR less the mean; 0 beyond
        `sizes`, int [B, 2].
        """
        rgb = images.astype(self.mean_bgr.dtype).transpose([3, 0, 1, 2])
        down = paddle.arange(images.shape[1], dtype=sizes.dtype)
        across = paddle.arange(images.shape[2], dtype=sizes.dtype)
        inside = (down < sizes[:, :1])[:, :, None] & (across < sizes[:, 1:])[:, None]  # [B, H, W]
        inside = inside.astype(rgb.dtype)
        # Channel by channel: flip, and what is broadcast, take ten times as long on a CPU.
        bgr = zip(rgb.unbind(0)[::-1], self.mean_bgr)
        return paddle.stack([(channel - mean) * inside for channel, mean in bgr], axis=1)


def losses(network, batch, record):
    """The five losses of each picture.  batch: see benchmark.BATCH.

    What is decided is taken from the batch, where it says so: see `decided`.  Returns [5, B].
    """
    config, sizes = network.config, batch["sizes"]
    boxes, exists = batch["boxes"].astype(dtype()), batch["classes"] > 0  # [B, G, 4], [B, G]
    maps = network(batch["images"], sizes, record)
    logits, deltas = network.rpn(maps)
    record("objectness", logits)
    record("deltas", deltas)
    counts = [one.shape[2] * one.shape[3] * len(config.aspect_ratios) for one in maps]
    anchors = make_anchors(config, network.anchors, *batch["images"].shape[1:3])  # [A, 4]
    found = anchor_losses(config, logits, deltas, anchors, boxes, exists, batch, record)

    with paddle.no_grad():
        places = propose(config, logits, deltas, anchors, sizes, counts, config.level_proposals,
                         config.proposals)  # fmt: skip
        places = decided("proposals", places, batch, record)
        proposals = proposed(deltas, anchors, places, sizes)  # [B, R, 4]
        candidates = paddle.concat([proposals, boxes], axis=1)
        valid = paddle.concat([places >= 0, exists], axis=1)
        positive, negative, matches = label_regions(config, candidates, valid, boxes, exists)
        places, kinds = sample(batch["roi_keys"], positive, negative, config.rois_per_image,
                               config.positive_rois)  # fmt: skip
        places = decided("regions", places.masked_fill(kinds == NONE, -1), batch, record)
        kinds = decided("region_kinds", kinds, batch, record)
        matches = decided("region_matches", rows_at(matches, places.clamp(min=0)), batch, record)
        regions = rows_at(candidates, places.clamp(min=0))  # [B, S, 4]
        regions = regions * (kinds != NONE).astype(dtype())[..., None]
        record("rois", regions)
        levels = decided("region_levels", level_of(config, regions), batch, record)
        matched = rows_at(boxes, matches)  # [B, S, 4]
        classes = rows_at(batch["classes"], matches) * (kinds == POSITIVE).astype("int32")  # [B, S]

    pooled = align(config, maps[:-1], regions, levels, config.box_bins)
    record("box_pooled", pooled)
    logits, deltas = network.box_head(pooled, record)
    record("class_logits", logits)
    record("box_deltas", deltas)
    found += region_losses(config, logits, deltas, regions, matched, classes, kinds)

    first = slice(0, config.positive_rois)  # the positive ones are among them
    regions, levels, matches = regions[:, first], levels[:, first], matches[:, first]
    pooled = align(config, maps[:-1], regions, levels, config.mask_bins)
    record("mask_pooled", pooled)
    logits = network.mask_head(pooled, classes[:, first], record)  # [B, M, 28, 28]
    record("mask_logits", logits)
    targets = decided("mask_targets", mask_targets(config, batch["masks"], matches, regions),
                      batch, record)  # fmt: skip
    positive = (kinds[:, first] == POSITIVE).astype(dtype())
    each = F.binary_cross_entropy_with_logits(logits, targets.astype(dtype()), reduction="none")
    found.append(mean_where(each.mean(axis=[2, 3]), positive))
    names = ("loss_objectness", "loss_anchors", "loss_classes", "loss_boxes", "loss_masks")
    for name, loss in zip(names, found):
        record(name, loss)
    return paddle.stack(found)


def anchor_losses(config, logits, deltas, anchors, boxes, exists, batch, record):
    """[objectness, boxes] of the sampled anchors, each [B].

    logits: [B, A].  deltas: [B, A, 4].  anchors: [A, 4].  boxes: [B, G, 4].  exists: bool [B, G].
    """
    positive, negative, matches = label_anchors(config, anchors, boxes, exists, batch["sizes"])
    places, kinds = sample(batch["anchor_keys"], positive, negative, config.anchors_per_image,
                           config.positive_anchors)  # fmt: skip
    places = decided("anchors", places.masked_fill(kinds == NONE, -1), batch, record)
    kinds = decided("anchor_kinds", kinds, batch, record)
    places = places.clamp(min=0)
    matches = decided("anchor_matches", rows_at(matches, places), batch, record)
    code = encode(rows_at(boxes, matches), anchors[places], PLAIN)  # [B, n, 4]
    positive = (kinds == POSITIVE).astype(dtype())
    sampled = (kinds != NONE).astype(dtype())
    each = F.binary_cross_entropy_with_logits(rows_at(logits, places), positive, reduction="none")
    apart = smooth_l1(rows_at(deltas, places) - code, config.anchor_beta).sum(axis=2)
    count = sampled.sum(axis=1).clamp(min=1.0)
    return [(each * sampled).sum(axis=1) / count, (apart * positive).sum(axis=1) / count]


def region_losses(config, logits, deltas, regions, matched, classes, kinds):
    """[classes, boxes] of the sampled regions, each [B].

    logits: [B, S, K].  deltas: [B, S, K, 4].  regions, matched: [B, S, 4].  classes: int [B, S].
    """
    positive = (kinds == POSITIVE).astype(dtype())
    sampled = (kinds != NONE).astype(dtype())
    picked = F.log_softmax(logits, axis=2).take_along_axis(classes[..., None], 2)[..., 0]  # [B, S]
    own = rows_at(deltas.flatten(0, 1), classes.reshape([-1, 1])).reshape([*classes.shape, 4])
    code = encode(matched, regions, config.box_weights)  # [B, S, 4]
    apart = smooth_l1(own - code, 1.0).sum(axis=2)
    count = sampled.sum(axis=1).clamp(min=1.0)
    return [-(picked * sampled).sum(axis=1) / count, (apart * positive).sum(axis=1) / count]


def smooth_l1(x, beta):
    """x^2 / (2 beta) below beta, |x| - beta / 2 beyond.  Girshick 2015, eq. 3."""
    x = x.abs()
    return paddle.where(x < beta, 0.5 * x * x / beta, x - 0.5 * beta)


def mean_where(values, weights):
    """The mean of each row over those of weight 1; 0 without any.  Both: [B, N].  Returns [B]."""
    return (values * weights).sum(axis=1) / weights.sum(axis=1).clamp(min=1.0)


def decided(name, own, batch, record):
    """What the network has decided, or what the batch says instead.  own: a tensor of integers."""
    record(f"decision.{name}", own)
    return batch.get(f"decision.{name}", own)


def proposed(deltas, anchors, places, sizes):
    """The boxes of proposals; zeros where there is none.

    deltas: [B, A, 4].  places: int [B, R], of anchors, -1: none.  Returns [B, R, 4].
    """
    exists = (places >= 0).astype(dtype())[..., None]
    places = places.clamp(min=0)
    return clip(decode(rows_at(deltas, places), anchors[places], PLAIN), sizes) * exists


def pictures(batch):
    """bool [B]: which rows are pictures: a process's part may be filled up.  See data.read."""
    return (batch["classes"] > 0).any(axis=1)


def scored_regions(network, batch):
    """What detections are chosen from.  batch: see benchmark.EVALUATION_BATCH.

    Returns the maps for `masks_of`, scores [B, R, K], boxes [B, R, K, 4], and the proposals, int
    [B, R], as they were decided here.
    """
    config, sizes = network.config, batch["sizes"]
    maps = network(batch["images"], sizes, ignore)
    logits, deltas = network.rpn(maps)
    counts = [one.shape[2] * one.shape[3] * len(config.aspect_ratios) for one in maps]
    anchors = make_anchors(config, network.anchors, *batch["images"].shape[1:3])  # [A, 4]
    places = propose(config, logits, deltas, anchors, sizes, counts, config.eval_proposals,
                     config.eval_proposals)  # fmt: skip
    own = places
    places = batch.get("decision.proposals", own)
    regions = proposed(deltas, anchors, places, sizes)  # [B, R, 4]
    pooled = align(config, maps[:-1], regions, level_of(config, regions), config.box_bins)
    logits, deltas = network.box_head(pooled, ignore)
    scores = F.softmax(logits, axis=2) * (places >= 0).astype(dtype())[..., None]
    boxes = decode(deltas, regions[:, :, None], config.box_weights)  # [B, R, K, 4]
    boxes = clip(boxes.flatten(1, 2), sizes).unflatten(1, boxes.shape[1:3])
    return maps[:-1], scores, boxes, own


def masks_of(network, maps, boxes, classes):
    """The masks of detections, of probabilities.  boxes: [B, D, 4].  classes: int [B, D].

    Returns [B, D, 2 P, 2 P], rows first.
    """
    config = network.config
    pooled = align(config, maps, boxes, level_of(config, boxes), config.mask_bins)
    return network.mask_head(pooled, classes, ignore).sigmoid()
