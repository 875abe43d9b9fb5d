"""The Transformer in PaddlePaddle.  Vaswani et al. 2017, with the layer norms before each sublayer.

Attribute paths are the canonical names of parameters.py.
B batch, S source places, T target places, D hidden size, H heads, K beams, P pieces so far,
V vocabulary.
"""

import paddle
import paddle.nn.functional as F
from paddle import nn

from common.frameworks.paddlepaddle import dtype, parameter
from common.parameters import ignore
from translation.formulas import MASKED, GivenMasks, positions, smoothed_label


class LayerNorm(nn.Layer):
    """Each place's features to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, size):
        super().__init__()
        self.weight = parameter("plain", [size])
        self.bias = parameter("plain", [size])

    def forward(self, x):
        """x: [B, T, D].  Returns [B, T, D]."""
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, epsilon=1e-6)


class Dense(nn.Layer):
    """A fully connected layer, with or without bias."""

    def __init__(self, in_features, out_features, bias):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features]) if bias else None

    def forward(self, x):
        """x: [B, T, in].  Returns [B, T, out]."""
        return F.linear(x, self.weight, self.bias)


class Embedding(nn.Layer):
    """A vector for each piece, the same for sources, targets and the output.  Sec. 3.4."""

    def __init__(self, num_pieces, size):
        super().__init__()
        self.weight = parameter("plain", [num_pieces, size])
        self.scale = size**0.5

    def forward(self, pieces):
        """pieces: int32 [B, T].  Returns [B, T, D], zeros where no piece is."""
        x = F.embedding(pieces, self.weight) * self.scale
        return x * (pieces != 0).astype(x.dtype)[:, :, None]

    def logits(self, x):
        """x: [B, T, D].  Returns [B, T, V]."""
        return paddle.matmul(x, self.weight, transpose_y=True)


class Attention(nn.Layer):
    """Multi-head attention without biases, added to what it is given.  Sec. 3.2.2."""

    def __init__(self, config):
        super().__init__()
        size = config.hidden_size
        self.norm = LayerNorm(size)
        self.query = Dense(size, size, bias=False)
        self.key = Dense(size, size, bias=False)
        self.value = Dense(size, size, bias=False)
        self.output = Dense(size, size, bias=False)
        self.num_heads = config.num_heads

    def heads(self, x):
        """x: [B, T, D].  Returns [B, T, H, D / H]."""
        return x.unflatten(2, (self.num_heads, -1))

    def keys_and_values(self, x):
        """x: [B, T, D].  Returns two [B, T, H, D / H]."""
        return self.heads(self.key(x)), self.heads(self.value(x))

    def forward(self, x, memory, mask, causal, dropout):
        """x: [B, T, D].  memory: keys and values of S places; None: of x itself.

        mask: [B, 1, 1, S], added to the scores, or None.  causal: no place sees a later one.
        Returns [B, T, D].
        """
        normed = self.norm(x)
        keys, values = memory or self.keys_and_values(normed)
        queries = self.heads(self.query(normed))
        if isinstance(dropout, GivenMasks):
            seen = _attend(queries, keys, values, mask, causal, dropout)
        else:
            seen = F.scaled_dot_product_attention(
                queries, keys, values, mask, dropout_p=dropout, is_causal=causal
            )
        seen = self.output(seen.flatten(2))  # [B, T, D]
        return x + drop(seen, dropout)


class FeedForward(nn.Layer):
    """Two layers with a ReLU between them, added to what they are given.  Sec. 3.3."""

    def __init__(self, config):
        super().__init__()
        self.norm = LayerNorm(config.hidden_size)
        self.hidden = Dense(config.hidden_size, config.filter_size, bias=True)
        self.output = Dense(config.filter_size, config.hidden_size, bias=True)

    def forward(self, x, dropout):
        """x: [B, T, D].  Returns [B, T, D]."""
        hidden = F.relu(self.hidden(self.norm(x)))
        return x + drop(self.output(drop(hidden, dropout)), dropout)


class EncoderLayer(nn.Layer):
    """The two sublayers of the encoder."""

    def __init__(self, config):
        super().__init__()
        self.self_attention = Attention(config)
        self.feed_forward = FeedForward(config)


class DecoderLayer(nn.Layer):
    """The three sublayers of the decoder."""

    def __init__(self, config):
        super().__init__()
        self.self_attention = Attention(config)
        self.cross_attention = Attention(config)
        self.feed_forward = FeedForward(config)


class Transformer(nn.Layer):
    """The whole network: embedding, encoder, decoder.  Fig. 1."""

    def __init__(self, config):
        super().__init__()
        self.embedding = Embedding(config.vocabulary_size, config.hidden_size)
        self.encoder = nn.LayerList([EncoderLayer(config) for _ in range(config.num_layers)])
        self.encoder_norm = LayerNorm(config.hidden_size)
        self.decoder = nn.LayerList([DecoderLayer(config) for _ in range(config.num_layers)])
        self.decoder_norm = LayerNorm(config.hidden_size)
        table = positions(config.max_positions, config.hidden_size)
        self.register_buffer("positions", paddle.to_tensor(table, dtype()), persistable=False)

    def forward(self, sources, targets, dropout, record):
        """sources: int32 [B, S].  targets: int32 [B, T], of which each place is foretold.

        Returns logits [B, T, V]; record(name, activation) sees each of parameters.points.
        """
        x, mask = self.encode(sources, dropout, record)
        memories = self.memorize(x)
        x = F.pad(self.embedding(targets), [0, 0, 1, 0, 0, 0])[:, :-1]  # zeros first
        x = x + self.positions[: targets.shape[1]]  # [B, T, D]
        x = drop(x, dropout)
        record("target", x)
        for index, layer in enumerate(self.decoder):
            x = layer.self_attention(x, None, None, True, dropout)
            record(f"decoder.{index}.self_attention", x)
            x = layer.cross_attention(x, memories[index], mask, False, dropout)
            record(f"decoder.{index}.cross_attention", x)
            x = layer.feed_forward(x, dropout)
            record(f"decoder.{index}.feed_forward", x)
        x = self.decoder_norm(x)
        record("decoded", x)
        logits = self.embedding.logits(x)
        record("logits", logits)
        return logits

    def encode(self, sources, dropout, record):
        """sources: int32 [B, S].  Returns [B, S, D], and the mask [B, 1, 1, S] of its pieces."""
        x = self.embedding(sources) + self.positions[: sources.shape[1]]
        mask = (sources == 0).astype(x.dtype)[:, None, None] * MASKED
        x = drop(x, dropout)
        record("source", x)
        for index, layer in enumerate(self.encoder):
            x = layer.self_attention(x, None, mask, False, dropout)
            record(f"encoder.{index}.self_attention", x)
            x = layer.feed_forward(x, dropout)
            record(f"encoder.{index}.feed_forward", x)
        x = self.encoder_norm(x)
        record("memory", x)
        return x, mask

    def memorize(self, encoded):
        """Each decoder layer's keys and values of the source.  encoded: [B, S, D]."""
        return [layer.cross_attention.keys_and_values(encoded) for layer in self.decoder]

    def start(self, sources, num_beams):
        """What decoding begins with: memories, mask, and an empty past for each decoder layer."""
        x, mask = self.encode(sources, 0.0, ignore)
        heads = self.decoder[0].self_attention.num_heads
        shape = [len(sources) * num_beams, 0, heads, x.shape[2] // heads]
        empty = paddle.zeros(shape, x.dtype)
        return self.memorize(x), mask, [(empty, empty) for _ in self.decoder]

    def extend(self, pieces, parents, memories, mask, past):
        """Takes one piece more into each beam.  pieces: [B, K], 0 at the start.

        parents: [B K], the beam, counted over the batch, that each beam follows.  past: for each
        layer the keys and values of the beams, [B K, P, H, D / H].
        Returns logits [B, K, V] of the next piece, and the past with this one.
        """
        x = self.embedding(pieces) + self.positions[past[0][0].shape[1]]  # [B, K, D]
        longer = []
        for layer, memory, before in zip(self.decoder, memories, past):
            attention = layer.self_attention
            single = x.flatten(0, 1)[:, None]  # [B K, 1, D]
            new = attention.keys_and_values(attention.norm(single))
            pairs = zip(before, new)
            longer.append([paddle.concat([old[parents], last], axis=1) for old, last in pairs])
            x = attention(single, longer[-1], None, False, 0.0).reshape(x.shape)
            # To the source, a sentence's beams are so many places.
            x = layer.cross_attention(x, memory, mask, False, 0.0)
            x = layer.feed_forward(x, 0.0)
        return self.embedding.logits(self.decoder_norm(x)), longer


def _attend(queries, keys, values, mask, causal, dropout):
    """scaled_dot_product_attention written out: that one takes no given mask of its weights."""
    queries, keys, values = (x.transpose([0, 2, 1, 3]) for x in (queries, keys, values))
    scores = queries @ keys.transpose([0, 1, 3, 2]) * queries.shape[3] ** -0.5  # [B, H, T, S]
    if causal:
        mask = paddle.full(scores.shape[2:], MASKED, scores.dtype).triu(1)
    scores = scores if mask is None else scores + mask
    return (drop(F.softmax(scores, axis=3), dropout) @ values).transpose([0, 2, 1, 3])


def drop(x, dropout):
    """A share of x set to 0 and the rest scaled up; x itself where the share is 0.

    dropout: the share, or GivenMasks.
    """
    if isinstance(dropout, GivenMasks):
        return paddle.where(dropout.next(), x / (1.0 - dropout.share), paddle.zeros_like(x))
    if not dropout:
        return x
    return F.dropout(x, dropout)


def smoothed_cross_entropy(logits, targets, smoothing):
    """Sum over the targets of the cross-entropy with smoothed labels, less their entropy.

    logits: [B, T, V].  targets: int32 [B, T]; 0 is no target.  Returns a scalar.
    """
    other, entropy = smoothed_label(logits.shape[2], smoothing)
    losses = F.cross_entropy(logits, targets, reduction="none")  # [B, T]
    chosen = paddle.take_along_axis(logits, targets[:, :, None], axis=2)[:, :, 0]  # [B, T]
    # What the others' share of the label adds: a sum of differences, no logarithm anew.
    losses = losses + other * (logits.shape[2] * chosen - logits.sum(axis=2)) - entropy
    return (losses * (targets != 0).astype(losses.dtype)).sum()


def best_extensions(logits, scores):
    """The best 2 K ways on of each sentence, best first.  logits: [B, K, V].  scores: [B, K].

    Returns their scores, the beams that they follow, their pieces: each [B, 2 K].
    """
    # Not log_softmax: on a CPU it takes a hundred times as long.
    shifted = logits - logits.max(axis=2, keepdim=True)
    ways = shifted - shifted.exp().sum(axis=2, keepdim=True).log() + scores[:, :, None]  # [B, K, V]
    best, places = ways.flatten(1).topk(2 * scores.shape[1])
    return best, places // logits.shape[2], places % logits.shape[2]
