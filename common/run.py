"""One timed run: the clock, the log's events in the rules' order, evaluation, saving, stopping.

The rules: MLPerf Training v0.7 (times), v0.5 (targets, frequency); see mllog.py for the order.
A training loop calls in; nothing calls back, and no framework is known here.
"""

import dataclasses
import math
import os
import sys
import time

import numpy as np

from common import checkpoint, results
from common.application import application_module
from common.check_log import benchmark_name
from common.errors import UserError
from common.mllog import RunLog
from common.options import MAY_CHANGE_ON_RESUME
from common.progress import progress_line

WARMUP_STEPS = 10  # steps of this process that examples per second leave out


class Run:
    """One run of one config, from init_start to the result.

        with Run(config, QUALITY, framework) as run:
            trainer = Trainer(config, initial_parameters(config))
            run.restore(trainer)
            for epoch in run.epochs():
                for batch in run.batches(data.batches(config, "train", epoch)):
                    run.step(trainer.train_step(batch, run.steps))
                run.evaluate(trainer.predict, data.batches(config, "test", epoch))
            return run.status

    steps: optimizer steps done.  status: success or aborted, once the epochs are over.
    """

    def __init__(self, config, quality, framework):
        self.config = config
        self.quality = quality
        self.framework = framework
        self.rank = framework.rank()
        self.steps = 0
        self.epoch = 0               # the one under way, or the last that was finished
        self.epoch_steps = 0         # steps done in it
        self.epoch_open = False
        self.block_open = False
        self.curve = []              # one entry an evaluation
        self.status = "aborted"
        self.resumed = 0
        self.run_start = None        # seconds since 1970
        self.init_seconds = 0.0
        self.train_seconds = 0.0     # without warm-up
        self.train_examples = 0
        self.eval_seconds = 0.0
        self.checkpoints = os.path.join(config.output_dir, "checkpoint")

    def __enter__(self):
        config = self.config
        resumed = find_resumable(config) if config.resume else None
        if not config.resume and self.rank == 0:
            claim_folder(config.output_dir)
        self.position = checkpoint.read_position(resumed) if resumed else None
        self.started = time.time()
        self.process_steps = 0
        kept = self.position["log_position"] if resumed else 0
        self.log = RunLog(os.path.join(config.output_dir, "run.log"), self.rank == 0, kept)
        if resumed:
            return self
        self.log.event("submission_benchmark", benchmark_name(config.application))
        self.log.event("submission_division", "open" if config.profile == "quick" else "closed")
        self.log.event("submission_org", "reference")
        self.log.event("submission_platform", self.framework.describe()["device"])
        self.log.event("submission_status", "research")
        self.log.event("cache_clear", False)  # nothing is flushed here: said, not pretended
        self.log.start("init_start")
        self.log.event("seed", config.seed)
        hyperparameters = application_module(config.application, "config").log_values(config)
        for key, value in hyperparameters.items():
            value, metadata = value if isinstance(value, tuple) else (value, {})
            self.log.event(key, value, **metadata)
        self.log.event("framework", self.framework.describe())
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self._finish()
        self.log.close()

    def restore(self, trainer):
        """Takes up the checkpoint of a resumed run.  Last call before the clock starts."""
        self.trainer = trainer
        if not self.position:
            return
        file = checkpoint.path(self.checkpoints, self.position["step"])
        trainer.load_state(checkpoint.load(file, trainer.state()))
        for name in ("epoch", "epoch_steps", "epoch_open", "block_open", "curve", "status",
                     "run_start", "init_seconds", "eval_seconds"):
            setattr(self, name, self.position[name])
        self.steps = self.position["step"]
        self.resumed = self.position["resumed"] + 1

    def epochs(self):
        """Yields 1, 2, ... until the target is met or the epochs are over."""
        if self.run_start is None:
            self.framework.synchronize()
            self._save()  # so that a run killed early keeps its seed
            self.log.end("init_stop")
            self.run_start = time.time()
            self.init_seconds = self.run_start - self.started
            self.log.start("run_start")
        while self.epoch_open or (self.status != "success" and self.epoch < self.config.num_epochs):
            if not self.epoch_open:
                self.epoch += 1
                self.epoch_steps = 0
                if not self.block_open:
                    self.log.start(
                        "block_start", first_epoch_num=self.epoch, epoch_count=self._block_size()
                    )
                    self.block_open = True
                    self.block_first = self.epoch
                self.log.start("epoch_start", epoch_num=self.epoch)
                self.epoch_open = True
            yield self.epoch

    def batches(self, batches):
        """This process's part of each batch of an epoch, from where the run stands."""
        self.num_steps = len(batches)
        self.measured_from = time.perf_counter()
        self.measured_examples = 0
        self.measured_steps = 0
        stream = self._stream(batches, self.epoch_steps)
        for indices, batch in zip(batches.indices[self.epoch_steps :], stream, strict=True):
            self.batch_examples = np.count_nonzero(indices >= 0)  # below 0: a batch's filling
            yield batch
        self._measure()

    def step(self, loss):
        """Counts an optimizer step; saves and shows progress when it is time."""
        self.loss = loss
        self.steps += 1
        self.epoch_steps += 1
        self.process_steps += 1
        self.measured_examples += self.batch_examples
        self.measured_steps += 1
        if self.process_steps == WARMUP_STEPS:
            self.framework.synchronize()
            self.measured_from = time.perf_counter()
            self.measured_examples = 0
            self.measured_steps = 0
        self._show_progress()
        every = self.config.checkpoint_every_steps
        if every and self.steps % every == 0:
            self._save()

    def evaluate(self, predict, batches):
        """Ends an epoch; where the rules want it, scores the whole evaluation set."""
        self._check_loss()
        self.log.end("epoch_stop", epoch_num=self.epoch)
        self.epoch_open = False
        if self._evaluates(self.epoch) or self.epoch == self.config.num_epochs:
            self.log.start("eval_start", epoch_num=self.epoch)
            started = time.perf_counter()
            value = self._score(predict, batches)
            self.eval_seconds += time.perf_counter() - started
            self.log.event("eval_accuracy", value, epoch_num=self.epoch)
            self.log.end("eval_stop", epoch_num=self.epoch)
            self.log.end("block_stop", first_epoch_num=self._block_first())
            self.block_open = False
            seconds = time.time() - self.run_start
            self.curve.append(
                {"epoch": self.epoch, "step": self.steps, "seconds": seconds, "value": value}
            )
            if self.quality.met(value, self.config.target):
                self.status = "success"
        self._save()

    def _score(self, predict, batches):
        records = [self.quality.compare(predict(batch), batch)
                   for batch in self._stream(batches, 0)]
        records = [record for part in self.framework.gather(records) for record in part]
        expected = sum(len(indices) for indices in batches.indices)
        if self.quality.count(records) != expected:
            raise RuntimeError(
                f"evaluated {self.quality.count(records)} examples, the set has {expected}"
            )
        return self.quality.score(records)

    def _stream(self, batches, first):
        config = self.config
        return batches.stream(
            first, self.rank, self.framework.world_size(), config.workers, config.threads
        )

    def _evaluates(self, epoch):
        config = self.config
        since = epoch - config.evaluate_first_epoch
        return since >= 0 and since % config.evaluate_every_epochs == 0

    def _block_size(self):
        """Epochs from the present one to the next evaluation."""
        last = self.epoch
        while not self._evaluates(last) and last < self.config.num_epochs:
            last += 1
        return last - self.epoch + 1

    def _block_first(self):
        """The first epoch of the block that ends now."""
        return self.curve[-1]["epoch"] + 1 if self.curve else 1

    def _measure(self):
        self.framework.synchronize()
        if self.process_steps > WARMUP_STEPS:
            self.train_seconds += time.perf_counter() - self.measured_from
            self.train_examples += self.measured_examples

    def _check_loss(self):
        loss = float(self.framework.get(self.loss))
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} after step {self.steps}: training diverged. "
                "Lower the learning rate with --set."
            )

    def _save(self):
        if self.rank != 0:
            return
        names = ("epoch", "epoch_steps", "epoch_open", "block_open", "curve", "status",
                 "run_start", "init_seconds", "eval_seconds", "resumed")
        position = {name: getattr(self, name) for name in names} | {
            "step": self.steps,
            "log_position": self.log.position(),
            "config": dataclasses.asdict(self.config),
        }
        checkpoint.save(self.checkpoints, self.trainer.state(), position)

    def _show_progress(self):
        now = time.perf_counter()
        due = now - getattr(self, "shown_at", 0.0) > 1.0
        if self.rank != 0 or not sys.stderr.isatty() or not due:
            return
        self.shown_at = now
        seconds = now - self.measured_from
        speed = self.measured_examples / max(seconds, 1e-9)
        steps_left = (self.config.num_epochs - self.epoch + 1) * self.num_steps - self.epoch_steps
        line = progress_line(
            epoch=self.epoch,
            num_epochs=self.config.num_epochs,
            step=self.epoch_steps,
            num_steps=self.num_steps,
            loss=float(self.framework.get(self.loss)),
            examples_per_second=speed,
            quality=self.curve[-1]["value"] if self.curve else None,
            target=self.config.target,
            metric=self.quality.name,
            seconds_left=steps_left * seconds / max(self.measured_steps, 1),
        )
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def _finish(self):
        self.log.end("run_stop", status=self.status)
        if self.rank != 0:
            return
        config = self.config
        seconds = time.time() - self.run_start
        value = self.curve[-1]["value"]
        results.write_result(
            config.output_dir,
            {
                "application": config.application,
                "framework": config.framework,
                "profile": config.profile,
                "seed": config.seed,
                "status": self.status,
                "metric": self.quality.name,
                "value": value,
                "target": config.target,
                "seconds_to_quality": seconds,
                "init_seconds": self.init_seconds,
                "seconds_evaluating": self.eval_seconds,
                "quality_curve": self.curve,
                "examples_per_second": (
                    self.train_examples / self.train_seconds if self.train_seconds else None
                ),
                "peak_memory_bytes": self.framework.peak_memory_bytes(),
                "num_processes": self.framework.world_size(),
                "versions": self.framework.describe(),
                "system": results.system_description(),
                "commit": results.commit(),
                "config": dataclasses.asdict(config),
                "resumed": self.resumed,
            },
        )
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        print(
            f"RESULT,{config.application},{config.framework},{config.seed},{seconds:.1f},"
            f"{self.quality.name}={value:.4f},{self.status}",
            flush=True,
        )


def claim_folder(folder):
    """Makes the run folder.  Raises UserError where one run's files lie already."""
    if os.path.exists(os.path.join(folder, "run.log")):
        raise UserError(
            f"{folder}: holds a run already. Go on with --resume, or choose another --output_dir."
        )
    os.makedirs(folder, exist_ok=True)


def find_resumable(config):
    """The newest checkpoint of the run folder; None where a run was killed before its first.

    Raises UserError: no run there, one that has reached its target, or one of another benchmark.
    """
    folder = config.output_dir
    if not os.path.exists(os.path.join(folder, "run.log")):
        raise UserError(f"{folder}: no run to resume. Name its folder with --output_dir.")
    saved = checkpoint.paths(os.path.join(folder, "checkpoint"))
    if not saved:
        return None
    position = checkpoint.read_position(saved[-1])
    if position["status"] == "success" and os.path.exists(os.path.join(folder, "result.json")):
        raise UserError(f"{folder}: this run has reached its target; there is nothing to resume.")
    now = dataclasses.asdict(config)
    for name, before in position["config"].items():
        # JSON has lists where the config has tuples.
        value = list(now[name]) if isinstance(now.get(name), tuple) else now.get(name)
        if name not in MAY_CHANGE_ON_RESUME and value != before:
            raise UserError(
                f"{saved[-1]}: {name} was {before}, now it is {value}. Resume with the same flags."
            )
    return saved[-1]
