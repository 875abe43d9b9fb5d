"""One timed run: the clock, the log's events in the rules' order, evaluation, saving, stopping.

The rules: MLPerf Training v0.7 (times), v0.5 (targets, frequency); see mllog.py for the order.
A training loop calls in; nothing calls back, and no framework is known here.
"""

import dataclasses
import math
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from common import benchmark, checkpoint, machine, run_folder
from common.data.batches import dealt
from common.data.reader import Reader
from common.errors import UserError, is_finite
from common.mllog import RunLog
from common.options import FREE_FIELDS, check_share, shared_fields
from common.progress import Line, Meter, progress_text
from common.quality import logged

MOST = 10**15  # of anything that a run counts


@dataclass
class Position:
    """Where a run stands: all that a checkpoint's header keeps of it, beside its config."""

    step: int = 0                    # optimizer steps done
    epoch: int = 0                   # the one under way, or the last that was finished
    epoch_steps: int = 0             # steps done in it
    epoch_open: bool = False
    block_open: bool = False
    curve: list[dict] = field(default_factory=list)   # one entry an evaluation
    status: str = "aborted"
    run_start: float | None = None   # seconds since 1970
    init_seconds: float = 0.0
    eval_seconds: float = 0.0
    resumed: int = 0                 # times


class Run:
    """One run of one config, from init_start to the result.

        with Run(config, BENCHMARK, framework) as run:
            trainer = Trainer(config, initial_parameters(config))
            run.restore(trainer)
            for epoch in run.epochs():
                for batch in run.batches(data.batches(config, "train", epoch)):
                    run.step(trainer.train_step(batch, run.steps))
                run.evaluate(trainer.predict, data.batches(config, "test", epoch))
            return run.status

    steps: optimizer steps done.  status: success or aborted, once the epochs are over.
    """

    def __init__(self, config, benchmark, framework):
        self.config = config
        self.benchmark = benchmark
        self.framework = framework
        self.quality = benchmark.quality(config)
        self.targets = self.quality.targets(config.target)
        self.rank = framework.rank()
        self.position = Position()
        self.meter = Meter(framework.synchronize)
        self.line = Line(enabled=self.rank == 0)
        self.checkpoints = run_folder.checkpoint_folder(config.output_dir)
        self.lock = None             # of the run folder
        self.resumed_from = None     # path of a checkpoint
        self.started = None          # seconds since 1970, of this process
        self.log = None
        self.trainer = None
        self.reader = None           # of all batches of the run
        self.training = None         # what it reads for training, across epochs
        self.num_steps = 0           # in an epoch
        self.batch_examples = 0      # in the batch under way
        self.counted = {}            # in the epoch, by this process: of its batches, and `note`
        self.loss = None             # of the step before
        self.saving = Saving()
        self.saved_at = time.monotonic()
        self.load = None             # of the machine, from the clock's start on
        self.own_before = 0.0        # CPU seconds of its processes on this host by then

    @property
    def steps(self):
        """Optimizer steps done."""
        return self.position.step

    @property
    def status(self):
        """success or aborted, once the epochs are over."""
        return self.position.status

    def __enter__(self):
        config = self.config
        self._check_processes()
        if self.rank == 0:
            look = run_folder.require_run if config.resume else run_folder.claim
            look(config.output_dir)
            self.lock = run_folder.Lock(config.output_dir)
        keep_bytes = self._find_resumable() if config.resume else 0
        self.started = time.time()
        self.log = RunLog(run_folder.log_path(config.output_dir), self.rank == 0, keep_bytes)
        if self.resumed_from:
            if self.rank == 0 and not log_stands_at(self.log.order, self.position):
                raise UserError(f"{self.resumed_from}: stands elsewhere than {self.log.path}. "
                                "Remove it to resume from the checkpoint before.")
            return self
        self.log.event("submission_benchmark", self.benchmark.name)
        self.log.event("submission_division", division(config, self.benchmark))
        self.log.event("submission_org", "reference")
        self.log.event("submission_platform", self.framework.describe()["device"])
        self.log.event("submission_status", "research")
        if config.clear_caches:
            self._clear_caches()
        self.log.event("cache_clear", config.clear_caches)
        self.log.start("init_start")
        self.log.event("seed", config.seed)
        for key, value in self.benchmark.log_values(
            config, self.framework.world_size()
        ).items():
            value, metadata = value if isinstance(value, tuple) else (value, {})
            self.log.event(key, value, **metadata)
        self.log.event("framework", self.framework.describe() | {
            "precision": config.precision, "workers": config.workers})
        return self

    def __exit__(self, kind, error, traceback):
        try:
            if self.reader:
                self.reader.close()
            self.saving.wait()
            if kind is None:
                self._finish()
        finally:
            self.log.close()
        if self.lock:
            self.lock.release()

    def _check_processes(self):
        """Raises UserError, on all processes: our launcher has looked, another one has not."""
        check_share(self.config, self.framework.world_size())
        first, *others = self.framework.gather(shared_fields(self.config))
        for number, fields in enumerate(others, 1):
            for name, value in first.items():
                if fields[name] != value:
                    raise UserError(f"{name} is {fields[name]} in process {number} and {value} in "
                                    "process 0. Give all processes the same flags.")

    def _clear_caches(self):
        """Clears those of each host, by its first process.  Raises UserError, on all of them."""
        hosts = self.framework.gather(machine.host())
        fault = None
        if hosts.index(hosts[self.rank]) == self.rank:
            try:
                machine.clear_caches()
            except UserError as error:
                fault = str(error)
        for found in self.framework.gather(fault):
            if found:
                raise UserError(found)

    def _find_resumable(self):
        """Takes up the position of the newest checkpoint.  Returns its length of the log."""
        self.resumed_from = run_folder.find_resumable(self.config)
        if not self.resumed_from:
            return 0
        saved = checkpoint.read_position(self.resumed_from)
        self.position = at = position_of(saved, self.quality.names, self.resumed_from)
        # The target may be another now.
        met = at.curve and self.quality.met(at.curve[-1]["quality"], self.targets)
        status = "success" if met else "aborted"
        over = met or (at.epoch >= self.config.num_epochs and not at.epoch_open)
        if over and status == at.status and run_folder.has_result(self.config.output_dir):
            reason = "has reached its target" if met else "is over: raise --max_epochs"
            raise UserError(f"{self.config.output_dir}: this run {reason}; nothing to resume.")
        at.status = status
        at.resumed += 1
        return saved["log_position"]

    def restore(self, trainer):
        """Takes up the checkpoint of a resumed run.  Last call before the clock starts."""
        self.trainer = trainer
        if self.resumed_from:
            trainer.load_state(checkpoint.load(self.resumed_from, trainer.state()))

    def epochs(self):
        """Yields 1, 2, ... until the target is met or the epochs are over."""
        at = self.position
        self.reader = Reader(self.config.workers, self.config.threads)
        self.own_before = self._own_seconds()
        self.load = machine.Load()
        if at.run_start is None:
            self.framework.synchronize()
            self._save()  # so that a run killed early keeps its seed
            self.saving.wait()
            self.log.end("init_stop")
            at.run_start = time.time()
            at.init_seconds = at.run_start - self.started
            self.log.start("run_start")
        while not self._is_over():
            if not at.epoch_open:
                at.epoch += 1
                at.epoch_steps = 0
                if not at.block_open:
                    self.log.start(
                        "block_start", first_epoch_num=at.epoch, epoch_count=self._block_size()
                    )
                    at.block_open = True
                self.log.start("epoch_start", epoch_num=at.epoch)
                at.epoch_open = True
            yield at.epoch

    def batches(self, batches):
        """This process's part of each batch of an epoch, from where the run stands.

        Where they have `following`, the next call is to bring just these.
        """
        first = self.position.epoch_steps
        self.num_steps = len(batches)
        self.counted |= dict.fromkeys(self.benchmark.counts, 0)
        self.meter.start()
        if self.training is None:
            left = self.config.num_epochs - self.position.epoch + 1
            self.training = self.reader.stream(
                batches, first, self.rank, self.framework.world_size(), left
            )
        for indices in batches.indices[first:]:
            read, batch = next(self.training)
            if not np.array_equal(read, indices):
                raise RuntimeError("these batches are not what followed those of the epoch before")
            self.batch_examples = np.count_nonzero(indices >= 0)  # below 0: a batch's filling
            for name, count in self.benchmark.counts.items():
                self.counted[name] += count(batch)
            yield batch
        if batches.following is None:
            self.training = None
        self.meter.stop()

    def note(self, counted):
        """{name: number} of this process that the log tells of the epoch, its processes' sum."""
        self.counted |= counted

    def step(self, loss):
        """Counts an optimizer step; saves and shows progress when it is time."""
        self.loss = loss
        self.position.step += 1
        self.position.epoch_steps += 1
        self.meter.step(self.batch_examples)
        if self.line.due():
            self.line.show(self._progress())
        if self.rank == 0 and self._is_to_save():
            with self.meter.paused():
                self._save()

    def _is_to_save(self):
        """Whether a checkpoint is due, by steps or by time."""
        every = self.config.checkpoint_every_steps
        minutes = self.config.checkpoint_every_minutes
        return (every and self.position.step % every == 0) or (
            minutes and time.monotonic() - self.saved_at > 60 * minutes
        )

    def evaluate(self, predict, batches):
        """Ends an epoch; where the rules want it, scores the whole evaluation set."""
        at = self.position
        told = {"loss": self._checked_loss(), "examples_per_second": self.meter.epoch_rate}
        self.log.end("epoch_stop", epoch_num=at.epoch, **told, **self._all_counted())
        self.counted = {}
        at.epoch_open = False
        if self._evaluates(at.epoch) or at.epoch == self.config.num_epochs:
            self.log.start("eval_start", epoch_num=at.epoch)
            started = time.perf_counter()
            records = self._records(predict, batches)
            values, beside = self.quality.values(records), self.quality.beside(records)
            at.eval_seconds += time.perf_counter() - started
            self.log.event("eval_accuracy", logged(values), epoch_num=at.epoch, **beside)
            self.log.end("eval_stop", epoch_num=at.epoch)
            self.log.end("block_stop", first_epoch_num=self._block_first())
            at.block_open = False
            seconds = time.time() - at.run_start
            at.curve.append(
                {"epoch": at.epoch, "step": at.step, "seconds": seconds, "quality": values}
            )
            if self.quality.met(values, self.targets):
                at.status = "success"
        # The clock stops when the target is known, before anything is saved; a run that goes on
        # with more epochs finds the log as it was before.
        log_position = self.log.position()
        if self._is_over():
            self.log.end("run_stop", status=at.status)
        self._save(log_position)

    def _is_over(self):
        at = self.position
        return at.status == "success" or (
            at.epoch >= self.config.num_epochs and not at.epoch_open
        )

    def _all_counted(self):
        """{name: how many} of the epoch's batches, over all processes; a resumed one's are new."""
        parts = self.framework.gather(self.counted) if self.counted else []
        return {name: sum(part[name] for part in parts) for name in self.counted}

    def _records(self, predict, batches):
        # Whole batches, each to one process: a part of a batch may be nothing at all, and decoding
        # takes as long for a part as for the whole.
        own = dataclasses.replace(batches, indices=dealt(
            batches.indices, self.rank, self.framework.world_size()))
        records = [self.quality.compare(predict(batch), batch)
                   for _, batch in self.reader.stream(own)]
        records = [record for part in self.framework.gather(records) for record in part]
        expected = sum(len(indices) for indices in batches.indices)
        if self.quality.count(records) != expected:
            raise RuntimeError(
                f"evaluated {self.quality.count(records)} examples, the set has {expected}"
            )
        return records

    def _evaluates(self, epoch):
        since = epoch - self.config.evaluate_first_epoch
        return since >= 0 and since % self.config.evaluate_every_epochs == 0

    def _block_size(self):
        """Epochs from the present one to the next evaluation."""
        last = self.position.epoch
        while not self._evaluates(last) and last < self.config.num_epochs:
            last += 1
        return last - self.position.epoch + 1

    def _block_first(self):
        """The first epoch of the block that ends now."""
        return self.position.curve[-1]["epoch"] + 1 if self.position.curve else 1

    def _checked_loss(self):
        """The last step's; None of a run resumed behind it.  Raises UserError for no number."""
        if self.loss is None:
            return None
        loss = float(self.framework.get(self.loss))
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} after step {self.steps}: training diverged. "
                "Lower the learning rate with --set."
            )
        return loss

    def _save(self, log_position=None):
        """log_position: what a resumed run keeps of the log; None: all that is there."""
        if self.rank != 0:
            return
        if log_position is None:
            log_position = self.log.position()
        position = dataclasses.asdict(self.position) | {
            "log_position": log_position,
            "config": dataclasses.asdict(self.config),
        }
        # A copy on the host is written beside the training, not in front of it.
        self.saving.start(self.checkpoints, self.trainer.state(), position)
        self.saved_at = time.monotonic()

    def _progress(self):
        at, meter, num_epochs = self.position, self.meter, self.config.num_epochs
        steps_left = (num_epochs - at.epoch + 1) * self.num_steps - at.epoch_steps
        return progress_text(
            epoch=at.epoch,
            num_epochs=num_epochs,
            step=at.epoch_steps,
            num_steps=self.num_steps,
            loss=float(self.framework.get(self.loss)),
            examples_per_second=meter.examples / max(meter.seconds(), 1e-9),
            values=at.curve[-1]["quality"] if at.curve else None,
            targets=self.targets,
            seconds_left=steps_left * meter.seconds() / max(meter.steps, 1),
        )

    def _own_seconds(self):
        """CPU seconds of the run's processes on this host."""
        host = machine.host()
        found = self.framework.gather((host, machine.own_seconds()))
        return sum(seconds for where, seconds in found if where == host)

    def _busiest(self):
        """{before, others}: see machine.Load; of several hosts, the largest of each."""
        others = self.load.others(self._own_seconds() - self.own_before)
        before, others = zip(*self.framework.gather((self.load.before, others)))
        known = [share for share in others if share is not None]
        return {"before": max(before), "others": max(known, default=None)}

    def _finish(self):
        at, config = self.position, self.config
        if not self.log.ended():  # where nothing was left to do but this
            self.log.end("run_stop", status=at.status)
        load = self._busiest()
        if self.rank != 0:
            return
        seconds, values = at.curve[-1]["seconds"], at.curve[-1]["quality"]
        run_folder.write_result(
            config.output_dir,
            {
                "application": config.application,
                "framework": config.framework,
                "profile": config.profile,
                "division": division(config, self.benchmark),
                "seed": config.seed,
                "status": at.status,
                "quality": values,
                "target": self.targets,
                "seconds_to_quality": seconds,
                "init_seconds": at.init_seconds,
                "seconds_evaluating": at.eval_seconds,
                "quality_curve": at.curve,
                "examples_per_second": self.meter.examples_per_second(),
                "peak_memory_bytes": self.framework.peak_memory_bytes(),
                "num_processes": self.framework.world_size(),
                "versions": self.framework.describe(),
                "system": machine.system_description(),
                "load": load,
                "commit": run_folder.commit(),
                "config": dataclasses.asdict(config),
                "resumed": at.resumed,
            },
        )
        self.line.clear()
        quality = ";".join(f"{name}={value:.4f}" for name, value in values.items())
        print(
            f"RESULT,{config.application},{config.framework},{config.seed},{seconds:.1f},"
            f"{quality},{at.status}",
            flush=True,
        )


class Saving:
    """Writes one checkpoint at a time in a thread; the next one waits for it."""

    def __init__(self):
        self.thread = None
        self.error = None

    def start(self, folder, state, position):
        """Begins to write.  Raises what went wrong with the one before."""
        self.wait()
        self.thread = threading.Thread(target=self._save, args=(folder, state, position))
        self.thread.start()

    def wait(self):
        """Until all is written.  Raises what went wrong."""
        if self.thread:
            self.thread.join()
            self.thread = None
        if self.error:
            error, self.error = self.error, None
            raise error

    def _save(self, folder, state, position):
        try:
            checkpoint.save(folder, state, position)
        except Exception as error:  # of whatever kind: `wait` raises it where it is seen
            self.error = error


def position_of(saved, metrics, path):
    """The Position in a checkpoint's header, which nobody vouches for.  Raises UserError."""
    def a(kind):
        return lambda value: isinstance(value, kind)

    def count(value):
        return type(value) is int and 0 <= value <= MOST

    right = {"curve": a(list), "status": a(str), "epoch_open": a(bool), "block_open": a(bool),
             "run_start": lambda value: value is None or is_finite(value),
             "log_position": lambda value: count(value) and value > 0,
             "init_seconds": is_finite, "eval_seconds": is_finite}  # fmt: skip
    names = [field.name for field in dataclasses.fields(Position)]
    odd = [n for n in [*names, "log_position"] if not right.get(n, count)(saved.get(n))]
    for entry in saved["curve"] if "curve" not in odd else ():
        values = entry.get("quality") if isinstance(entry, dict) else None
        if not isinstance(values, dict) or set(values) != set(metrics) or not count(
            entry.get("epoch")) or not all(map(is_finite, (*values.values(), entry.get("seconds")))
        ):
            odd.append("curve")
    if odd:
        raise UserError(f"{path}: its header's {odd[0]} is none of a run of this program. Remove "
                        "it to resume from the checkpoint before.")
    return Position(**{name: saved[name] for name in names})


def log_stands_at(order, at):
    """Whether a log of this Order is that of a run at this Position."""
    block_first = at.curve[-1]["epoch"] + 1 if at.curve else 1
    if at.epoch_open:
        last = "epoch_start"
    elif at.block_open:
        last = "epoch_stop"
    elif at.curve:
        last, block_first = "block_stop", order.block_first
        if at.curve[-1]["epoch"] != at.epoch:
            return False
    else:
        last, block_first = "seed", 0
    return (order.last, order.epoch, order.block_first) == (last, at.epoch, block_first) and (
        at.epoch_open <= at.block_open and (at.run_start is None) == (last == "seed"))


def division(config, facts):
    """closed where the caches are cleared and the config is its profile's but for what the rules
    leave free; else open.
    """
    profiles = benchmark.module(config.application, "config").PROFILES
    if not facts.closed or config.profile not in profiles or config.profile == "quick":
        return "open"
    reference = dataclasses.replace(profiles[config.profile], clear_caches=True)
    free = {*FREE_FIELDS, *facts.free_fields}
    names = [field.name for field in dataclasses.fields(config) if field.name not in free]
    same = all(getattr(config, name) == getattr(reference, name) for name in names)
    return "closed" if same else "open"
