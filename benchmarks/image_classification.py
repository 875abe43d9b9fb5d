"""ResNet-50's training step, and the image reader, against the best-known peers, in one run.

    common/in_environment.sh image_classification FRAMEWORK \\
        -m benchmarks.image_classification FRAMEWORK [--measure=reader]

training: full-size steps of ours and of the peer, of the same batch size and precision; each starts
from the reader's bytes and labels.  Peers: timm's resnet50; keras.applications.ResNet50;
paddle.vision.models.resnet50 under to_static.  timm's is measured in channels-last memory, the
layout in which it is fastest; --nochannels_last gives it the contiguous one, its own default.

reader, in PyTorch's environment: epochs of our batches and of PyTorch's DataLoader from the same
files.  Both call image_classification.data.train_image for every image, so what differs is who
schedules and collates.  The first batch, which holds the start of worker processes, is timed apart:
a run pays for ours once, as it keeps them.
"""

import dataclasses
import functools
import os
import tempfile

import numpy as np
from absl import flags
from PIL import Image

from benchmarks import command
from common import timing
from common.errors import UserError
from image_classification import data
from image_classification.config import REFERENCE
from image_classification.parameters import initial_parameters

ROUNDS = {"training": 7, "reader": 5}


def pytorch_peer(config, channels_last=True):
    """timm's resnet50 as its own train script drives it: eager, or compiled as a whole."""
    command.need("timm")
    import torch

    if not torch.cuda.is_available():
        # timm imports torchvision, whose operators may lack a build for the CPU; none is used here.
        missing = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            missing.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
    import timm

    model = timm.create_model("resnet50", num_classes=config.num_classes).to(config.device).train()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    forward = torch.compile(model) if config.compile else model

    def step(batch):
        optimizer.zero_grad()
        pixels = torch.from_numpy(batch["images"]).to(config.device).permute(0, 3, 1, 2).float()
        pixels = pixels.contiguous(memory_format=layout)
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = forward(pixels)
        targets = torch.from_numpy(batch["labels"]).to(config.device)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tensorflow_peer(config):
    """keras.applications.ResNet50 through compile() and train_on_batch, a graph of its own."""
    import keras

    if config.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = keras.applications.ResNet50(weights=None, classes=config.num_classes)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-4),
        loss="sparse_categorical_crossentropy",
        jit_compile=config.compile,
    )
    return lambda batch: float(
        model.train_on_batch(batch["images"].astype(np.float32), batch["labels"])
    )


def paddlepaddle_peer(config):
    """paddle.vision's resnet50, its forward pass through to_static."""
    import paddle

    model = paddle.jit.to_static(paddle.vision.models.resnet50(num_classes=config.num_classes))
    optimizer = paddle.optimizer.Momentum(
        0.1, 0.9, parameters=model.parameters(), weight_decay=1e-4
    )

    def step(batch):
        pixels = paddle.to_tensor(batch["images"]).astype("float32").transpose([0, 3, 1, 2])
        targets = paddle.to_tensor(batch["labels"])
        loss = paddle.nn.functional.cross_entropy(model(pixels), targets)
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


def measure_training(name, config, values):
    """Times training steps on one batch of noise.  Returns the figures."""
    framework, train = command.start("image_classification", name, config)
    rng = np.random.default_rng(1)
    size = (config.batch_size, config.image_size, config.image_size, 3)
    batch = {
        "images": rng.integers(0, 256, size).astype(np.uint8),
        "labels": rng.integers(0, config.num_classes, config.batch_size),
    }
    trainer = train.Trainer(config, initial_parameters(config))
    layout = {"channels_last": values.channels_last} if name == "pytorch" else {}
    steps = {
        "ours": command.training_step(framework, trainer),
        "peer": PEERS[name](config, **layout),
    }
    batches = [batch] * (values.warmup + values.steps)
    seconds = command.alternate(framework, steps, batches, values.warmup)
    return timing.report(name, seconds, config.batch_size, "images")


def write_images(folder, count):
    """An ImageNet folder of two classes: smooth noise, about 400 x 350 pixels."""
    rng = np.random.default_rng(0)
    for split, images in (("train", count), ("val", 2)):
        for name in ("n01", "n02"):
            os.makedirs(os.path.join(folder, split, name))
        for number in range(images):
            width, height = rng.integers(350, 451), rng.integers(300, 401)
            coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            name = f"n0{number % 2 + 1}"
            image.save(os.path.join(folder, split, name, f"{name}_{number}.JPEG"), quality=92)


class Dataset:
    """What DataLoader wants: one example of the first epoch by its place."""

    def __init__(self, config):
        self.config = config

    def __len__(self):
        return self.config.num_train_images

    def __getitem__(self, number):
        paths, labels = data.list_images(self.config.data_dir, "train", self.config.num_classes)
        return data.train_image(self.config, paths[number], 1, number), labels[number]


def our_batches(config, workers):
    """Our batches of an epoch; with no workers, one thread."""
    return data.batches(config, "train", 1).stream(workers=workers, threads=1)


def peer_batches(config, workers):
    """The same many batches from DataLoader, shuffled."""
    import torch

    torch.set_num_threads(1)  # as ours; else collating waits for whoever has the other cores

    return iter(
        torch.utils.data.DataLoader(
            Dataset(config),
            config.batch_size,
            shuffle=True,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,  # as ours: safe beside threads
        )
    )


def measure_reader(name, config, values):
    """Times epochs of reading, with one thread and with two processes.  Returns the figures."""
    if name != "pytorch":
        raise UserError("--measure=reader: the peer is PyTorch's DataLoader. Say pytorch.")
    with tempfile.TemporaryDirectory() as folder:
        write_images(folder, values.batches * config.batch_size)
        config = data.prepare(
            dataclasses.replace(
                config,
                data_dir=folder,
                num_classes=2,
                num_train_images=None,
                num_eval_images=None,
            )
        )
        figures = []
        for workers in (0, 2):
            label = f"{workers} processes" if workers else "1 thread"
            figures += compare_readers(f"reader, {label},", config, workers, values)
        return figures


def compare_readers(label, config, workers, values):
    """Times our reader and DataLoader.  Returns the figures: first batch, the others, all."""
    epochs = {}

    def first_batch(who, read):
        epochs[who] = read(config, workers)
        next(epochs[who])

    def other_batches(who):
        for _ in epochs.pop(who):
            pass

    candidates = {}
    for who, read in (("ours", our_batches), ("peer", peer_batches)):
        candidates[who, "first"] = functools.partial(first_batch, who, read)
        candidates[who, "others"] = functools.partial(other_batches, who)
    found = timing.alternate(candidates, values.steps, values.warmup)
    first = {who: found[who, "first"] for who in ("ours", "peer")}
    others = {who: found[who, "others"] for who in ("ours", "peer")}
    whole = {who: first[who] + others[who] for who in ("ours", "peer")}
    size = config.batch_size
    return [
        *timing.report(f"{label} first batch:", first, size, "images"),
        *timing.report(f"{label} other batches:", others, size * (values.batches - 1), "images"),
        *timing.report(f"{label} whole epoch:", whole, size * values.batches, "images"),
    ]


def main(argv):
    values = command.define_flags("batch_size", 16, "images", ROUNDS)
    flags.DEFINE_boolean("channels_last", True, "timm's memory layout", values)
    flags.DEFINE_integer("batches", 50, "reader: batches an epoch", 2, flag_values=values)
    name = command.parse(values, argv, PEERS, ROUNDS)
    config = command.configure(REFERENCE, values, "batch_size")
    measure = {"training": measure_training, "reader": measure_reader}[values.measure]
    figures = measure(name, config, values)
    command.write(values, "image_classification", name, figures)


if __name__ == "__main__":
    command.run(main)
