"""ResNet with bottleneck blocks, "v1.5", in PyTorch.  He et al. 2015, sec. 3 and 4.

Attribute paths are the canonical names of parameters.py.
B batch, H height, W width, C channels, K classes.
"""

import torch
import torch.nn.functional as F
from torch import nn

from common.frameworks.pytorch import buffer, dtype, parameter
from image_classification.parameters import block_plan


class Convolution(nn.Module):
    """A square convolution without bias: the batch norm that follows would cancel it."""

    def __init__(self, in_channels, out_channels, kernel_size, stride):
        super().__init__()
        shape = [out_channels, in_channels, kernel_size, kernel_size]
        self.weight = parameter("weight", shape)
        self.stride = stride
        # Alike on all sides; "same" padding would shift the window of a strided convolution.
        self.padding = (kernel_size - 1) // 2

    def forward(self, images):
        """images: [B, C, H, W].  Returns [B, out, H / stride, W / stride]."""
        return F.conv2d(images, self.weight, stride=self.stride, padding=self.padding)


class BatchNorm(nn.Module):
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

    def forward(self, images, training):
        """images: [B, C, H, W].  Returns the same shape; training moves the statistics."""
        return F.batch_norm(
            images,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=training,
            momentum=1.0 - self.momentum,  # PyTorch's is the share of the new value
            eps=self.epsilon,
        )


class Bottleneck(nn.Module):
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

    def forward(self, images, training, record, name):
        """images: [B, C, H, W].  Returns [B, width * expansion, H / stride, W / stride]."""
        x = F.relu_(self.norm1(self.convolution1(images), training))
        record(f"{name}.norm1", x)
        x = F.relu_(self.norm2(self.convolution2(x), training))
        record(f"{name}.norm2", x)
        x = self.norm3(self.convolution3(x), training)
        record(f"{name}.norm3", x)
        shortcut = images
        if self.projects:
            shortcut = self.shortcut_norm(self.shortcut(images), training)
            record(f"{name}.shortcut_norm", shortcut)
        return F.relu_(x.add_(shortcut))  # no layer's gradient needs what norm3 gave


class ResNet(nn.Module):
    """The whole network: stem, blocks, average pooling, classifier.  Paper, table 1."""

    def __init__(self, config):
        super().__init__()
        self.stem = Convolution(3, config.stem_width, 7, 2)
        self.stem_norm = BatchNorm(config.stem_width, config)
        self.blocks = nn.ModuleList([Bottleneck(*plan, config) for plan in block_plan(config)])
        features = config.widths[-1] * config.expansion
        self.classifier = Dense(features, config.num_classes)
        # Here, on the device: made in a step, the host would wait for each one.
        mean_rgb = torch.tensor(config.mean_rgb, dtype=dtype())
        self.register_buffer("mean_rgb", mean_rgb, persistent=False)

    def forward(self, images, training, record):
        """images: [B, 3, H, W].  Returns logits [B, K]; record(name, activation) sees each."""
        x = F.relu_(self.stem_norm(self.stem(images), training))  # [B, C, H / 2, W / 2]
        record("stem_norm", x)
        # Pads right and bottom alone, as the reference's "same" padding does on even sizes.
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)  # [B, C, H / 4, W / 4]
        for index, block in enumerate(self.blocks):
            x = block(x, training, record, f"blocks.{index}")
            record(f"blocks.{index}", x)
        x = x.mean(dim=[2, 3])  # [B, C]
        record("pooled", x)
        logits = self.classifier(x)  # [B, K]
        record("logits", logits)
        return logits


class Dense(nn.Module):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def forward(self, features):
        """features: [B, in].  Returns [B, out]."""
        return F.linear(features, self.weight, self.bias)


def normalize(images, mean_rgb):
    """images: uint8 [B, H, W, 3].  Returns [B, 3, H, W] less the mean colour, not divided."""
    images = images.to(mean_rgb.dtype) - mean_rgb
    return images.permute(0, 3, 1, 2)  # a view; it stays channels-last in memory


def cross_entropy(logits, labels, label_smoothing):
    """Mean over the batch of the cross-entropy with smoothed labels.  Szegedy et al. 2015, sec. 7.

    logits: [B, K].  labels: int64 [B].  Returns a scalar.
    """
    log_probabilities = F.log_softmax(logits, dim=1)  # [B, K]
    picked = log_probabilities.gather(1, labels[:, None])[:, 0]  # [B]
    spread = log_probabilities.mean(dim=1)  # [B]
    return -((1.0 - label_smoothing) * picked + label_smoothing * spread).mean()
