"""The Transformer in TensorFlow.  Vaswani et al. 2017, with the layer norms before each sublayer.

Attribute paths are the canonical names of parameters.py.
B batch, S source places, T target places, D hidden size, H heads, K beams, P pieces so far,
V vocabulary.
"""

import tensorflow as tf

from common.frameworks.tensorflow import compute_dtype, dtype, parameter
from common.parameters import ignore
from translation.formulas import MASKED, GivenMasks, positions, smoothed_label


class LayerNorm(tf.Module):
    """Each place's features to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, size):
        super().__init__()
        self.weight = parameter("plain", [size])
        self.bias = parameter("plain", [size])

    def __call__(self, x):
        """x: [B, T, D].  Returns [B, T, D]."""
        mean, variance = tf.nn.moments(x, axes=[2], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, self.bias, self.weight, 1e-6)


class Dense(tf.Module):
    """A fully connected layer, with or without bias."""

    def __init__(self, in_features, out_features, bias):
        super().__init__()
        self.weight = parameter("weight", [out_features, in_features])
        self.bias = parameter("plain", [out_features]) if bias else None

    def __call__(self, x):
        """x: [B, T, in].  Returns [B, T, out]."""
        y = _rows_matmul(x, self.weight)
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)


class Embedding(tf.Module):
    """A vector for each piece, the same for sources, targets and the output.  Sec. 3.4."""

    def __init__(self, num_pieces, size):
        super().__init__()
        self.weight = parameter("plain", [num_pieces, size])
        self.scale = size**0.5

    def __call__(self, pieces):
        """pieces: int32 [B, T].  Returns [B, T, D], zeros where no piece is."""
        x = tf.gather(self.weight, pieces) * self.scale
        return x * tf.cast(pieces != 0, x.dtype)[:, :, None]

    def logits(self, x):
        """x: [B, T, D].  Returns [B, T, V]."""
        return _rows_matmul(x, self.weight, transpose_b=True)


class Attention(tf.Module):
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
        """x: [B, T, D].  Returns [B, H, T, D / H]."""
        shape = [tf.shape(x)[0], tf.shape(x)[1], self.num_heads, x.shape[2] // self.num_heads]
        return tf.transpose(tf.reshape(x, shape), [0, 2, 1, 3])

    def keys_and_values(self, x):
        """x: [B, T, D].  Returns two [B, H, T, D / H]."""
        return self.heads(self.key(x)), self.heads(self.value(x))

    def __call__(self, x, memory, mask, causal, dropout):
        """x: [B, T, D].  memory: keys and values of S places; None: of x itself.

        mask: [B, 1, 1, S], added to the scores, or None.  causal: no place sees a later one.
        Returns [B, T, D].
        """
        normed = self.norm(x)
        keys, values = memory or self.keys_and_values(normed)
        queries = self.heads(self.query(normed))
        scores = tf.matmul(queries * keys.shape[3] ** -0.5, keys, transpose_b=True)
        scores = tf.cast(scores, dtype())  # [B, H, T, S]
        if causal:
            earlier = tf.linalg.band_part(tf.ones(tf.shape(scores)[2:], scores.dtype), -1, 0)
            mask = (1.0 - earlier) * MASKED  # [T, T]
        scores = scores if mask is None else scores + mask
        weights = drop(tf.nn.softmax(scores), dropout)  # [B, H, T, S]
        weights = tf.cast(weights, values.dtype)
        seen = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])  # [B, T, H, D / H]
        seen = self.output(tf.reshape(seen, tf.shape(x)))  # [B, T, D]
        return x + tf.cast(drop(seen, dropout), x.dtype)


class FeedForward(tf.Module):
    """Two layers with a ReLU between them, added to what they are given.  Sec. 3.3."""

    def __init__(self, config):
        super().__init__()
        self.norm = LayerNorm(config.hidden_size)
        self.hidden = Dense(config.hidden_size, config.filter_size, bias=True)
        self.output = Dense(config.filter_size, config.hidden_size, bias=True)

    def __call__(self, x, dropout):
        """x: [B, T, D].  Returns [B, T, D]."""
        hidden = tf.nn.relu(self.hidden(self.norm(x)))
        return x + tf.cast(drop(self.output(drop(hidden, dropout)), dropout), x.dtype)


class EncoderLayer(tf.Module):
    """The two sublayers of the encoder."""

    def __init__(self, config):
        super().__init__()
        self.self_attention = Attention(config)
        self.feed_forward = FeedForward(config)


class DecoderLayer(tf.Module):
    """The three sublayers of the decoder."""

    def __init__(self, config):
        super().__init__()
        self.self_attention = Attention(config)
        self.cross_attention = Attention(config)
        self.feed_forward = FeedForward(config)


class Transformer(tf.Module):
    """The whole network: embedding, encoder, decoder.  Fig. 1."""

    def __init__(self, config):
        super().__init__()
        self.embedding = Embedding(config.vocabulary_size, config.hidden_size)
        self.encoder = [EncoderLayer(config) for _ in range(config.num_layers)]
        self.encoder_norm = LayerNorm(config.hidden_size)
        self.decoder = [DecoderLayer(config) for _ in range(config.num_layers)]
        self.decoder_norm = LayerNorm(config.hidden_size)
        table = positions(config.max_positions, config.hidden_size)
        self.positions = tf.constant(table, dtype())

    def __call__(self, sources, targets, dropout, record):
        """sources: int32 [B, S].  targets: int32 [B, T], of which each place is foretold.

        Returns logits [B, T, V]; record(name, activation) sees each of parameters.points.
        """
        x, mask = self.encode(sources, dropout, record)
        memories = self.memorize(x)
        x = tf.pad(self.embedding(targets), [[0, 0], [1, 0], [0, 0]])[:, :-1]  # zeros first
        x = x + self.positions[: tf.shape(targets)[1]]  # [B, T, D]
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
        x = self.embedding(sources) + self.positions[: tf.shape(sources)[1]]
        mask = tf.cast(sources == 0, x.dtype)[:, None, None] * MASKED
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
        shape = [tf.shape(sources)[0] * num_beams, heads, 0, x.shape[2] // heads]
        empty = tf.zeros(shape, compute_dtype())
        return self.memorize(x), mask, [(empty,) * 2 for _ in self.decoder]

    def extend(self, pieces, parents, memories, mask, past):
        """Takes one piece more into each beam.  pieces: [B, K], 0 at the start.

        parents: [B K], the beam, counted over the batch, that each beam follows.  past: for each
        layer the keys and values of the beams, [B K, H, P, D / H].
        Returns logits [B, K, V] of the next piece, and the past with this one.
        """
        x = self.embedding(pieces) + self.positions[tf.shape(past[0][0])[2]]  # [B, K, D]
        longer = []
        for layer, memory, before in zip(self.decoder, memories, past):
            attention = layer.self_attention
            single = tf.reshape(x, [-1, 1, x.shape[2]])  # [B K, 1, D]
            new = attention.keys_and_values(attention.norm(single))
            pairs = zip(before, new)
            longer.append(
                [tf.concat([tf.gather(old, parents), last], axis=2) for old, last in pairs]
            )
            x = tf.reshape(attention(single, longer[-1], None, False, 0.0), tf.shape(x))
            # To the source, a sentence's beams are so many places.
            x = layer.cross_attention(x, memory, mask, False, 0.0)
            x = layer.feed_forward(x, 0.0)
        return self.embedding.logits(self.decoder_norm(x)), longer


def _rows_matmul(x, matrix, transpose_b=False):
    """x: [B, T, D].  Returns [B, T, columns], in the type that autocast says.

    One product of B T rows: the gradient of a batched one makes a matrix for each b and adds them.
    """
    rows = tf.cast(tf.reshape(x, [-1, x.shape[2]]), compute_dtype())
    y = tf.matmul(rows, tf.cast(matrix, compute_dtype()), transpose_b=transpose_b)
    return tf.reshape(y, [*tf.unstack(tf.shape(x)[:2]), y.shape[1]])


def drop(x, dropout):
    """A share of x set to 0 and the rest scaled up; x itself where the share is 0.

    dropout: the share, or GivenMasks.
    """
    if isinstance(dropout, GivenMasks):
        return tf.where(dropout.next(), x / (1.0 - dropout.share), tf.zeros_like(x))
    if not dropout:
        return x
    generator = tf.random.get_global_generator()
    return tf.nn.experimental.general_dropout(x, dropout, generator.uniform)


def smoothed_cross_entropy(logits, targets, smoothing):
    """Sum over the targets of the cross-entropy with smoothed labels, less their entropy.

    logits: [B, T, V].  targets: int32 [B, T]; 0 is no target.  Returns a scalar.
    """
    other, entropy = smoothed_label(logits.shape[2], smoothing)
    # The label written out: the gradient of a gather would add up into all logits one by one.
    label = tf.one_hot(targets, logits.shape[2], 1.0 - smoothing, other, dtype=logits.dtype)
    losses = tf.nn.softmax_cross_entropy_with_logits(label, logits) - entropy  # [B, T]
    return tf.reduce_sum(losses * tf.cast(targets != 0, losses.dtype))


def best_extensions(logits, scores):
    """The best 2 K ways on of each sentence, best first.  logits: [B, K, V].  scores: [B, K].

    Returns their scores, the beams that they follow, their pieces: each [B, 2 K].
    """
    ways = tf.nn.log_softmax(logits, axis=2) + scores[:, :, None]  # [B, K, V]
    ways = tf.reshape(ways, [tf.shape(ways)[0], -1])
    best, places = tf.math.top_k(ways, 2 * scores.shape[1])
    return best, places // logits.shape[2], places % logits.shape[2]
