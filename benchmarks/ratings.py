"""Time and memory to prepare a file of MovieLens-20M's size; what sampling costs beside a step.

    common/in_environment.sh recommendation pytorch -m benchmarks.ratings pytorch

Generates a ratings.csv of as many users, films and ratings (--folder keeps it), prepares it, and
then trains the reference network for some steps: from batches made beforehand, and from batches
made while it trains, as in a run.
"""

import dataclasses
import importlib
import itertools
import os
import resource
import sys
import tempfile
import time

import numpy as np
from absl import flags

from recommendation import data
from recommendation.config import REFERENCE
from recommendation.parameters import initial_parameters


def write(folder, config):
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


def median_seconds(step, batches):
    """The median time between two steps' ends, the first three left out."""
    ends = []
    for number, batch in enumerate(batches):
        step(batch, number)
        ends.append(time.perf_counter())
    return float(np.median(np.diff(ends)[3:]))


def main(argv):
    values = flags.FlagValues()
    flags.DEFINE_string("folder", None, "keep the file here, or take it from here", values)
    flags.DEFINE_integer("steps", 60, "measured steps", flag_values=values)
    flags.DEFINE_string("device", "cpu", "cpu or cuda", values)
    name = values(["", *argv])[1]
    config = dataclasses.replace(REFERENCE, seed=1, device=values.device)
    with tempfile.TemporaryDirectory() as temporary:
        folder = values.folder or temporary
        if not os.path.exists(data.path_of(folder)):
            in_child(write, folder, config)
        size = os.path.getsize(data.path_of(folder)) / 1e6
        started = time.perf_counter()
        config = data.prepare(dataclasses.replace(config, data_dir=folder))
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"prepared {config.num_ratings:,} ratings, {size:.0f} MB: {seconds:.1f} s, "
              f"peak memory {peak:.2f} GiB")
        measure_batches(config)
        measure_steps(config, name, values.steps)


def measure_batches(config):
    """Prints what the batches cost by themselves, on one thread."""
    started = time.perf_counter()
    batches = data.batches(config, "train", 1)
    first = batches.read(batches.indices[0])
    print(f"first batch, with the order of {len(batches) * len(first['users']):,} pairs: "
          f"{time.perf_counter() - started:.1f} s, once an epoch")
    for split, some in (("train", 200), ("test", 20)):
        batches = data.batches(config, split, 1)
        started = time.perf_counter()
        for indices in batches.indices[1 : some + 1]:
            batches.read(indices)
        each = (time.perf_counter() - started) / some
        print(f"{split} batch: {each * 1e3:.2f} ms, an epoch's {len(batches):,}: "
              f"{each * len(batches):.0f} s on one thread")


def measure_steps(config, name, num_steps):
    """Prints the time of a step, from batches made beforehand and from batches made meanwhile."""
    framework = importlib.import_module(f"common.frameworks.{name}")
    framework.start(config)
    trainer = importlib.import_module(f"recommendation.{name}.train").Trainer(
        config, initial_parameters(config)
    )

    def step(batch, number):
        framework.get(trainer.train_step(batch, number))

    batches = data.batches(config, "train", 1)
    ready = list(itertools.islice(batches.stream(), num_steps))
    alone = median_seconds(step, ready)
    together = median_seconds(step, itertools.islice(batches.stream(), num_steps))
    print(f"{name} step: {alone * 1e3:.1f} ms from batches made before, {together * 1e3:.1f} ms "
          f"with their making: sampling's share {max(0.0, 1 - alone / together):.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
