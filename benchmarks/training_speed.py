"""Full-size ResNet-50 training steps against each framework's best-known ResNet-50, in one run.

    common/in_environment.sh image_classification pytorch -m benchmarks.training_speed pytorch

Ours and the peer's steps alternate, on the same batch size and precision, so that whatever else the
machine does falls on both; each starts from the reader's bytes and labels.  Prints the median step
of each, and the ratio: above 1, ours is faster.
Peers: timm's resnet50; keras.applications.ResNet50; paddle.vision.models.resnet50 under to_static.
"""

import dataclasses
import importlib
import sys
import time

import numpy as np
from absl import flags

from image_classification.config import REFERENCE
from image_classification.parameters import initial_parameters


def pytorch_peer(config, images, labels):
    """timm's resnet50 as its own train script drives it: eager, or compiled as a whole."""
    import torch

    if not torch.cuda.is_available():
        # timm imports torchvision, whose operators may lack a build for the CPU; none is used here.
        missing = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            missing.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
    import timm

    model = timm.create_model("resnet50", num_classes=config.num_classes).to(config.device).train()
    layout = torch.channels_last if config.peer_channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    forward = torch.compile(model) if config.compile else model

    def step():
        optimizer.zero_grad()
        pixels = torch.from_numpy(images).to(config.device).permute(0, 3, 1, 2).float()
        pixels = pixels.contiguous(memory_format=layout)
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = forward(pixels)
        targets = torch.from_numpy(labels).to(config.device)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tensorflow_peer(config, images, labels):
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
    return lambda: float(model.train_on_batch(images.astype(np.float32), labels))


def paddlepaddle_peer(config, images, labels):
    """paddle.vision's resnet50, its forward pass through to_static."""
    import paddle

    model = paddle.jit.to_static(paddle.vision.models.resnet50(num_classes=config.num_classes))
    optimizer = paddle.optimizer.Momentum(
        0.1, 0.9, parameters=model.parameters(), weight_decay=1e-4
    )

    def step():
        pixels = paddle.to_tensor(images).astype("float32").transpose([0, 3, 1, 2])
        loss = paddle.nn.functional.cross_entropy(model(pixels), paddle.to_tensor(labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def main(argv):
    values = flags.FlagValues()
    flags.DEFINE_integer("batch_size", 16, "images a step", flag_values=values)
    flags.DEFINE_integer("steps", 7, "measured steps of each", flag_values=values)
    flags.DEFINE_string("device", "cpu", "cpu or cuda", values)
    flags.DEFINE_string("precision", "fp32", "fp32 or bf16", values)
    flags.DEFINE_boolean("compile", False, "compile both", values)
    flags.DEFINE_boolean("channels_last", False, "give timm channels-last memory too", values)
    name = values(["", *argv])[1]
    config = dataclasses.replace(
        REFERENCE,
        seed=1,
        batch_size=values.batch_size,
        device=values.device,
        precision=values.precision,
        compile=values.compile,
    )
    framework = importlib.import_module(f"common.frameworks.{name}")
    framework.start(config)
    rng = np.random.default_rng(1)
    size = (config.batch_size, config.image_size, config.image_size, 3)
    images = rng.integers(0, 256, size).astype(np.uint8)
    labels = rng.integers(0, config.num_classes, config.batch_size)
    trainer = importlib.import_module(f"image_classification.{name}.train").Trainer(
        config, initial_parameters(config)
    )
    object.__setattr__(config, "peer_channels_last", values.channels_last)
    peer = globals()[f"{name}_peer"](config, images, labels)
    batch = {"images": images, "labels": labels}

    def ours():
        return float(framework.get(trainer.train_step(batch, 1)))

    seconds = {"ours": [], "peer": []}
    for index in range(values.steps + 2):
        for who, step in (("ours", ours), ("peer", peer)):
            started = time.perf_counter()
            step()
            if index >= 2:  # the first two build graphs and warm up
                seconds[who].append(time.perf_counter() - started)
    medians = {who: float(np.median(times)) for who, times in seconds.items()}
    for who, median in medians.items():
        print(f"{name} {who}: {median:.3f} s a step, {config.batch_size / median:.1f} images/s "
              f"(range {min(seconds[who]):.3f} to {max(seconds[who]):.3f})")
    print(f"{name} ratio peer / ours: {medians['peer'] / medians['ours']:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
