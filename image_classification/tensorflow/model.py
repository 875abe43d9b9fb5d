"""ResNet with bottleneck blocks, "v1.5", in TensorFlow.  He et al. 2015, sec. 3 and 4.

Attribute paths are the canonical names of parameters.py.
B batch, H height, W width, C channels, K classes.
"""

import tensorflow as tf

from common.frameworks.tensorflow import buffer, compute_dtype, dtype, parameter
from image_classification.parameters import block_plan


class Convolution(tf.Module):
    """A square convolution without bias: the batch norm that follows would cancel it."""

    def __init__(self, in_channels, out_channels, kernel_size, stride):
        super().__init__()
        shape = [out_channels, in_channels, kernel_size, kernel_size]
        self.weight = parameter("weight", shape)
        self.stride = stride
        # Alike on all sides; "same" padding would shift the window of a strided convolution.
        # At stride 1 the two are one, and "same" has the faster kernel (1.3 times, whole step).
        padding = (kernel_size - 1) // 2
        explicit = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
        self.padding = explicit if stride > 1 else "SAME"

    def __call__(self, images):
        """images: [B, H, W, C].  Returns [B, H / stride, W / stride, out]."""
        images, weight = (tf.cast(x, compute_dtype()) for x in (images, self.weight))
        return tf.nn.conv2d(images, weight, strides=self.stride, padding=self.padding)


class BatchNorm(tf.Module):
    """Batch normalisation per channel, over this process's part of the batch.

    The moving variance is the unbiased one, n / (n - 1), as in the reference.
    """

    def __init__(self, channels, config):
        super().__init__()
        self.weight = parameter("plain", [channels])
        self.bias = parameter("plain", [channels])
        self.running_mean = buffer("plain", [channels])
        self.running_var = buffer("plain", [channels])
        self.momentum = config.batch_norm_momentum
        self.epsilon = config.batch_norm_epsilon

    def __call__(self, images, training):
        """images: [B, H, W, C].  Returns the same shape; training moves the statistics."""
        if images.dtype == tf.float64:
            return self._in_float64(images, training)  # the fused kernel has none
        output, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            images,
            self.weight,
            self.bias,
            mean=None if training else self.running_mean,
            variance=None if training else self.running_var,
            is_training=training,
            epsilon=self.epsilon,
        )
        if training:
            self._move(mean, variance)
        return output

    def _in_float64(self, images, training):
        """The same from its formula."""
        mean, variance = self.running_mean, self.running_var
        if training:
            mean, variance = tf.nn.moments(images, axes=[0, 1, 2])
            count = tf.cast(tf.size(images) / tf.size(mean), images.dtype)
            self._move(mean, variance * count / (count - 1.0))
        return tf.nn.batch_normalization(
            images, mean, variance, self.bias, self.weight, self.epsilon
        )

    def _move(self, mean, variance):
        """Moves the statistics towards those of a batch."""
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            running.assign(self.momentum * running + (1.0 - self.momentum) * value)


class Bottleneck(tf.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut.  Paper, fig. 5 right.

    The stride is on the 3x3 convolution ("v1.5"), not on the first 1x1 as in the paper.
    """

    def __init__(self, in_channels, width, stride, projects, config):
        super().__init__()
        out_channels = width * config.expansion
        self.convolution1 = Convolution(in_channels, width, 1, 1)
        self.norm1 = BatchNorm(width, config)
        self.convolution2 = Convolution(width, width, 3, stride)
        self.norm2 = BatchNorm(width, config)
        self.convolution3 = Convolution(width, out_channels, 1, 1)
        self.norm3 = BatchNorm(out_channels, config)
        self.projects = projects
        if projects:
            self.shortcut = Convolution(in_channels, out_channels, 1, stride)
            self.shortcut_norm = BatchNorm(out_channels, config)

    def __call__(self, images, training, record, name):
        """images: [B, H, W, C].  Returns [B, H / stride, W / stride, width * expansion]."""
        x = tf.nn.relu(self.norm1(self.convolution1(images), training))
        record(f"{name}.norm1", x)
        x = tf.nn.relu(self.norm2(self.convolution2(x), training))
        record(f"{name}.norm2", x)
        x = self.norm3(self.convolution3(x), training)
        record(f"{name}.norm3", x)
        shortcut = images
        if self.projects:
            shortcut = self.shortcut_norm(self.shortcut(images), training)
            record(f"{name}.shortcut_norm", shortcut)
        return tf.nn.relu(x + shortcut)


class ResNet(tf.Module):
    """The whole network: stem, blocks, average pooling, classifier.  Paper, table 1."""

    def __init__(self, config):
        super().__init__()
        self.stem = Convolution(3, config.stem_width, 7, 2)
        self.stem_norm = BatchNorm(config.stem_width, config)
        self.blocks = [Bottleneck(*plan, config) for plan in block_plan(config)]
        features = config.widths[-1] * config.expansion
        self.classifier = Dense(features, config.num_classes)
        # Here, on the device: made in a step, the host would wait for each one.
        self.mean_rgb = tf.constant(config.mean_rgb, dtype())

    def __call__(self, images, training, record):
        """images: [B, H, W, 3].  Returns logits [B, K]; record(name, activation) sees each."""
        x = tf.nn.relu(self.stem_norm(self.stem(images), training))  # [B, H / 2, W / 2, C]
        record("stem_norm", x)
        # Pads right and bottom alone, as the reference's "same" padding does on even sizes.
        x = tf.nn.max_pool2d(x, 3, strides=2, padding="SAME")  # [B, H / 4, W / 4, C]
        for index, block in enumerate(self.blocks):
            x = block(x, training, record, f"blocks.{index}")
            record(f"blocks.{index}", x)
        x = tf.reduce_mean(x, axis=[1, 2])  # [B, C]
        record("pooled", x)
        logits = self.classifier(x)  # [B, K]
        record("logits", logits)
        return logits


class Dense(tf.Module):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def __call__(self, features):
        """features: [B, in].  Returns [B, out]."""
        weight, bias = (tf.cast(x, compute_dtype()) for x in (self.weight, self.bias))
        return tf.matmul(tf.cast(features, compute_dtype()), weight) + bias


def normalize(images, mean_rgb):
    """images: uint8 [B, H, W, 3].  Returns [B, H, W, 3] less the mean colour, not divided."""
    return tf.cast(images, mean_rgb.dtype) - mean_rgb


def cross_entropy(logits, labels, label_smoothing):
    """Mean over the batch of the cross-entropy with smoothed labels.  Szegedy et al. 2015, sec. 7.

    logits: [B, K].  labels: int64 [B].  Returns a scalar.
    """
    log_probabilities = tf.nn.log_softmax(logits, axis=1)  # [B, K]
    picked = tf.gather(log_probabilities, labels, axis=1, batch_dims=1)  # [B]
    spread = tf.reduce_mean(log_probabilities, axis=1)  # [B]
    return -tf.reduce_mean((1.0 - label_smoothing) * picked + label_smoothing * spread)
