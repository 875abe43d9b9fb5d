"""Our image reader against PyTorch's DataLoader, in one run, on the same files and transforms.

    common/in_environment.sh image_classification pytorch -m benchmarks.reader

Both call image_classification.data.train_image for every image, so what differs is who schedules
and collates.  Rounds alternate, so that whatever else the machine does falls on both; the median of
the rounds is printed, the start of worker processes left out and, in the last column, included.
"""

import dataclasses
import os
import sys
import tempfile
import time

import numpy as np
from absl import flags
from PIL import Image

from image_classification import data
from image_classification.config import REFERENCE


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


def ours(config, workers):
    """Our batches of an epoch; with no workers, one thread."""
    return data.batches(config, "train", 1).stream(workers=workers, threads=1)


def theirs(config, workers):
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


def measure(batches):
    """(images per second after the first batch, seconds to the first batch, both in all)."""
    started = time.perf_counter()
    next(batches)
    first = time.perf_counter()
    count = sum(1 for _ in batches)
    ended = time.perf_counter()
    return count / (ended - first), first - started, (count + 1) / (ended - started)


def main(argv):
    values = flags.FlagValues()
    flags.DEFINE_integer("images", 1600, "images an epoch", flag_values=values)
    flags.DEFINE_integer("batch_size", 32, "images a batch", flag_values=values)
    flags.DEFINE_integer("rounds", 3, "of each", flag_values=values)
    values(["", *argv])
    with tempfile.TemporaryDirectory() as folder:
        write_images(folder, values.images)
        config = data.prepare(
            dataclasses.replace(
                REFERENCE,
                seed=1,
                data_dir=folder,
                num_classes=2,
                num_train_images=None,
                num_eval_images=None,
                batch_size=values.batch_size,
            )
        )
        print("readers            who     images/s  first batch s  whole epoch images/s")
        for workers in (0, 2):
            found = {"ours": [], "theirs": []}
            for _ in range(values.rounds):
                for who, read in (("ours", ours), ("theirs", theirs)):
                    found[who].append(measure(read(config, workers)))
            label = f"{workers} processes" if workers else "1 thread"
            medians = {who: np.median(rounds, axis=0) for who, rounds in found.items()}
            for who, (speed, first, whole) in medians.items():
                speed, whole = speed * config.batch_size, whole * config.batch_size
                print(f"{label:<18} {who:<7} {speed:>8.0f}  {first:>13.2f}  {whole:>20.0f}")
            ratio = medians["ours"] / medians["theirs"]
            print(f"{label:<18} ratio   {ratio[0]:>8.2f}  {'':>13}  {ratio[2]:>20.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
