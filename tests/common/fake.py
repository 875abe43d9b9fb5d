"""Logs and runs for tests, without a framework: the real RunLog and Run, a trainer of four numbers.
"""

import concurrent.futures
import dataclasses
import functools
import threading

import numpy as np

from common import benchmark
from common.data.batches import Batches, in_order, mixed_epochs
from common.mllog import RunLog
from common.quality import Quality
from common.run import Run

# The sizes that a run's own data have here: 16 examples to train on, 8 to evaluate.
IMAGES = {"num_train_images": 16, "num_eval_images": 8, "batch_size": 4, "eval_batch_size": 4}


class Framework:
    """The adapter of a framework that has no tensors; with two processes, the other does alike."""

    def __init__(self, rank=0, processes=1):
        self.own_rank = rank
        self.processes = processes

    def rank(self):
        return self.own_rank

    def world_size(self):
        return self.processes

    def synchronize(self):
        pass

    def gather(self, value):
        return [value] * self.processes

    def get(self, tensor):
        return np.asarray(tensor)

    def describe(self):
        return {"framework": "none", "version": "0", "device": "cpu", "threads": 1,
                "environment": {}}

    def peak_memory_bytes(self):
        return 1


class Together(Framework):
    """The adapter of a process among others, which are threads here: `gather` waits for all."""

    def __init__(self, rank, processes, barrier, values):
        """barrier, values: the same of all: a threading.Barrier, and a list of as many."""
        super().__init__(rank, processes)
        self.barrier = barrier
        self.values = values

    def gather(self, value):
        self.values[self.own_rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found


class Trainer:
    """Four numbers that every step changes."""

    def __init__(self):
        self.numbers = np.zeros(4, np.float32)

    def train_step(self, batch, step):
        self.numbers = self.numbers + batch["numbers"].sum()
        return 1.0 / (step + 1)

    def state(self):
        return {"parameter": {"numbers": self.numbers}}

    def load_state(self, state):
        self.numbers = state["parameter"]["numbers"]


def quality(*names, higher_is_better=True, beside=lambda records: {}):
    """The Quality of a network that predicts its own values: each example has all of them."""

    def score(records):
        found = np.concatenate(records).max(axis=0).tolist()  # they are all equal
        return tuple(found) if len(names) > 1 else found[0]

    return Quality(
        names,
        higher_is_better,
        compare=lambda predictions, batch: predictions,
        score=score,
        count=lambda records: sum(map(len, records)),
        beside=beside,
    )


def config_of(folder, profile="quick", **changes):
    """An image_classification config, whose data are sixteen numbers."""
    module = benchmark.module("image_classification", "config")
    base = module.REFERENCE if profile == "reference" else module.QUICK
    defaults = {"application": "image_classification", "framework": "pytorch", "seed": 1,
                "output_dir": str(folder), "workers": 0} | IMAGES
    return dataclasses.replace(base, **defaults | changes)


def read(numbers):
    return {"numbers": numbers.astype(np.float32)}


def batches(epoch):
    """The Batches of an epoch, and behind it of all that follow."""
    return Batches(mixed_epochs(16, 4, epoch), read,
                   following=functools.partial(batches, epoch + 1))


def run(config, values, framework=None, before_step=None, names=("top1_accuracy",), counts=(),
        **more):
    """Runs any application's config to the end, on the data of IMAGES.  Returns the Run.

    values: the score of each epoch; where there are several names, one for each of them.
    before_step(run): called before each step.  counts: the Benchmark's.  more: of `quality`.
    """
    metric = quality(*names, **more)
    facts = dataclasses.replace(
        benchmark.benchmark_of(config.application), quality=lambda config: metric,
        counts=dict(counts),
    )
    with Run(config, facts, framework or Framework()) as running:
        trainer = Trainer()
        running.restore(trainer)
        for epoch in running.epochs():
            for batch in running.batches(batches(epoch)):
                if before_step:
                    before_step(running)
                running.step(trainer.train_step(batch, running.steps))

            def predict(batch, epoch=epoch):
                return np.tile(values[epoch - 1], (len(batch["numbers"]), 1))

            size = getattr(config, "eval_batch_size", 4)
            running.evaluate(predict, Batches(in_order(8, size), read))
        return running


def run_together(configs, values):
    """Runs a config for each process.  Returns what each has ended with: a Run, or its exception.

    The thread of process R is named R.
    """
    shared = threading.Barrier(len(configs), timeout=30), [None] * len(configs)

    def one(rank):
        threading.current_thread().name = str(rank)
        return run(configs[rank], values, Together(rank, len(configs), *shared))

    with concurrent.futures.ThreadPoolExecutor(len(configs)) as pool:
        futures = [pool.submit(one, rank) for rank in range(len(configs))]
        return [future.exception() or future.result() for future in futures]


ADAM = {"opt_name": "adam", "opt_base_learning_rate": 0.001, "opt_adam_beta_1": 0.9,
        "opt_adam_beta_2": 0.999, "opt_adam_epsilon": 1e-8}  # fmt: skip
SIZES = {"global_batch_size": 32, "train_samples": 100, "eval_samples": 10,
         "gradient_accumulation_steps": 1}  # fmt: skip


def events(name="seq_cnn", division="closed", values=(0.5, 0.91)):
    """[(key, value, metadata)] of a good run, an evaluation after each epoch."""
    found = [("submission_benchmark", name, {}), ("submission_division", division, {}),
             ("submission_org", "reference", {}), ("submission_platform", "cpu", {}),
             ("submission_status", "research", {}),
             ("cache_clear", division == "closed", {}),
             ("init_start", None, {}), ("seed", 1, {})]
    found += [(key, value, {}) for key, value in (SIZES | ADAM).items()]
    found += [("init_stop", None, {}), ("run_start", None, {})]
    for epoch, value in enumerate(values, 1):
        found += [
            ("block_start", None, {"first_epoch_num": epoch, "epoch_count": 1}),
            ("epoch_start", None, {"epoch_num": epoch}),
            ("epoch_stop", None, {"epoch_num": epoch}),
            ("eval_start", None, {"epoch_num": epoch}),
            ("eval_accuracy", value, {"epoch_num": epoch}),
            ("eval_stop", None, {"epoch_num": epoch}),
            ("block_stop", None, {"first_epoch_num": epoch}),
        ]
    return found + [("run_stop", None, {"status": "success"})]


def write_log(folder, entries):
    """Writes events as run.log through mlperf-logging, whatever their order.  Returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / "run.log"
    log = RunLog(str(path), True)
    log._check = lambda key, metadata: None
    for key, value, metadata in entries:
        log.event(key, value, **metadata)
    log.close()
    return path
