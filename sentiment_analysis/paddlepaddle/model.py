"""Sequence CNN over words, in PaddlePaddle.  Johnson and Zhang 2014, sec. 2.

Attribute paths are the canonical names of parameters.py.
B batch, T places in the stream of words, E embedding size, C filters, M blocks, S words a block,
K classes.
"""

import math

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.frameworks.paddlepaddle import parameter
from sentiment_analysis.config import halo


class Embedding(nn.Layer):
    """A vector for each word of the dictionary; zeros for the number after the last."""

    def __init__(self, num_words, size):
        super().__init__()
        self.weight = parameter("plain", [num_words, size])

    def forward(self, tokens):
        """tokens: int32 [T].  Returns [T, E]."""
        table = F.pad(self.weight, [0, 1, 0, 0])  # [words + 1, E]
        return F.embedding(tokens, table)


class SequenceConvolution(nn.Layer):
    """A convolution over the words of each review, ELU, and the greatest of each filter.

    A place sees window // 2 words before it, itself, and the rest after it; beyond a review's ends
    lie zeros.
    """

    def __init__(self, window, config):
        super().__init__()
        shape = [config.num_filters, config.embedding_size, window]
        self.weight = parameter("weight", shape)
        self.bias = parameter("plain", [config.num_filters])
        self.window = window
        self.first = halo(config)[0] - window // 2
        self.block_size = config.block_size

    def forward(self, words, beyond, blocks):
        """words: [E, before + T + after].  beyond: [T], -inf where no word is, else 0.

        blocks: int32 [B, M].  Returns [B, C].
        """
        stop = self.first + beyond.shape[0] + self.window - 1
        x = words[None, :, self.first : stop]  # [1, E, T + window - 1]
        x = F.conv1d(x, self.weight) + beyond  # [1, C, T]
        x = F.max_pool1d(x, self.block_size)[0].t()  # [T / S, C]
        x = F.embedding(blocks, x)  # [B, M, C]
        # A pooling, not max: max gives its whole gradient to each of several equals.
        x = F.max_pool2d(x[:, None], [blocks.shape[1], 1])[:, 0, 0]  # [B, C]
        # Bias and ELU last: both keep the order of what they are given, so the greatest stays it.
        return F.elu(x + self.bias, alpha=1.0)


class Dense(nn.Layer):
    """A fully connected layer with bias."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features])

    def forward(self, features):
        """features: [B, in].  Returns [B, out]."""
        return F.linear(features, self.weight, self.bias)


class SequenceCNN(nn.Layer):
    """The whole network: embedding, convolutions beside each other, classifier."""

    def __init__(self, config):
        super().__init__()
        self.halo = halo(config)
        self.embedding = Embedding(config.vocabulary_size, config.embedding_size)
        self.convolutions = nn.LayerList(
            [SequenceConvolution(window, config) for window in config.windows]
        )
        self.classifier = Dense(len(config.windows) * config.num_filters, config.num_classes)
        self.empty = config.vocabulary_size

    def forward(self, tokens, blocks, record):
        """tokens, blocks: see data.pack.  Returns logits [B, K]; record(name, activation)."""
        words = self.embedding(tokens)  # [before + T + after, E]
        record("embedding", words)
        before, after = self.halo
        inner = tokens[before : tokens.shape[0] - after]  # [T]
        beyond = paddle.zeros_like(inner, dtype=words.dtype)
        beyond = beyond.masked_fill(inner == self.empty, -math.inf)
        words = words.t()  # [E, before + T + after], once for all convolutions
        features = []
        for index, convolution in enumerate(self.convolutions):
            features.append(convolution(words, beyond, blocks))
            record(f"convolutions.{index}", features[-1])
        logits = self.classifier(paddle.concat(features, axis=1))  # [B, K]
        record("logits", logits)
        return logits


def cross_entropy(logits, labels):
    """Mean over the batch of the cross-entropy.

    logits: [B, K].  labels: int64 [B].  Returns a scalar.
    """
    log_probabilities = F.log_softmax(logits, axis=1)  # [B, K]
    picked = paddle.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]  # [B]
    return -picked.mean()
