"""Minigo's network in TensorFlow.  Silver et al. 2017, methods; the reference's dual_net.py.

Attribute paths are the canonical names of parameters.py.
B batch, S size of the board, P points, A = P + 1 moves, C channels.
"""

import tensorflow as tf

from common.frameworks.tensorflow import buffer, compute_dtype, dtype, parameter
from reinforcement.features import NUM_PLANES


class Convolution(tf.Module):
    """A square convolution, padded to the same size, and the batch norm behind it."""

    def __init__(self, in_channels, out_channels, kernel_size):
        super().__init__()
        self.weight = parameter("weight", [out_channels, in_channels, kernel_size, kernel_size])
        self.bias = parameter("plain", [out_channels])

    def __call__(self, x, norm, training):
        """x: [B, S, S, C].  Returns [B, S, S, out]; training moves the norm's statistics."""
        if training:
            # The norm takes the bias out again: its gradient would be nothing but rounding.
            return norm(self._convolved(x, self.weight, tf.stop_gradient(self.bias)))
        # One convolution for both: the search is most of a run, and asks for nothing else.
        scale, offset = norm.line()
        weight, bias = self.weight * scale, self.bias * scale + offset
        return self._convolved(x, weight, bias)

    def _convolved(self, x, weight, bias):
        """The convolution alone."""
        x, weight, bias = (tf.cast(one, compute_dtype()) for one in (x, weight, bias))
        return tf.nn.bias_add(tf.nn.conv2d(x, weight, strides=1, padding="SAME"), bias)


class BatchNorm(tf.Module):
    """Batch normalisation per channel, over this process's part of the batch.

    The moving variance is the unbiased one, n / (n - 1), as in the reference.
    scaled: with a scale and an offset.
    """

    def __init__(self, channels, scaled, config):
        super().__init__()
        self.weight = parameter("plain", [channels]) if scaled else None
        self.bias = parameter("plain", [channels]) if scaled else None
        self.running_mean = buffer("plain", [channels])
        self.running_var = buffer("plain", [channels])
        self.momentum = config.batch_norm_momentum
        self.epsilon = config.batch_norm_epsilon

    def __call__(self, x):
        """x: [B, S, S, C].  Returns the same shape, by the batch's statistics; moves its own."""
        if x.dtype == tf.float64:
            return self._in_float64(x)  # the fused kernel has none
        output, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x,
            tf.ones_like(self.running_var) if self.weight is None else self.weight,
            tf.zeros_like(self.running_mean) if self.bias is None else self.bias,
            epsilon=self.epsilon,
            is_training=True,
        )
        self._move(mean, variance)
        return output

    def _in_float64(self, x):
        """The same from its formula."""
        mean, variance = tf.nn.moments(x, axes=[0, 1, 2])
        count = tf.cast(tf.size(x) / tf.size(mean), x.dtype)
        self._move(mean, variance * count / (count - 1.0))
        return tf.nn.batch_normalization(
            x, mean, variance, self.bias, self.weight, self.epsilon
        )

    def _move(self, mean, variance):
        """Moves the statistics towards those of a batch."""
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            running.assign(self.momentum * running + (1.0 - self.momentum) * value)

    def line(self):
        """Scale and offset, [C] each, of the norm by the moving statistics: x scale + offset."""
        scale = tf.math.rsqrt(self.running_var + self.epsilon)
        scale = scale if self.weight is None else scale * self.weight
        offset = -self.running_mean * scale
        return scale, offset if self.bias is None else offset + self.bias


class Block(tf.Module):
    """Two convolutions with batch norm beside a shortcut."""

    def __init__(self, config):
        super().__init__()
        filters = config.filters
        self.convolution1 = Convolution(filters, filters, 3)
        self.norm1 = BatchNorm(filters, True, config)
        self.convolution2 = Convolution(filters, filters, 3)
        self.norm2 = BatchNorm(filters, True, config)

    def __call__(self, x, training, record, name):
        """x: [B, S, S, C].  Returns the same shape."""
        y = tf.nn.relu(self.convolution1(x, self.norm1, training))
        record(f"{name}.norm1", y)
        y = self.convolution2(y, self.norm2, training)
        return tf.nn.relu(y + x)


class Dense(tf.Module):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def __call__(self, x):
        """x: [B, in].  Returns [B, out]."""
        weight, bias = (tf.cast(one, compute_dtype()) for one in (self.weight, self.bias))
        return tf.matmul(tf.cast(x, compute_dtype()), weight) + bias


def flatten(x):
    """x: [B, S, S, C].  Returns [B, C S S], in the order channel, row, column."""
    x = tf.transpose(x, [0, 3, 1, 2])
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])


class Minigo(tf.Module):
    """The whole network: stem, blocks, and a head each for the policy and the value."""

    def __init__(self, config):
        super().__init__()
        points = config.board_size**2
        self.stem = Convolution(NUM_PLANES, config.filters, 3)
        self.stem_norm = BatchNorm(config.filters, True, config)
        self.blocks = [Block(config) for _ in range(config.num_blocks)]
        self.policy_convolution = Convolution(config.filters, 2, 1)
        self.policy_norm = BatchNorm(2, False, config)
        self.policy = Dense(2 * points, points + 1)
        self.value_convolution = Convolution(config.filters, 1, 1)
        self.value_norm = BatchNorm(1, False, config)
        self.value_hidden = Dense(points, config.value_hidden)
        self.value = Dense(config.value_hidden, 1)

    def __call__(self, planes, training, record):
        """planes: uint8 [B, S, S, 17].

        Returns logits [B, A] and values [B] within -1..1; record(name, activation) sees each of
        parameters.points.
        """
        x = tf.cast(planes, dtype())  # [B, S, S, 17]
        x = tf.nn.relu(self.stem(x, self.stem_norm, training))  # [B, S, S, C]
        record("stem_norm", x)
        for index, block in enumerate(self.blocks):
            x = block(x, training, record, f"blocks.{index}")
            record(f"blocks.{index}", x)
        y = tf.nn.relu(self.policy_convolution(x, self.policy_norm, training))  # [B, S, S, 2]
        record("policy_norm", y)
        logits = self.policy(flatten(y))  # [B, A]
        record("logits", logits)
        y = tf.nn.relu(self.value_convolution(x, self.value_norm, training))  # [B, S, S, 1]
        record("value_norm", y)
        y = tf.nn.relu(self.value_hidden(flatten(y)))  # [B, hidden]
        record("value_hidden", y)
        values = tf.tanh(tf.cast(self.value(y), dtype()))[:, 0]  # [B]
        record("value", values)
        return tf.cast(logits, dtype()), values


def losses(logits, values, policy, winner):
    """Means over the batch: the policy's cross entropy, the value's squared error; two scalars.

    logits, policy: [B, A].  values, winner: [B].
    """
    log_probabilities = tf.nn.log_softmax(logits, axis=1)  # [B, A]
    cross_entropy = -tf.reduce_mean(tf.reduce_sum(policy * log_probabilities, axis=1))
    return cross_entropy, tf.reduce_mean(tf.square(values - winner))
