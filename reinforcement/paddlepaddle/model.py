"""Minigo's network in PaddlePaddle.  Silver et al. 2017, methods; the reference's dual_net.py.

Attribute paths are the canonical names of parameters.py.
B batch, S size of the board, P points, A = P + 1 moves, C channels.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.frameworks.paddlepaddle import buffer, dtype, parameter
from reinforcement.features import NUM_PLANES


class Convolution(nn.Layer):
    """A square convolution, padded to the same size, and the batch norm behind it."""

    def __init__(self, in_channels, out_channels, kernel_size):
        super().__init__()
        self.weight = parameter("weight", [out_channels, in_channels, kernel_size, kernel_size])
        self.bias = parameter("plain", [out_channels])
        self.padding = kernel_size // 2

    def forward(self, x, norm, training):
        """x: [B, C, S, S].  Returns [B, out, S, S]; training moves the norm's statistics."""
        if training:
            # The norm takes the bias out again: its gradient would be nothing but rounding.
            return norm(self._convolved(x, self.weight, self.bias.detach()))
        # One convolution for both: the search is most of a run, and asks for nothing else.
        scale, offset = norm.line()
        weight, bias = self.weight * scale[:, None, None, None], self.bias * scale + offset
        return self._convolved(x, weight, bias)

    def _convolved(self, x, weight, bias):
        """The convolution alone.  F.conv2d would take half as long again to add the bias."""
        return F.conv2d(x, weight, padding=self.padding) + bias[:, None, None]


class BatchNorm(nn.Layer):
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

    def forward(self, x):
        """x: [B, C, S, S].  Returns the same shape, by the batch's statistics; moves its own."""
        # A copy: the backward pass keeps what it was given, and _move changes running_var.
        variance = self.running_var.clone()
        output = F.batch_norm(
            x,
            self.running_mean,
            variance,
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )
        self._move(variance, x.size // x.shape[1])
        return output

    def _move(self, variance, count):
        """Moves the variance, which PaddlePaddle moved by the biased one, by n / (n - 1)."""
        with paddle.no_grad():
            missing = (variance - self.momentum * self.running_var) / (count - 1.0)
            paddle.assign(variance + missing, self.running_var)

    def line(self):
        """Scale and offset, [C] each, of the norm by the moving statistics: x scale + offset."""
        scale = (self.running_var + self.epsilon).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        offset = -self.running_mean * scale
        return scale, offset if self.bias is None else offset + self.bias


class Block(nn.Layer):
    """Two convolutions with batch norm beside a shortcut."""

    def __init__(self, config):
        super().__init__()
        filters = config.filters
        self.convolution1 = Convolution(filters, filters, 3)
        self.norm1 = BatchNorm(filters, True, config)
        self.convolution2 = Convolution(filters, filters, 3)
        self.norm2 = BatchNorm(filters, True, config)

    def forward(self, x, training, record, name):
        """x: [B, C, S, S].  Returns the same shape."""
        y = F.relu(self.convolution1(x, self.norm1, training))
        record(f"{name}.norm1", y)
        y = self.convolution2(y, self.norm2, training)
        return F.relu(y + x)


class Dense(nn.Layer):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def forward(self, x):
        """x: [B, in].  Returns [B, out]."""
        return F.linear(x, self.weight, self.bias)


def flatten(x):
    """x: [B, C, S, S].  Returns [B, C S S], in the order channel, row, column."""
    return x.flatten(1)


class Minigo(nn.Layer):
    """The whole network: stem, blocks, and a head each for the policy and the value."""

    def __init__(self, config):
        super().__init__()
        points = config.board_size**2
        self.stem = Convolution(NUM_PLANES, config.filters, 3)
        self.stem_norm = BatchNorm(config.filters, True, config)
        self.blocks = nn.LayerList([Block(config) for _ in range(config.num_blocks)])
        self.policy_convolution = Convolution(config.filters, 2, 1)
        self.policy_norm = BatchNorm(2, False, config)
        self.policy = Dense(2 * points, points + 1)
        self.value_convolution = Convolution(config.filters, 1, 1)
        self.value_norm = BatchNorm(1, False, config)
        self.value_hidden = Dense(points, config.value_hidden)
        self.value = Dense(config.value_hidden, 1)

    def forward(self, planes, training, record):
        """planes: uint8 [B, S, S, 17].

        Returns logits [B, A] and values [B] within -1..1; record(name, activation) sees each of
        parameters.points.
        """
        x = planes.astype(dtype()).transpose([0, 3, 1, 2])  # [B, 17, S, S]
        x = F.relu(self.stem(x, self.stem_norm, training))  # [B, C, S, S]
        record("stem_norm", x)
        for index, block in enumerate(self.blocks):
            x = block(x, training, record, f"blocks.{index}")
            record(f"blocks.{index}", x)
        y = F.relu(self.policy_convolution(x, self.policy_norm, training))  # [B, 2, S, S]
        record("policy_norm", y)
        logits = self.policy(flatten(y))  # [B, A]
        record("logits", logits)
        y = F.relu(self.value_convolution(x, self.value_norm, training))  # [B, 1, S, S]
        record("value_norm", y)
        y = F.relu(self.value_hidden(flatten(y)))  # [B, hidden]
        record("value_hidden", y)
        values = self.value(y).astype(dtype()).tanh()[:, 0]  # [B]
        record("value", values)
        return logits.astype(dtype()), values


def losses(logits, values, policy, winner):
    """Means over the batch: the policy's cross entropy, the value's squared error; two scalars.

    logits, policy: [B, A].  values, winner: [B].
    """
    log_probabilities = F.log_softmax(logits, axis=1)  # [B, A]
    cross_entropy = -(policy * log_probabilities).sum(axis=1).mean()
    return cross_entropy, (values - winner).square().mean()
