"""Whole training steps beside the sums of their kernels: the bridge.  See common/bridge.py."""

import dataclasses
import importlib
import itertools

import numpy as np

from common import benchmark, bridge, timing
from common.errors import UserError
from common.timing import duration

SECONDS = 30.0           # for a step's samples where no budget says otherwise
GOAL = 1.25              # a step takes at most as many times its kernels
SHOWN = 3                # kernels of a step that are farthest from their roof


def batch_of(name, config):
    """(config with counts, a batch of full size, its sizes): that of parity, without a dataset."""
    config = dataclasses.replace(config, application=name, seed=1)
    config, (batch,) = benchmark.module(name, "parity").training(config, 1)
    return config, batch, benchmark.module(name, "kernels").batch_sizes(config, batch)


def time_step(name, framework, config, batch, sizes, budget):
    """An entry of "steps" in kernels.json.  framework: its name.  Raises UserError.

    The batch goes to the device in each step, as in training.
    """
    adapter = importlib.import_module(f"common.frameworks.{framework}")
    adapter.start(config)
    trainer = importlib.import_module(f"{name}.{framework}.train").Trainer(
        config, benchmark.module(name, "parameters").initial_parameters(config))
    numbers = itertools.count()

    def step():
        loss = float(adapter.get(trainer.train_step(batch, next(numbers))))
        if not np.isfinite(loss):
            raise UserError(f"{name}: the loss of a step is {loss}: its time says nothing.")

    measured = timing.sample(step, budget, finish=adapter.synchronize)
    words = ", ".join(f"{number} {size}" for size, number in sizes.items())
    return {"suite": name, "batch": words, "seconds": measured.median(),
            "interval": measured.interval(), "narrow": measured.narrow,
            "samples": measured.seconds.tolist()}


def lost(row, roof):
    """Seconds of a step that a kernel spends beyond its roof; none of what has no time."""
    if row["seconds"] is None:
        return 0.0
    least = max(row["flops"] / roof["flops_per_second"], row["bytes"] / roof["bytes_per_second"])
    return row["count"] * max(0.0, row["seconds"] - least)


def table(content):
    """Lines: of each step its kernels by kind, what is outside them, and where it loses most."""
    lines = []
    for step, kinds, missing in bridge.steps(content):
        total = sum(kinds.values())
        ratio = step["seconds"] / total if total else float("inf")
        judged = "within" if ratio <= GOAL else "beyond"
        without = f"; rows without a time: {missing}" if missing else ""
        lines.append(f"{step['suite']} ({step['batch']}): step {duration(step['seconds'])}, its "
                     f"kernels {duration(total)}: {ratio:.2f} times, {judged} {GOAL}{without}")
        parts = kinds | {bridge.OUTSIDE: max(0.0, step["seconds"] - total)}
        for kind, seconds in parts.items():
            lines.append(f"  {kind:<22} {duration(seconds):>8} {seconds / step['seconds']:>5.0%}")
        own = [row for row in content["kernels"] if row["suite"] == step["suite"]]
        own.sort(key=lambda row: -lost(row, content["roof"]))
        for row in own[:SHOWN]:
            seconds = lost(row, content["roof"])
            if seconds:
                lines.append(f"  {duration(seconds)} beyond the roof: row {row['number']}, "
                             f"{row['kind']} {row['direction']}, {row['problem']}, "
                             f"{row['count']} times ({row['layers'][0]})")
    return lines
