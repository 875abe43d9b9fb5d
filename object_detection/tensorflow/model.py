"""Mask R-CNN on a feature pyramid of ResNet, in TensorFlow.  He et al. 2017; Lin et al. 2017.

Attribute paths are the canonical names of parameters.py.
B batch, H height, W width, C channels, A anchors, R proposals, G rows of ground truth, S sampled
regions, M of them for the mask head, K classes with the background.
"""

import itertools

import tensorflow as tf

from common.frameworks.tensorflow import buffer, compute_dtype, dtype, parameter
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


class FrozenNorm(tf.Module):
    """A square convolution without bias, then batch norm's stored scale and shift."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, trained):
        super().__init__()
        make = parameter if trained else buffer
        self.weight = make("weight", [out_channels, in_channels, kernel_size, kernel_size])
        self.scale = buffer("plain", [out_channels])
        self.shift = buffer("plain", [out_channels])
        self.stride = stride
        self.padding = (kernel_size - 1) // 2  # alike on all sides

    def __call__(self, images):
        """images: [B, H, W, C].  Returns [B, H / stride, W / stride, out]."""
        # The scale is in the weights: there are fewer of them than of places.
        weight = self.weight * self.scale
        return _convolved(images, weight, self.shift, self.stride, self.padding)


def _convolved(images, weight, bias, stride, padding):
    """A convolution with bias.  images: [B, H, W, C].  Returns [B, H / stride, W / stride, out]."""
    images, weight, bias = (tf.cast(x, compute_dtype()) for x in (images, weight, bias))
    if stride > 1:  # "same" padding would shift the window
        images = _padded(images, padding)
    x = tf.nn.conv2d(images, weight, stride, "VALID" if stride > 1 else "SAME")
    return tf.nn.bias_add(x, bias)


def _padded(images, padding):
    """Zeros around each picture.  images: [B, H, W, C].  Returns [B, H + 2, W + 2, C] of 1."""
    around = [padding, padding]
    return tf.pad(images, [[0, 0], around, around, [0, 0]]) if padding else images


class Bottleneck(tf.Module):
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

    def __call__(self, images, record, name):
        """images: [B, H, W, C].  Returns [B, H / stride, W / stride, width * expansion]."""
        x = tf.nn.relu(self.convolution1(images))
        record(f"{name}.convolution1", x)
        x = tf.nn.relu(self.convolution2(x))
        record(f"{name}.convolution2", x)
        x = self.convolution3(x)
        record(f"{name}.convolution3", x)
        shortcut = images
        if self.projects:
            shortcut = self.shortcut(images)
            record(f"{name}.shortcut", shortcut)
        return tf.nn.relu(x + shortcut)


class Convolution(tf.Module):
    """A square convolution with bias."""

    def __init__(self, in_channels, out_channels, kernel_size):
        super().__init__()
        self.weight = parameter("weight", [out_channels, in_channels, kernel_size, kernel_size])
        self.bias = parameter("plain", [out_channels])
        self.padding = (kernel_size - 1) // 2

    def __call__(self, images):
        """images: [B, H, W, C].  Returns [B, H, W, out]."""
        return _convolved(images, self.weight, self.bias, 1, self.padding)


class Transposed(tf.Module):
    """A transposed convolution 2x2 of stride 2, with bias."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.weight = parameter("weight", [in_channels, out_channels, 2, 2])
        self.bias = parameter("plain", [out_channels])

    def __call__(self, images):
        """images: [B, H, W, C].  Returns [B, 2 H, 2 W, out]."""
        images, weight, bias = (
            tf.cast(x, compute_dtype()) for x in (images, self.weight, self.bias)
        )
        batch, height, width, _ = tf.unstack(tf.shape(images))
        shape = [batch, 2 * height, 2 * width, bias.shape[0]]
        return tf.nn.bias_add(tf.nn.conv2d_transpose(images, weight, shape, 2, "VALID"), bias)


class Dense(tf.Module):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def __call__(self, features):
        """features: [..., in].  Returns [..., out]."""
        features, weight, bias = (
            tf.cast(x, compute_dtype()) for x in (features, self.weight, self.bias)
        )
        return tf.nn.bias_add(tf.tensordot(features, weight, 1), bias)


class ProposalHead(tf.Module):
    """How much of an object each anchor holds, and how its box lies: the RPN, of all levels."""

    def __init__(self, config):
        super().__init__()
        ratios = len(config.aspect_ratios)
        self.convolution = Convolution(config.pyramid_width, config.pyramid_width, 3)
        self.objectness = Convolution(config.pyramid_width, ratios, 1)
        self.deltas = Convolution(config.pyramid_width, 4 * ratios, 1)

    def __call__(self, maps):
        """maps: [[B, H, W, C]].  Returns logits [B, A] and deltas [B, A, 4]."""
        logits, deltas = [], []
        for one in maps:
            x = tf.nn.relu(self.convolution(one))
            batch = tf.shape(x)[0]
            logits.append(tf.reshape(self.objectness(x), [batch, -1]))
            deltas.append(tf.reshape(self.deltas(x), [batch, -1, 4]))
        logits, deltas = tf.concat(logits, axis=1), tf.concat(deltas, axis=1)
        return tf.cast(logits, dtype()), tf.cast(deltas, dtype())


class BoxHead(tf.Module):
    """The class of each region, and how its box lies for each class."""

    def __init__(self, config):
        super().__init__()
        classes = config.num_classes + 1
        features = config.box_bins**2 * config.pyramid_width
        self.dense1 = Dense(features, config.box_size)
        self.dense2 = Dense(config.box_size, config.box_size)
        self.classes = Dense(config.box_size, classes)
        self.deltas = Dense(config.box_size, 4 * classes)

    def __call__(self, pooled, record):
        """pooled: [B, S, P, P, C].  Returns logits [B, S, K] and deltas [B, S, K, 4]."""
        shape = tf.unstack(tf.shape(pooled)[:2])
        x = tf.nn.relu(self.dense1(tf.reshape(pooled, [*shape, self.dense1.weight.shape[0]])))
        x = tf.nn.relu(self.dense2(x))
        record("box_features", x)
        deltas = tf.reshape(self.deltas(x), [*shape, self.classes.bias.shape[0], 4])
        return tf.cast(self.classes(x), dtype()), tf.cast(deltas, dtype())


class MaskHead(tf.Module):
    """The mask of each region, for each class."""

    def __init__(self, config):
        super().__init__()
        width = config.mask_width
        widths = [config.pyramid_width] + [width] * config.mask_layers
        self.convolutions = [Convolution(*pair, 3) for pair in itertools.pairwise(widths)]
        self.transposed = Transposed(width, width)
        self.masks = Convolution(width, config.num_classes + 1, 1)

    def __call__(self, pooled, classes, record):
        """pooled: [B, M, P, P, C].  classes: int [B, M].  Returns their logits [B, M, 2 P, 2 P]."""
        x = tf.reshape(pooled, [-1, *pooled.shape[2:]])
        for convolution in self.convolutions:
            x = tf.nn.relu(convolution(x))
        x = tf.nn.relu(self.transposed(x))  # [B M, 2 P, 2 P, C]
        record("mask_features", x)
        logits = tf.gather(self.masks(x), tf.reshape(classes, [-1]), axis=3, batch_dims=1)
        shape = [*tf.unstack(tf.shape(classes)), *tf.unstack(tf.shape(logits)[1:])]
        return tf.cast(tf.reshape(logits, shape), dtype())


class MaskRCNN(tf.Module):
    """The whole network."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        size = config.pyramid_width
        self.stem = FrozenNorm(3, config.stem_width, 7, 2, config.freeze_at < 1)
        self.blocks = [
            Bottleneck(*plan, config.freeze_at < layer + 2, config)
            for layer, *plan in block_plan(config)
        ]
        self.laterals = [Convolution(width * config.expansion, size, 1) for width in config.widths]
        self.outputs = [Convolution(size, size, 3) for _ in config.widths]
        self.rpn = ProposalHead(config)
        self.box_head = BoxHead(config)
        self.mask_head = MaskHead(config)
        # Here, on the device: made in a step, the host would wait for them.
        self.mean_bgr = tf.constant(config.mean_bgr, dtype())
        self.anchors = tf.constant(all_base_anchors(config), dtype())  # [levels, ratios, 4]

    def __call__(self, images, sizes, record):
        """The pyramid.  images: uint8 [B, H, W, 3].  sizes: int [B, 2].

        Returns [[B, H / stride, W / stride, C]] of config.strides.
        """
        x = self.normalized(images, sizes)  # [B, H, W, 3]
        x = tf.nn.relu(self.stem(x))  # [B, H / 2, W / 2, C]
        record("stem", x)
        x = _padded(x, 1)  # after ReLU nothing is below 0
        x = tf.nn.max_pool2d(x, 3, strides=2, padding="VALID")  # [B, H / 4, W / 4, C]
        layers = {}
        for index, (layer, *_) in enumerate(block_plan(self.config)):
            x = self.blocks[index](x, record, f"blocks.{index}")
            record(f"blocks.{index}", x)
            layers[layer] = x
        maps, above = [], None
        for layer in reversed(layers):
            x = self.laterals[layer](layers[layer])
            if above is not None:
                x = _with_above(x, above)
            above = x
            x = self.outputs[layer](x)
            record(f"pyramid.{layer}", x)
            maps.insert(0, x)
        return maps + [maps[-1][:, ::2, ::2]]

    def normalized(self, images, sizes):
        """images: uint8 [B, H, W, 3], RGB.  Returns [B, H, W, 3], BGR less the mean; 0 beyond
        `sizes`, int [B, 2].
        """
        images = tf.cast(images[..., ::-1], self.mean_bgr.dtype) - self.mean_bgr
        down = tf.range(tf.shape(images)[1])
        across = tf.range(tf.shape(images)[2])
        inside = (down < sizes[:, :1])[:, :, None] & (across < sizes[:, 1:])[:, None]  # [B, H, W]
        return images * tf.cast(inside[..., None], images.dtype)


def _with_above(images, above):
    """images, [B, 2 H, 2 W, C], plus each cell of above, [B, H, W, C], four times."""
    batch, height, width, channels = tf.unstack(tf.shape(above))
    rows = tf.reshape(tf.stack([above, above], axis=3), [batch, height, 1, 2 * width * channels])
    pairs = tf.reshape(images, [batch, height, 2, 2 * width * channels])
    return tf.reshape(pairs + rows, tf.shape(images))


def losses(network, batch, record):
    """The five losses of each picture.  batch: see benchmark.BATCH.

    What is decided is taken from the batch, where it says so: see `decided`.  Returns [5, B].
    """
    config, sizes = network.config, batch["sizes"]
    boxes, exists = tf.cast(batch["boxes"], dtype()), batch["classes"] > 0  # [B, G, 4], [B, G]
    maps = network(batch["images"], sizes, record)
    logits, deltas = network.rpn(maps)
    record("objectness", logits)
    record("deltas", deltas)
    counts = [tf.size(one[0, ..., 0], tf.int64) * len(config.aspect_ratios) for one in maps]
    anchors = make_anchors(config, network.anchors, *tf.unstack(tf.shape(batch["images"])[1:3]))
    found = anchor_losses(config, logits, deltas, anchors, boxes, exists, batch, record)

    logits, deltas = tf.stop_gradient(logits), tf.stop_gradient(deltas)
    places = propose(config, logits, deltas, anchors, sizes, counts, config.level_proposals,
                     config.proposals)  # fmt: skip
    places = decided("proposals", places, batch, record)
    proposals = proposed(deltas, anchors, places, sizes)  # [B, R, 4]
    candidates = tf.concat([proposals, boxes], axis=1)
    valid = tf.concat([places >= 0, exists], axis=1)
    positive, negative, matches = label_regions(config, candidates, valid, boxes, exists)
    places, kinds = sample(batch["roi_keys"], positive, negative, config.rois_per_image,
                           config.positive_rois)  # fmt: skip
    places = decided("regions", tf.where(kinds != NONE, places, -1), batch, record)
    kinds = decided("region_kinds", kinds, batch, record)
    matches = decided("region_matches", rows_at(matches, tf.maximum(places, 0)), batch, record)
    regions = rows_at(candidates, tf.maximum(places, 0))  # [B, S, 4]
    regions = regions * tf.cast(kinds != NONE, dtype())[..., None]
    record("rois", regions)
    levels = decided("region_levels", level_of(config, regions), batch, record)
    matched = rows_at(boxes, matches)  # [B, S, 4]
    classes = tf.cast(rows_at(batch["classes"], matches), tf.int64)
    classes = classes * tf.cast(kinds == POSITIVE, tf.int64)  # [B, S]

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
    positive = tf.cast(kinds[:, first] == POSITIVE, dtype())
    each = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, dtype()), logits)
    found.append(mean_where(tf.reduce_mean(each, axis=[2, 3]), positive))
    names = ("loss_objectness", "loss_anchors", "loss_classes", "loss_boxes", "loss_masks")
    for name, loss in zip(names, found):
        record(name, loss)
    return tf.stack(found)


def anchor_losses(config, logits, deltas, anchors, boxes, exists, batch, record):
    """[objectness, boxes] of the sampled anchors, each [B].

    logits: [B, A].  deltas: [B, A, 4].  anchors: [A, 4].  boxes: [B, G, 4].  exists: bool [B, G].
    """
    positive, negative, matches = label_anchors(config, anchors, boxes, exists, batch["sizes"])
    places, kinds = sample(batch["anchor_keys"], positive, negative, config.anchors_per_image,
                           config.positive_anchors)  # fmt: skip
    places = decided("anchors", tf.where(kinds != NONE, places, -1), batch, record)
    kinds = decided("anchor_kinds", kinds, batch, record)
    places = tf.maximum(places, 0)
    matches = decided("anchor_matches", rows_at(matches, places), batch, record)
    code = encode(rows_at(boxes, matches), tf.gather(anchors, places), PLAIN)  # [B, n, 4]
    positive = tf.cast(kinds == POSITIVE, dtype())
    sampled = tf.cast(kinds != NONE, dtype())
    each = tf.nn.sigmoid_cross_entropy_with_logits(positive, rows_at(logits, places))
    apart = tf.reduce_sum(smooth_l1(rows_at(deltas, places) - code, config.anchor_beta), axis=2)
    count = tf.maximum(tf.reduce_sum(sampled, axis=1), 1.0)
    return [tf.reduce_sum(each * sampled, axis=1) / count,
            tf.reduce_sum(apart * positive, axis=1) / count]  # fmt: skip


def region_losses(config, logits, deltas, regions, matched, classes, kinds):
    """[classes, boxes] of the sampled regions, each [B].

    logits: [B, S, K].  deltas: [B, S, K, 4].  regions, matched: [B, S, 4].  classes: int [B, S].
    """
    positive = tf.cast(kinds == POSITIVE, dtype())
    sampled = tf.cast(kinds != NONE, dtype())
    picked = tf.gather(tf.nn.log_softmax(logits, axis=2), classes, axis=2, batch_dims=2)  # [B, S]
    own = tf.gather(deltas, classes, axis=2, batch_dims=2)
    code = encode(matched, regions, config.box_weights)  # [B, S, 4]
    apart = tf.reduce_sum(smooth_l1(own - code, 1.0), axis=2)
    count = tf.maximum(tf.reduce_sum(sampled, axis=1), 1.0)
    return [-tf.reduce_sum(picked * sampled, axis=1) / count,
            tf.reduce_sum(apart * positive, axis=1) / count]  # fmt: skip


def smooth_l1(x, beta):
    """x^2 / (2 beta) below beta, |x| - beta / 2 beyond.  Girshick 2015, eq. 3."""
    x = tf.abs(x)
    return tf.where(x < beta, 0.5 * x * x / beta, x - 0.5 * beta)


def mean_where(values, weights):
    """The mean of each row over those of weight 1; 0 without any.  Both: [B, N].  Returns [B]."""
    count = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
    return tf.reduce_sum(values * weights, axis=1) / count


def decided(name, own, batch, record):
    """What the network has decided, or what the batch says instead.  own: a tensor of integers."""
    record(f"decision.{name}", own)
    return tf.cast(batch.get(f"decision.{name}", own), own.dtype)


def proposed(deltas, anchors, places, sizes):
    """The boxes of proposals; zeros where there is none.

    deltas: [B, A, 4].  places: int [B, R], of anchors, -1: none.  Returns [B, R, 4].
    """
    exists = tf.cast(places >= 0, dtype())[..., None]
    places = tf.maximum(places, 0)
    boxes = decode(rows_at(deltas, places), tf.gather(anchors, places), PLAIN)
    return clip(boxes, sizes) * exists


def pictures(batch):
    """bool [B]: which rows are pictures: a process's part may be filled up.  See data.read."""
    return tf.reduce_any(batch["classes"] > 0, axis=1)


def scored_regions(network, batch):
    """What detections are chosen from.  batch: see benchmark.EVALUATION_BATCH.

    Returns the maps for `masks_of`, scores [B, R, K], boxes [B, R, K, 4], and the proposals, int
    [B, R], as they were decided here.
    """
    config, sizes = network.config, batch["sizes"]
    maps = network(batch["images"], sizes, ignore)
    logits, deltas = network.rpn(maps)
    counts = [tf.size(one[0, ..., 0], tf.int64) * len(config.aspect_ratios) for one in maps]
    anchors = make_anchors(config, network.anchors, *tf.unstack(tf.shape(batch["images"])[1:3]))
    places = propose(config, logits, deltas, anchors, sizes, counts, config.eval_proposals,
                     config.eval_proposals)  # fmt: skip
    own = places
    places = batch.get("decision.proposals", own)
    regions = proposed(deltas, anchors, places, sizes)  # [B, R, 4]
    pooled = align(config, maps[:-1], regions, level_of(config, regions), config.box_bins)
    logits, deltas = network.box_head(pooled, ignore)
    scores = tf.nn.softmax(logits, axis=2) * tf.cast(places >= 0, dtype())[..., None]
    boxes = decode(deltas, regions[:, :, None], config.box_weights)  # [B, R, K, 4]
    shape = tf.shape(boxes)
    boxes = clip(tf.reshape(boxes, [shape[0], -1, 4]), sizes)
    return maps[:-1], scores, tf.reshape(boxes, shape), own


def masks_of(network, maps, boxes, classes):
    """The masks of detections, of probabilities.  boxes: [B, D, 4].  classes: int [B, D].

    Returns [B, D, 2 P, 2 P], rows first.
    """
    config = network.config
    pooled = align(config, maps, boxes, level_of(config, boxes), config.mask_bins)
    return tf.sigmoid(network.mask_head(pooled, classes, ignore))
