"""Throughput, and the line that people read while a run goes on."""

import contextlib
import sys
import time

WARMUP_STEPS = 10  # steps of this process that examples per second leave out


class Meter:
    """Counts steps and examples against the clock, without the first WARMUP_STEPS.

    synchronize: waits until the device has done what it was given.
    """

    def __init__(self, synchronize):
        self.synchronize = synchronize
        self.all_steps = 0           # of this process
        self.train_seconds = 0.0     # of the epochs that are over
        self.train_examples = 0
        self.epoch_rate = None       # examples per second of the epoch that has just ended
        self.start()

    def start(self):
        """The clock of an epoch, or of what is left of it, starts."""
        self.started = time.perf_counter()
        self.examples = 0
        self.steps = 0

    def step(self, num_examples):
        """An optimizer step has been asked for."""
        self.all_steps += 1
        self.examples += num_examples
        self.steps += 1
        if self.all_steps == WARMUP_STEPS:
            self.synchronize()
            self.start()

    @contextlib.contextmanager
    def paused(self):
        """What the body does is no training: its time does not count."""
        self.synchronize()  # what a device has been given is training still
        paused_at = time.perf_counter()
        yield
        self.started += time.perf_counter() - paused_at

    def stop(self):
        """The epoch is over."""
        self.synchronize()
        self.epoch_rate = None
        if self.all_steps > WARMUP_STEPS:
            seconds = time.perf_counter() - self.started
            self.train_seconds += seconds
            self.train_examples += self.examples
            self.epoch_rate = self.examples / seconds if seconds else None

    def examples_per_second(self):
        """Over all epochs that are over; None where the warm-up was all."""
        return self.train_examples / self.train_seconds if self.train_seconds else None

    def seconds(self):
        """Since the epoch's start, or the warm-up's end."""
        return time.perf_counter() - self.started


class Line:
    """One line on the error stream, written anew at most once a second; none but on a terminal."""

    def __init__(self, enabled):
        self.enabled = enabled and sys.stderr.isatty()
        self.shown_at = 0.0

    def due(self):
        """Whether it is time for the next one."""
        return self.enabled and time.perf_counter() - self.shown_at > 1.0

    def show(self, text):
        """Writes over the one before."""
        self.shown_at = time.perf_counter()
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self):
        """Leaves the line empty for what comes next."""
        if self.enabled:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def progress_text(
    epoch, num_epochs, step, num_steps, loss, examples_per_second, values, targets, seconds_left
):
    """One line of text.

    values: {metric: value}, None before the first evaluation.  targets: {metric: target}.
    seconds_left: at the most, until the epochs are over.
    """
    quality = ", ".join(
        f"{name} {'none yet' if values is None else format(values[name], '.3f')} of {target:g}"
        for name, target in targets.items()
    )
    minutes, seconds = divmod(round(seconds_left), 60)
    return (
        f"epoch {epoch}/{num_epochs}  step {step}/{num_steps}  loss {loss:.3f}  "
        f"{examples_per_second:.0f} examples/s  {quality}  at most {minutes}:{seconds:02d} left"
    )
