"""NeuMF's full-size training step against tutorials' style, and what its data costs, in one run.

    common/in_environment.sh recommendation FRAMEWORK \\
        -m benchmarks.recommendation FRAMEWORK [--measure=data]

training: 138,493 users, 26,744 items, batches of 2,048 pairs, dense gradients; ours and the peer's
steps on the same batches.  Peers: Embedding and Linear layers with the optimizer's own defaults;
Keras layers through train_on_batch.  --peer=recbole takes RecBole's NeuMF, in PyTorch.

data: generates a ratings.csv of as many users, films and ratings (--data_dir keeps it) and prepares
it: time and memory.  Then what a batch costs by itself on one thread; and training steps on batches
made beforehand against steps on batches made meanwhile, as in a run.
"""

import dataclasses
import itertools
import os
import resource
import tempfile

import numpy as np
from absl import flags

from benchmarks import command
from common import timing
from common.errors import UserError
from recommendation import data
from recommendation.config import REFERENCE
from recommendation.parameters import initial_parameters

ROUNDS = {"training": 40, "data": 7}
STEPS_A_ROUND = 20  # data: one step is too short to tell reading ahead from reading


def pytorch_peer(config):
    """nn.Embedding, nn.Linear, Adam as its documentation calls it."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = config.mlp_sizes
            self.mf_user = nn.Embedding(config.num_users, config.mf_size)
            self.mf_item = nn.Embedding(config.num_items, config.mf_size)
            self.mlp_user = nn.Embedding(config.num_users, sizes[0] // 2)
            self.mlp_item = nn.Embedding(config.num_items, sizes[0] // 2)
            layers = []
            for before, after in itertools.pairwise(sizes):
                layers += [nn.Linear(before, after), nn.ReLU()]
            self.mlp = nn.Sequential(*layers)
            self.output = nn.Linear(config.mf_size + sizes[-1], 1)

        def forward(self, users, items):
            mf = self.mf_user(users) * self.mf_item(items)
            mlp = self.mlp(torch.cat([self.mlp_user(users), self.mlp_item(items)], dim=-1))
            return self.output(torch.cat([mf, mlp], dim=-1)).squeeze(-1)

    model = Model().to(config.device)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    forward = torch.compile(model) if config.compile else model

    def step(batch):
        tensors = {n: torch.from_numpy(array).to(config.device) for n, array in batch.items()}
        optimizer.zero_grad()
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = forward(tensors["users"], tensors["items"])
        loss = criterion(logits.float(), tensors["labels"])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def recbole_peer(config):
    """RecBole's NeuMF, the model class alone, in a loop like its own trainer's."""
    command.need("recbole")
    import torch
    from recbole.model.general_recommender.neumf import NeuMF

    class Dataset:
        def num(self, field):
            return {"user_id": config.num_users, "item_id": config.num_items}[field]

    settings = {
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_",
        "LABEL_FIELD": "label", "device": config.device, "mf_embedding_size": config.mf_size,
        "mlp_embedding_size": config.mlp_sizes[0] // 2, "dropout_prob": 0.0, "mf_train": True,
        "mlp_hidden_size": list(config.mlp_sizes[1:]), "mlp_train": True, "use_pretrain": False,
        "mf_pretrain_path": None, "mlp_pretrain_path": None,
    }  # fmt: skip
    model = NeuMF(settings, Dataset()).to(config.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)

    def step(batch):
        names = {"users": "user_id", "items": "item_id", "labels": "label"}
        tensors = {names[n]: torch.from_numpy(a).to(config.device) for n, a in batch.items()}
        optimizer.zero_grad()
        loss = model.calculate_loss(tensors)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tensorflow_peer(config):
    """Keras layers through compile() and train_on_batch."""
    import keras
    from keras import layers

    if config.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    users = keras.Input((), dtype="int64")
    items = keras.Input((), dtype="int64")
    size = config.mlp_sizes[0] // 2
    mf = layers.Multiply()([
        layers.Embedding(config.num_users, config.mf_size)(users),
        layers.Embedding(config.num_items, config.mf_size)(items),
    ])
    mlp = layers.Concatenate()([
        layers.Embedding(config.num_users, size)(users),
        layers.Embedding(config.num_items, size)(items),
    ])
    for width in config.mlp_sizes[1:]:
        mlp = layers.Dense(width, activation="relu")(mlp)
    logits = layers.Dense(1, dtype="float32")(layers.Concatenate()([mf, mlp]))
    model = keras.Model([users, items], logits)
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=config.compile,
    )
    return lambda batch: float(
        model.train_on_batch([batch["users"], batch["items"]], batch["labels"][:, None])
    )


def paddlepaddle_peer(config):
    """nn.Embedding, nn.Linear, Adam; through to_static where --compile asks."""
    import paddle
    from paddle import nn

    class Model(nn.Layer):
        def __init__(self):
            super().__init__()
            sizes = config.mlp_sizes
            self.mf_user = nn.Embedding(config.num_users, config.mf_size)
            self.mf_item = nn.Embedding(config.num_items, config.mf_size)
            self.mlp_user = nn.Embedding(config.num_users, sizes[0] // 2)
            self.mlp_item = nn.Embedding(config.num_items, sizes[0] // 2)
            layers = []
            for before, after in itertools.pairwise(sizes):
                layers += [nn.Linear(before, after), nn.ReLU()]
            self.mlp = nn.Sequential(*layers)
            self.output = nn.Linear(config.mf_size + sizes[-1], 1)

        def forward(self, users, items):
            mf = self.mf_user(users) * self.mf_item(items)
            mlp = self.mlp(paddle.concat([self.mlp_user(users), self.mlp_item(items)], axis=-1))
            return self.output(paddle.concat([mf, mlp], axis=-1)).squeeze(-1)

    model = Model()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = paddle.optimizer.Adam(config.learning_rate, parameters=model.parameters())
    forward = paddle.jit.to_static(model) if config.compile else model

    def step(batch):
        tensors = {name: paddle.to_tensor(array) for name, array in batch.items()}
        loss = criterion(forward(tensors["users"], tensors["items"]), tensors["labels"])
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
    """A batch of random pairs, a fifth of them positive."""
    return {
        "users": rng.integers(0, config.num_users, config.batch_size),
        "items": rng.integers(0, config.num_items, config.batch_size),
        "labels": (rng.random(config.batch_size) < 0.2).astype(np.float32),
    }


def measure_training(name, config, values):
    """Times training steps.  Returns the figures."""
    framework, train = command.start("recommendation", name, config)
    trainer = train.Trainer(config, initial_parameters(config))
    make_peer = recbole_peer if values.peer == "recbole" else PEERS[name]
    steps = {"ours": command.training_step(framework, trainer), "peer": make_peer(config)}
    rng = np.random.default_rng(1)
    batches = [draw_batch(config, rng) for _ in range(values.warmup + values.steps)]
    seconds = command.alternate(framework, steps, batches, values.warmup)
    return timing.report(name, seconds, config.batch_size, "pairs")


def write_ratings(folder, config):
    """Writes ratings.csv of the config's counts; activity and popularity as uneven as MovieLens's.
    """
    import pandas

    rng = np.random.default_rng(0)
    activity = rng.lognormal(0.0, 1.3, config.num_users)
    extra = config.num_ratings - config.min_ratings * config.num_users
    counts = config.min_ratings + rng.multinomial(extra, activity / activity.sum())
    popularity = (np.arange(config.num_items) + 10.0) ** -1.1
    films = np.searchsorted(np.cumsum(popularity / popularity.sum()), rng.random(counts.sum()))
    films = np.minimum(films, config.num_items - 1)
    films[rng.permutation(len(films))[: config.num_items]] = np.arange(config.num_items)
    ids = rng.choice(np.arange(1, 5 * config.num_items), config.num_items, replace=False)
    users = np.repeat(np.arange(1, config.num_users + 1), counts)
    times = np.repeat(rng.integers(800_000_000, 1_400_000_000, config.num_users), counts)
    table = pandas.DataFrame({
        "userId": users,
        "movieId": ids[films],
        "rating": rng.integers(1, 11, len(users)) / 2,
        "timestamp": times + rng.integers(0, 10**7, len(users)),
    })
    table.to_csv(os.path.join(folder, "ratings.csv"), index=False)


def in_child(function, *arguments):
    """Runs a function in a process of its own, so that its memory is not counted here."""
    child = os.fork()
    if child == 0:
        function(*arguments)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("writing the file failed")


def measure_data(name, config, values):
    """Times preparing, single batches, and steps with their making.  Returns the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        config = dataclasses.replace(config, data_dir=values.data_dir or temporary)
        if not os.path.exists(data.path_of(config.data_dir)):
            in_child(write_ratings, config.data_dir, config)
        return [
            *measure_preparing(config),
            *measure_batches(config),
            *measure_steps(name, config, values),
        ]


def measure_preparing(config):
    """Times the reading of the file, once: later the ratings are in memory."""
    seconds = timing.alternate({"prepare": lambda: data.prepare(config)}, 1, warmup=0)
    (figure,) = timing.report("data", seconds, config.num_ratings, "ratings")
    megabytes = os.path.getsize(data.path_of(config.data_dir)) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"data prepare: {megabytes:.0f} MB, peak memory {peak:.2f} GiB", flush=True)
    return [figure | {"file_megabytes": megabytes, "peak_memory_gib": peak}]


def measure_batches(config):
    """Times batches by themselves, on one thread; the first one also orders the epoch's pairs."""
    figures = []
    for split, rounds in (("train", 200), ("test", 20)):
        batches = data.batches(config, split, 1)
        indices = iter(batches.indices)

        def read(batches=batches, indices=indices):
            batches.read(next(indices))

        size = len(batches.indices[0])
        unit = "pairs" if split == "train" else "users"
        for label, number in (("first", 1), ("next", rounds)):
            seconds = timing.alternate({f"{split} batch": read}, number, warmup=0)
            figures += timing.report(f"data {label}", seconds, size, unit)
    return figures


def measure_steps(name, config, values):
    """Times rounds of steps from batches made beforehand, and from batches made meanwhile."""
    framework, train = command.start("recommendation", name, config)
    trainer = train.Trainer(config, initial_parameters(config))
    step = command.training_step(framework, trainer)
    batches = data.batches(config, "train", 1)

    def take():
        return itertools.islice(batches.stream(), STEPS_A_ROUND)

    def train_on(some):
        for batch in some:
            step(batch)
        framework.synchronize()

    ready = list(take())
    candidates = {"ready": lambda: train_on(ready), "sampling": lambda: train_on(take())}
    seconds = timing.alternate(candidates, values.steps, values.warmup)
    pairs = STEPS_A_ROUND * config.batch_size
    return timing.report(f"data {name} {STEPS_A_ROUND} steps", seconds, pairs, "pairs")


def main(argv):
    values = command.define_flags("batch_size", REFERENCE.batch_size, "pairs", ROUNDS)
    flags.DEFINE_enum("peer", "tutorial", ["tutorial", "recbole"], "training: whose", values)
    flags.DEFINE_string("data_dir", None, "data: keep ratings.csv here, or find it here", values)
    name = command.parse(values, argv, PEERS, ROUNDS)
    config = command.configure(REFERENCE, values, "batch_size")
    alone = name == "pytorch" and config.precision == "fp32" and not config.compile
    if values.peer == "recbole" and not alone:
        raise UserError("--peer=recbole: it runs in pytorch, in fp32, without --compile.")
    measure = {"training": measure_training, "data": measure_data}[values.measure]
    figures = measure(name, config, values)
    command.write(values, "recommendation", name, figures)


if __name__ == "__main__":
    command.run(main)
