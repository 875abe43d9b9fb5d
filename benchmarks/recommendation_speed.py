"""Full-size NeuMF training steps against each framework's tutorial style, in one run.

    common/in_environment.sh recommendation pytorch -m benchmarks.recommendation_speed pytorch

138,493 users, 26,744 items, batches of 2,048 pairs, dense gradients.  Ours and the peer's steps
alternate, on the same batches, so that whatever else the machine does falls on both.  Prints the
median step of each, and the ratio: above 1, ours is faster.  Peers: Embedding and Linear layers
with the optimizer's own defaults; Keras layers through train_on_batch.  --peer=recbole takes
RecBole's NeuMF in PyTorch (benchmarks/requirements.txt).
"""

import dataclasses
import importlib
import itertools
import sys
import time

import numpy as np
from absl import flags

from recommendation.config import REFERENCE
from recommendation.parameters import initial_parameters


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

    def step(batch):
        tensors = {n: torch.from_numpy(array).to(config.device) for n, array in batch.items()}
        optimizer.zero_grad()
        loss = criterion(model(tensors["users"], tensors["items"]), tensors["labels"])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def recbole_peer(config):
    """RecBole's NeuMF, the model class alone, in a loop like its own trainer's."""
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
    logits = layers.Dense(1)(layers.Concatenate()([mf, mlp]))
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
    """nn.Embedding, nn.Linear, Adam as its documentation calls it."""
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

    def step(batch):
        tensors = {name: paddle.to_tensor(array) for name, array in batch.items()}
        loss = criterion(model(tensors["users"], tensors["items"]), tensors["labels"])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def batches_of(config, count):
    """Batches of random pairs, a fifth of them positive."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield {
            "users": rng.integers(0, config.num_users, config.batch_size),
            "items": rng.integers(0, config.num_items, config.batch_size),
            "labels": (rng.random(config.batch_size) < 0.2).astype(np.float32),
        }


def main(argv):
    values = flags.FlagValues()
    flags.DEFINE_integer("batch_size", REFERENCE.batch_size, "pairs a step", flag_values=values)
    flags.DEFINE_integer("steps", 40, "measured steps of each", flag_values=values)
    flags.DEFINE_string("device", "cpu", "cpu or cuda", values)
    flags.DEFINE_boolean("compile", False, "compile both", values)
    flags.DEFINE_string("peer", None, "recbole: that, in place of the tutorial's", values)
    name = values(["", *argv])[1]
    config = dataclasses.replace(
        REFERENCE,
        seed=1,
        batch_size=values.batch_size,
        device=values.device,
        compile=values.compile,
    )
    framework = importlib.import_module(f"common.frameworks.{name}")
    framework.start(config)
    trainer = importlib.import_module(f"recommendation.{name}.train").Trainer(
        config, initial_parameters(config)
    )

    def ours(batch):
        return float(framework.get(trainer.train_step(batch, 1)))

    peer = globals()[f"{values.peer or name}_peer"](config)
    seconds = {"ours": [], "peer": []}
    for index, batch in enumerate(batches_of(config, values.steps + 3)):
        for who, step in (("ours", ours), ("peer", peer)):
            started = time.perf_counter()
            step(batch)
            if index >= 3:  # the first build graphs and warm up
                seconds[who].append(time.perf_counter() - started)
    medians = {who: float(np.median(times)) for who, times in seconds.items()}
    for who, median in medians.items():
        print(f"{name} {who}: {median * 1e3:.1f} ms a step, {config.batch_size / median:,.0f} "
              f"pairs/s (range {min(seconds[who]) * 1e3:.1f} to {max(seconds[who]) * 1e3:.1f})")
    print(f"{name} ratio peer / ours: {medians['peer'] / medians['ours']:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
