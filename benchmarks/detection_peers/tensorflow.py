"""A Mask R-CNN of Keras layers and tf.image's operators, in one traced step of one picture.

As public TensorFlow detectors have it: crop_and_resize and an average for RoIAlign, tf.image's
suppression, and tensors as long as there are boxes.  A box is y1, x1, y2, x2.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def make_step(config, rate):
    """step(batch) -> loss.  batch: see benchmarks.object_detection.for_peer."""
    if config.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    tf.random.set_seed(1)  # our adapter makes operators deterministic, which asks for a seed
    size = config.pyramid_width
    ratios, classes = len(config.aspect_ratios), config.num_classes + 1
    trunk = pyramid(config)
    proposal = head(config)
    features = keras.Sequential(
        [keras.Input([config.box_bins**2 * size]), layers.Dense(config.box_size, "relu"),
         layers.Dense(config.box_size, "relu")]
    )  # fmt: skip
    classify = keras.Sequential([keras.Input([config.box_size]), layers.Dense(classes)])
    locate = keras.Sequential([keras.Input([config.box_size]), layers.Dense(4 * classes)])
    mask = keras.Sequential(
        [keras.Input([config.mask_bins, config.mask_bins, size])]
        + [layers.Conv2D(config.mask_width, 3, padding="same", activation="relu")
           for _ in range(config.mask_layers)]
        + [layers.Conv2DTranspose(config.mask_width, 2, 2, activation="relu"),
           layers.Conv2D(classes, 1)]
    )  # fmt: skip
    parts = [trunk, proposal, features, classify, locate, mask]
    weights = [weight for part in parts for weight in part.trainable_variables]
    optimizer = keras.optimizers.SGD(rate, config.momentum, weight_decay=config.weight_decay)
    optimizer.build(weights)

    def loss_of(image, boxes, labels, masks):
        height, width = image.shape[:2]
        corner = tf.constant([height, width] * 2, tf.float32)
        pixels = tf.cast(image[..., ::-1], tf.float32) - config.mean_bgr
        maps = [tf.cast(one, tf.float32) for one in trunk(pixels[None])]
        outputs = [proposal(one) for one in maps]
        logits = [tf.reshape(tf.cast(one[..., :ratios], tf.float32), [-1]) for one in outputs]
        deltas = [tf.reshape(tf.cast(one[..., ratios:], tf.float32), [-1, 4]) for one in outputs]
        anchors = [anchors_of(config, level, one.shape[1:3]) for level, one in enumerate(maps)]

        found, scores = [], []
        for own_logits, own_deltas, own in zip(logits, deltas, anchors):
            count = min(config.level_proposals, len(own))
            best, order = tf.math.top_k(tf.stop_gradient(own_logits), count)
            decoded = decode(tf.gather(tf.stop_gradient(own_deltas), order), tf.gather(own, order))
            decoded = tf.clip_by_value(decoded, 0.0, corner)
            kept = tf.image.non_max_suppression(decoded, best, count, config.proposal_overlap)
            found.append(tf.gather(decoded, kept))
            scores.append(tf.gather(best, kept))
        found, scores = tf.concat(found, axis=0), tf.concat(scores, axis=0)
        count = tf.minimum(config.proposals, tf.size(scores))
        candidates = tf.concat([tf.gather(found, tf.math.top_k(scores, count)[1]), boxes], axis=0)

        logits, deltas = tf.concat(logits, axis=0), tf.concat(deltas, axis=0)
        total = anchor_losses(config, logits, deltas, np.concatenate(anchors), boxes, corner)

        shared = overlaps(candidates, boxes)
        most, matches = tf.reduce_max(shared, axis=1), tf.argmax(shared, axis=1)
        positive, negative = drawn(most >= config.roi_overlap, most < config.roi_overlap,
                                   config.positive_rois, config.rois_per_image)  # fmt: skip
        chosen = tf.concat([positive, negative], axis=0)
        regions = tf.gather(candidates, chosen)
        pooled = pool(config, maps[:-1], regions, config.box_bins, corner)
        x = features(tf.reshape(pooled, [-1, config.box_bins**2 * size]))
        count = tf.size(positive)
        picked = tf.gather(labels, tf.gather(matches, positive))  # of the positive ones
        targets = tf.concat([picked, tf.zeros_like(negative, picked.dtype)], axis=0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            targets, tf.cast(classify(x), tf.float32)
        )
        total += tf.reduce_mean(losses)
        moved = tf.reshape(tf.cast(locate(x[:count]), tf.float32), [-1, classes, 4])
        moved = tf.gather(moved, picked, batch_dims=1)
        regions = regions[:count]
        matched = tf.gather(matches, positive)
        code = encode(tf.gather(boxes, matched), regions) * config.box_weights
        total += tf.reduce_sum(smooth_l1(moved - code, 1.0)) / tf.cast(tf.size(chosen), tf.float32)

        pooled = pool(config, maps[:-1], regions, config.mask_bins, corner)
        wanted = tf.image.crop_and_resize(
            masks[..., None], regions / corner, tf.cast(matched, tf.int32),
            [2 * config.mask_bins] * 2,
        )[..., 0]  # fmt: skip
        guessed = tf.cast(mask(pooled), tf.float32)
        guessed = tf.gather(tf.transpose(guessed, [0, 3, 1, 2]), picked, batch_dims=1)
        each = tf.nn.sigmoid_cross_entropy_with_logits(tf.round(wanted), guessed)
        count = tf.cast(tf.size(each), tf.float32)
        return total + tf.math.divide_no_nan(tf.reduce_sum(each), count)

    @tf.function(jit_compile=config.compile)
    def on_device(image, boxes, labels, masks):
        with tf.GradientTape() as tape:
            loss = loss_of(image, boxes, labels, masks)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    def step(batch):
        (picture,) = batch
        boxes = tf.constant(picture["boxes"][:, [1, 0, 3, 2]])
        masks = tf.cast(tf.constant(picture["masks"]), tf.float32)
        image = tf.constant(picture["padded"])
        return float(on_device(image, boxes, tf.constant(picture["labels"]), masks))

    return step


def pyramid(config):
    """ResNet and the feature pyramid on it, of frozen norms: P2 to P6."""

    def convolution(x, width, kernel, stride, trained, scale="ones"):
        x = layers.Conv2D(width, kernel, stride, "same", use_bias=False, trainable=trained,
                          kernel_initializer="he_normal")(x)  # fmt: skip
        return layers.BatchNormalization(gamma_initializer=scale, trainable=False)(x)

    def image_shape():
        height, width = config.short_side, config.long_side
        return [-(-height // 32) * 32, -(-width // config.shape_step) * config.shape_step, 3]

    image = keras.Input(image_shape())
    x = layers.ReLU()(convolution(image, config.stem_width, 7, 2, False))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    small = keras.initializers.Constant(config.branch_scale)
    stages = []
    for layer, (count, width) in enumerate(zip(config.blocks, config.widths)):
        trained = layer + 2 > config.freeze_at
        for block in range(count):
            stride = 2 if layer and not block else 1
            shortcut, wide = x, width * config.expansion
            x = layers.ReLU()(convolution(x, width, 1, stride, trained))
            x = layers.ReLU()(convolution(x, width, 3, 1, trained))
            x = convolution(x, wide, 1, 1, trained, small)
            if not block:
                shortcut = convolution(shortcut, wide, 1, stride, trained)
            x = layers.ReLU()(layers.Add()([x, shortcut]))
        stages.append(x)
    maps, above = [], None
    for stage in reversed(stages):
        x = layers.Conv2D(config.pyramid_width, 1)(stage)
        if above is not None:
            x = layers.Add()([x, layers.UpSampling2D(2)(above)])
        above = x
        maps.insert(0, layers.Conv2D(config.pyramid_width, 3, padding="same")(x))
    return keras.Model(image, [*maps, layers.MaxPooling2D(1, 2)(maps[-1])])


def head(config):
    """The proposals' head: of each cell its logits, then its deltas."""
    ratios = len(config.aspect_ratios)
    small = keras.initializers.RandomNormal(stddev=0.01)
    image = keras.Input([None, None, config.pyramid_width])
    x = layers.Conv2D(config.pyramid_width, 3, padding="same", activation="relu",
                      kernel_initializer=small)(image)  # fmt: skip
    outputs = [layers.Conv2D(n * ratios, 1, kernel_initializer=small)(x) for n in (1, 4)]
    return keras.Model(image, layers.Concatenate()(outputs))


def anchors_of(config, level, shape):
    """float32 [rows * columns * ratios, 4] of a level, a constant."""
    stride = config.strides[level]
    side, ratios = stride * config.anchor_scale, np.sqrt(config.aspect_ratios)
    halves = np.stack([ratios, 1.0 / ratios], axis=1) * side / 2  # [ratios, 2]
    centres = np.stack(np.mgrid[: shape[0], : shape[1]], axis=2)[:, :, None] * stride
    boxes = np.concatenate([centres - halves, centres + halves], axis=3)
    return boxes.reshape(-1, 4).astype(np.float32)


def anchor_losses(config, logits, deltas, anchors, boxes, corner):
    """The sum of the anchors' two losses."""
    inside = tf.reduce_all((anchors >= 0.0) & (anchors < corner), axis=1)
    shared = overlaps(anchors, boxes)  # [A, G]
    most, matches = tf.reduce_max(shared, axis=1), tf.argmax(shared, axis=1)
    best = tf.reduce_any(shared == tf.reduce_max(shared, axis=0), axis=1)
    high = ((most >= config.anchor_high) | best) & inside
    positive, negative = drawn(high, (most < config.anchor_low) & ~high & inside,
                               config.positive_anchors, config.anchors_per_image)  # fmt: skip
    chosen = tf.concat([positive, negative], axis=0)
    truth = tf.concat([tf.ones_like(positive), tf.zeros_like(negative)], axis=0)
    each = tf.nn.sigmoid_cross_entropy_with_logits(
        tf.cast(truth, tf.float32), tf.gather(logits, chosen)
    )
    code = encode(tf.gather(boxes, tf.gather(matches, positive)), tf.gather(anchors, positive))
    apart = smooth_l1(tf.gather(deltas, positive) - code, config.anchor_beta)
    return tf.reduce_mean(each) + tf.reduce_sum(apart) / tf.cast(tf.size(chosen), tf.float32)


def drawn(positive, negative, most, count):
    """Random places: at most `most` positive ones, and negative ones up to `count` in all."""
    positive = tf.random.shuffle(tf.where(positive)[:, 0])[:most]
    return positive, tf.random.shuffle(tf.where(negative)[:, 0])[: count - tf.size(positive)]


def pool(config, maps, boxes, bins, corner):
    """RoIAlign of boxes, each on its level.  Returns [N, P, P, C]."""
    boxes = tf.stop_gradient(boxes)
    area = tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    level = tf.math.log(tf.sqrt(area) / config.canonical_size + 1e-6) / np.log(2.0)
    level = tf.cast(tf.floor(level + config.canonical_level), tf.int32)
    level = tf.clip_by_value(level, 2, len(maps) + 1) - 2
    pooled, order = [], []
    for number, one in enumerate(maps):
        places = tf.where(level == number)[:, 0]
        own = tf.gather(boxes, places)
        # To the middles of the first and the last sample, of two a bin: crop_and_resize's corners.
        half = (own[:, 2:] - own[:, :2]) / (4 * bins)
        middle = tf.concat([own[:, :2] + half, own[:, 2:] - half], axis=1)
        last = corner * (1.0 - 1.0 / tf.constant([*one.shape[1:3]] * 2, tf.float32))
        crops = tf.image.crop_and_resize(
            one, middle / last, tf.zeros_like(places, tf.int32), [2 * bins] * 2
        )
        pooled.append(tf.nn.avg_pool2d(crops, 2, 2, "VALID"))
        order.append(places)
    back = tf.math.invert_permutation(tf.concat(order, axis=0))
    return tf.gather(tf.concat(pooled, axis=0), back)


def overlaps(boxes, others):
    """Intersection over union, [N, M]."""
    low = tf.maximum(boxes[:, None, :2], others[None, :, :2])
    high = tf.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=2)
    areas, from_areas = (tf.reduce_prod(of[:, 2:] - of[:, :2], axis=1) for of in (boxes, others))
    return shared / (areas[:, None] + from_areas - shared)


def encode(boxes, anchors):
    """The code of boxes as seen from anchors, [N, 4]."""
    size, own = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, 2:] + boxes[:, :2] - anchors[:, 2:] - anchors[:, :2]) / 2.0
    return tf.concat([middle / size, tf.math.log(own / size)], axis=1)


def decode(code, anchors):
    """The boxes of a code, [N, 4]."""
    size = anchors[:, 2:] - anchors[:, :2]
    middle = (anchors[:, 2:] + anchors[:, :2]) / 2.0 + code[:, :2] * size
    half = tf.exp(tf.minimum(code[:, 2:], np.log(1000.0 / 16.0))) * size / 2.0
    return tf.concat([middle - half, middle + half], axis=1)


def smooth_l1(x, beta):
    """x^2 / (2 beta) below beta, |x| - beta / 2 beyond."""
    x = tf.abs(x)
    return tf.where(x < beta, 0.5 * x * x / beta, x - 0.5 * beta)
