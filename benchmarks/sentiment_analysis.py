"""Seq-CNN's full-size training step against each framework's own layers doing the same, in one run.

    common/in_environment.sh sentiment_analysis FRAMEWORK -m benchmarks.sentiment_analysis FRAMEWORK

Twice: reviews all of one length, where nobody pads, and reviews of IMDB's lengths, where the peer
pads each to the longest of its batch, as such a model is written.  Each side starts from the same
reviews.  The peers let padding into the maximum; ours does not.
"""

import numpy as np

from benchmarks import command
from common import timing
from sentiment_analysis import data
from sentiment_analysis.config import REFERENCE
from sentiment_analysis.parameters import initial_parameters

ROUNDS = {"training": 5}


def pytorch_peer(config):
    """torch.nn's layers and Adam; the activation after the maximum would be ours, not theirs."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
            self.convolutions = nn.ModuleList(
                nn.Conv1d(config.embedding_size, config.num_filters, window, padding="same")
                for window in config.windows
            )
            self.classifier = nn.Linear(len(config.windows) * config.num_filters, 2)

        def forward(self, tokens):
            x = self.embedding(tokens).transpose(1, 2)
            x = [nn.functional.elu(layer(x)).amax(dim=2) for layer in self.convolutions]
            return self.classifier(torch.cat(x, dim=1))

    model = Network().to(config.device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    forward = torch.compile(model) if config.compile else model

    def step(tokens, labels):
        optimizer.zero_grad()
        tokens, labels = (torch.from_numpy(a).to(config.device) for a in (tokens, labels))
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = forward(tokens)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tensorflow_peer(config):
    """Keras's layers through compile() and train_on_batch, a graph of its own."""
    import keras
    from keras import layers

    if config.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    tokens = keras.Input([None], dtype="int32")
    words = layers.Embedding(config.vocabulary_size, config.embedding_size)(tokens)
    features = [
        layers.GlobalMaxPooling1D()(
            layers.Conv1D(config.num_filters, window, padding="same", activation="elu")(words)
        )
        for window in config.windows
    ]
    logits = layers.Dense(2, dtype="float32")(layers.Concatenate()(features))
    model = keras.Model(tokens, logits)
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=config.compile,
    )
    return lambda tokens, labels: float(model.train_on_batch(tokens, labels))


def paddlepaddle_peer(config):
    """paddle.nn's layers and Adam, the forward pass through to_static where --compile asks."""
    import paddle
    from paddle import nn

    class Network(nn.Layer):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
            self.convolutions = nn.LayerList(
                [
                    nn.Conv1D(config.embedding_size, config.num_filters, window, padding="SAME")
                    for window in config.windows
                ]
            )
            self.pool = nn.AdaptiveMaxPool1D(1)
            self.classifier = nn.Linear(len(config.windows) * config.num_filters, 2)

        def forward(self, tokens):
            x = self.embedding(tokens).transpose([0, 2, 1])
            x = [self.pool(nn.functional.elu(layer(x))) for layer in self.convolutions]
            return self.classifier(paddle.concat(x, axis=1).squeeze(2))

    model = Network()
    optimizer = paddle.optimizer.Adam(config.learning_rate, parameters=model.parameters())
    forward = paddle.jit.to_static(model) if config.compile else model

    def step(tokens, labels):
        loss = nn.functional.cross_entropy(
            forward(paddle.to_tensor(tokens)), paddle.to_tensor(labels)
        )
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


def draw_reviews(config, lengths, rng):
    """[int32 [L]]: reviews of drawn words.

    lengths: "equal", 232 words each; or "imdb", log-normal with IMDB's mean and longest.
    """
    if lengths == "equal":
        counts = [232] * config.batch_size
    else:
        counts = np.clip(rng.lognormal(5.22, 0.65, config.batch_size), 10, 2500).astype(int)
    return [rng.integers(0, config.vocabulary_size, n).astype(np.int32) for n in counts]


def pad(reviews):
    """int32 [B, longest], as the peers want them."""
    padded = np.zeros([len(reviews), max(len(review) for review in reviews)], np.int32)
    for row, review in zip(padded, reviews):
        row[: len(review)] = review
    return padded


def main(argv):
    values = command.define_flags("batch_size", REFERENCE.batch_size, "reviews", ROUNDS)
    name = command.parse(values, argv, PEERS, ROUNDS)
    config = command.configure(REFERENCE, values, "batch_size")
    framework, train = command.start("sentiment_analysis", name, config)
    trainer = train.Trainer(config, initial_parameters(config))
    our_step, peer_step = command.training_step(framework, trainer), PEERS[name](config)
    steps = {
        "ours": lambda batch: our_step(data.pack(config, *batch)),
        "peer": lambda batch: peer_step(pad(batch[0]), batch[1]),
    }
    figures = []
    for lengths in ("equal", "imdb"):
        rng = np.random.default_rng(1)
        batches = [
            (draw_reviews(config, lengths, rng), rng.integers(0, 2, config.batch_size))
            for _ in range(values.warmup + values.steps)
        ]
        seconds = command.alternate(framework, steps, batches, values.warmup)
        figures += timing.report(f"{name} {lengths}", seconds, config.batch_size, "reviews")
        packed = np.mean([data.efficiency(config, data.pack(config, *b)) for b in batches])
        padded = np.mean([sum(map(len, reviews)) / pad(reviews).size for reviews, _ in batches])
        print(f"{name} {lengths} words' share: ours {packed:.2f}, peer {padded:.2f}", flush=True)
    command.write(values, "sentiment_analysis", name, figures)


if __name__ == "__main__":
    command.run(main)
