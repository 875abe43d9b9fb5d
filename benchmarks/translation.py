"""The Transformer's training step against each framework's own layers; decoding; in one run.

    common/in_environment.sh translation FRAMEWORK \\
        -m benchmarks.translation FRAMEWORK [--measure=decoding] [--size=quick]

At the base and the big size, unless --size says otherwise.

training: ours and the peer's steps on the same batches; the rate is target places, padding counted.
Peers: torch.nn.Transformer; a model of keras.layers through train_on_batch; paddle.nn.Transformer.
All with dropout, tied embeddings, smoothed labels and Adam.

decoding: beam search against greedy search, both ours.  An untrained network ends no sentence, so
each is given the pieces of its source, and no more.
"""

import dataclasses

import numpy as np
from absl import flags

from benchmarks import command
from common import timing
from translation import data
from translation.config import BASE, QUICK, REFERENCE
from translation.formulas import positions
from translation.parameters import initial_parameters

ROUNDS = {"training": 5, "decoding": 5}
SIZES = {"quick": QUICK, "base": BASE, "big": REFERENCE}


def pytorch_peer(config):
    """torch.nn.Transformer, norm first, as its documentation drives it."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            size = config.hidden_size
            self.embedding = nn.Embedding(config.vocabulary_size, size)
            self.transformer = nn.Transformer(
                size, config.num_heads, config.num_layers, config.num_layers, config.filter_size,
                config.dropout, batch_first=True, norm_first=True,
            )  # fmt: skip
            self.dropout = nn.Dropout(config.dropout)
            table = torch.from_numpy(positions(config.max_length, size)).float()
            self.register_buffer("positions", table)

        def forward(self, sources, targets):
            x = self.embedding(sources)
            x = x * config.hidden_size**0.5 + self.positions[: sources.shape[1]]
            y = nn.functional.pad(self.embedding(targets), (0, 0, 1, 0))[:, :-1]
            y = y * config.hidden_size**0.5 + self.positions[: targets.shape[1]]
            mask = nn.Transformer.generate_square_subsequent_mask(y.shape[1], device=y.device)
            padding = torch.zeros(sources.shape, device=y.device).masked_fill(
                sources == 0, float("-inf")
            )
            x = self.transformer(
                self.dropout(x), self.dropout(y), tgt_mask=mask, src_key_padding_mask=padding,
                memory_key_padding_mask=padding, tgt_is_causal=True,
            )  # fmt: skip
            return nn.functional.linear(x, self.embedding.weight)

    model = Network().to(config.device).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, (0.9, 0.997), 1e-9)
    loss_of = nn.CrossEntropyLoss(ignore_index=0, label_smoothing=config.label_smoothing)
    forward = torch.compile(model) if config.compile else model

    def step(batch):
        optimizer.zero_grad()
        sources, targets = (torch.from_numpy(batch[side]).to(config.device).long()
                            for side in ("sources", "targets"))
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = forward(sources, targets)
        loss = loss_of(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tensorflow_peer(config):
    """Layers of keras.layers doing the same, through compile() and train_on_batch."""
    import keras
    from keras import layers, ops

    if config.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    size, heads = config.hidden_size, config.num_heads
    table = positions(config.max_length, size).astype(np.float32)

    def attend(x, memory, **more):
        attention = layers.MultiHeadAttention(
            heads, size // heads, dropout=config.dropout, use_bias=False
        )
        return attention(x, memory, **more)

    def feed_forward(x):
        y = layers.Dense(config.filter_size, activation="relu")(norm(x))
        y = layers.Dense(size)(layers.Dropout(config.dropout)(y))
        return x + layers.Dropout(config.dropout)(y)

    def norm(x):
        return layers.LayerNormalization(epsilon=1e-6)(x)

    def place(x):
        return ops.add(x * size**0.5, ops.convert_to_tensor(table)[: ops.shape(x)[1]])

    class Tied(layers.Layer):
        """The output, by the embedding's matrix."""

        def call(self, x):
            return ops.matmul(x, ops.transpose(embedding.embeddings))

    sources = keras.Input([None], dtype="int32")
    targets = keras.Input([None], dtype="int32")
    embedding = layers.Embedding(config.vocabulary_size, size)
    seen = layers.Lambda(lambda pieces: ops.not_equal(pieces, 0)[:, None])(sources)
    x = layers.Dropout(config.dropout)(layers.Lambda(place)(embedding(sources)))
    for _ in range(config.num_layers):
        y = norm(x)
        x = x + layers.Dropout(config.dropout)(attend(y, y, attention_mask=seen))
        x = feed_forward(x)
    memory = norm(x)
    shift = layers.Lambda(lambda y: ops.pad(y, [[0, 0], [1, 0], [0, 0]])[:, :-1])
    x = layers.Dropout(config.dropout)(layers.Lambda(place)(shift(embedding(targets))))
    for _ in range(config.num_layers):
        y = norm(x)
        x = x + layers.Dropout(config.dropout)(attend(y, y, use_causal_mask=True))
        x = x + layers.Dropout(config.dropout)(attend(norm(x), memory, attention_mask=seen))
        x = feed_forward(x)
    model = keras.Model([sources, targets], Tied(dtype="float32")(norm(x)))

    def loss(labels, logits):
        smooth = config.label_smoothing
        right = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        mean = -ops.mean(ops.log_softmax(logits), axis=-1)
        filled = ops.cast(ops.not_equal(labels, 0), "float32")
        return ops.sum(((1.0 - smooth) * right + smooth * mean) * filled) / ops.sum(filled)

    optimizer = keras.optimizers.Adam(1e-4, 0.9, 0.997, 1e-9)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=config.compile)

    def step(batch):
        inputs = [batch["sources"], batch["targets"]]
        return float(model.train_on_batch(inputs, batch["targets"]))

    return step


def paddlepaddle_peer(config):
    """paddle.nn.Transformer, norm first; through to_static where --compile asks."""
    import paddle
    from paddle import nn

    class Network(nn.Layer):
        def __init__(self):
            super().__init__()
            size = config.hidden_size
            self.embedding = nn.Embedding(config.vocabulary_size, size)
            self.transformer = nn.Transformer(
                size, config.num_heads, config.num_layers, config.num_layers, config.filter_size,
                config.dropout, normalize_before=True,
            )  # fmt: skip
            self.dropout = nn.Dropout(config.dropout)
            table = positions(config.max_length, size).astype("float32")
            self.register_buffer("positions", paddle.to_tensor(table), persistable=False)

        def forward(self, sources, targets):
            x = self.embedding(sources)
            x = x * config.hidden_size**0.5 + self.positions[: sources.shape[1]]
            y = nn.functional.pad(self.embedding(targets), [0, 0, 1, 0, 0, 0])[:, :-1]
            y = y * config.hidden_size**0.5 + self.positions[: targets.shape[1]]
            causal = self.transformer.generate_square_subsequent_mask(y.shape[1])
            padding = (sources == 0).astype("float32")[:, None, None] * -1e9
            x = self.transformer(self.dropout(x), self.dropout(y), padding, causal, padding)
            return paddle.matmul(x, self.embedding.weight, transpose_y=True)

    model = Network()
    model.train()
    optimizer = paddle.optimizer.Adam(1e-4, 0.9, 0.997, 1e-9, parameters=model.parameters())
    forward = paddle.jit.to_static(model) if config.compile else model

    def step(batch):
        sources, targets = (paddle.to_tensor(batch[side]) for side in ("sources", "targets"))
        logits = forward(sources, targets)
        smooth = config.label_smoothing
        right = nn.functional.cross_entropy(logits, targets[:, :, None], reduction="none")[:, :, 0]
        mean = right + paddle.take_along_axis(logits, targets[:, :, None], axis=2)[:, :, 0]
        mean = mean - logits.mean(axis=2)
        filled = (targets != 0).astype("float32")
        loss = (((1.0 - smooth) * right + smooth * mean) * filled).sum() / filled.sum()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


PEERS = {
    "pytorch": pytorch_peer,
    "tensorflow": tensorflow_peer,
    "paddlepaddle": paddlepaddle_peer,
}


def draw_batch(config, rng):
    """A batch of the bucket of WMT's mean length, about 30 pieces, nine tenths of it filled."""
    buckets = data.bucket_bounds(config.max_length)
    bucket = int(np.searchsorted(buckets, 30))
    rows, length = int(data.bucket_rows(config)[bucket]), int(buckets[bucket]) - 1
    sides = []
    for _ in range(2):
        side = rng.integers(3, config.vocabulary_size, (rows, length)).astype(np.int32)
        ends = rng.integers(int(0.8 * length), length, rows)
        side[np.arange(length) > ends[:, None]] = 0
        side[np.arange(rows), ends] = 1
        sides.append(side)
    return {"sources": sides[0], "targets": sides[1]}


def measure_training(label, framework, train, make_peer, config, values):
    """Times training steps.  Returns the figures."""
    trainer = train.Trainer(config, initial_parameters(config))
    steps = {"ours": command.training_step(framework, trainer), "peer": make_peer(config)}
    rng = np.random.default_rng(1)
    batches = [draw_batch(config, rng) for _ in range(values.warmup + values.steps)]
    seconds = command.alternate(framework, steps, batches, values.warmup)
    return timing.report(label, seconds, batches[0]["targets"].size, "tokens")


def measure_decoding(label, train, config, values):
    """Times the decoding of eval_batch_size sentences.  Returns the figures."""
    rng = np.random.default_rng(1)
    batch = draw_batch(dataclasses.replace(config, batch_tokens=32 * config.eval_batch_size), rng)

    def decoder(num_beams):
        changed = dataclasses.replace(config, beam_size=num_beams, extra_decode_length=0)
        trainer = train.Trainer(changed, initial_parameters(changed))
        return lambda: trainer.evaluate(batch)  # ends on the host

    candidates = {"greedy": decoder(1), f"{config.beam_size} beams": decoder(config.beam_size)}
    seconds = timing.alternate(candidates, values.steps, values.warmup)
    num_sentences, length = batch["sources"].shape
    label = f"{label} decoding {length} pieces,"
    return timing.report(label, seconds, num_sentences, "sentences")


def main(argv):
    values = command.define_flags("batch_tokens", 1024, "places", ROUNDS)
    flags.DEFINE_multi_enum("size", ["base", "big"], list(SIZES), "may be repeated", values)
    name = command.parse(values, argv, PEERS, ROUNDS)
    configs = {size: command.configure(SIZES[size], values, "batch_tokens") for size in values.size}
    framework, train = command.start("translation", name, next(iter(configs.values())))
    figures = []
    for size, config in configs.items():
        label = f"{name} {size}"
        if values.measure == "training":
            figures += measure_training(label, framework, train, PEERS[name], config, values)
        else:
            figures += measure_decoding(label, train, config, values)
    command.write(values, "translation", name, figures)


if __name__ == "__main__":
    command.run(main)
