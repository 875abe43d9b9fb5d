"""The run's structured log: MLLOG lines through the mlperf-logging package, in the rules' order.

    submission_* -> cache_clear -> init_start -> seed, sizes, hyperparameters -> init_stop
    -> run_start
    -> { block_start -> (epoch_start -> epoch_stop) x n -> eval_start -> eval_accuracy -> eval_stop
         -> block_stop } x m -> run_stop

The order is that of the checker's strictest rule set, 0.6.0; the newer ones want less.
"""

import json
import logging
import os
import sys

from mlperf_logging.mllog.mllog import MLLogger

from common.errors import UserError
from common.files import open_regular, require_regular

PREFIX = ":::MLLOG "

# What may follow each of the keys that give a run its order.
FOLLOWS = {
    None: {"cache_clear"},
    "cache_clear": {"init_start"},
    "init_start": {"seed"},
    "seed": {"init_stop"},
    "init_stop": {"run_start"},
    "run_start": {"block_start"},
    "block_start": {"epoch_start"},
    "epoch_start": {"epoch_stop"},
    "epoch_stop": {"epoch_start", "eval_start"},
    "eval_start": {"eval_accuracy"},
    "eval_accuracy": {"eval_stop"},
    "eval_stop": {"block_stop"},
    "block_stop": {"block_start", "run_stop"},
    "run_stop": set(),
}


class Order:
    """Follows a log; `take` says what is wrong with the next event, or None."""

    def __init__(self):
        self.last = None
        self.epoch = 0         # the last that was started
        self.block_first = 0

    def take(self, key, metadata):
        """Returns what is wrong with this event at this place, or None."""
        if key not in FOLLOWS:
            if self.last not in (None, "init_start", "seed"):
                return f"{key}: expected before init_stop, came after {self.last}"
            if key.startswith("submission_") and self.last is not None:
                return f"{key}: expected before cache_clear"
            return None
        if key not in FOLLOWS[self.last]:
            expected = " or ".join(sorted(FOLLOWS[self.last])) or "nothing"
            return f"{key}: expected {expected} after {self.last or 'the start'}"
        self.last = key
        wanted = {
            "block_start": ("first_epoch_num", self.epoch + 1),
            "epoch_start": ("epoch_num", self.epoch + 1),
            "epoch_stop": ("epoch_num", self.epoch),
            "eval_start": ("epoch_num", self.epoch),
            "eval_accuracy": ("epoch_num", self.epoch),
            "eval_stop": ("epoch_num", self.epoch),
            "block_stop": ("first_epoch_num", self.block_first),
        }.get(key)
        if wanted and metadata.get(wanted[0]) != wanted[1]:
            return f"{key}: expected {wanted[0]} {wanted[1]}, found {metadata.get(wanted[0])}"
        if key == "block_start":
            self.block_first = self.epoch + 1
        if key == "epoch_start":
            self.epoch += 1
        if key == "run_stop" and metadata.get("status") not in ("success", "aborted"):
            return f"run_stop: expected status success or aborted, found {metadata.get('status')}"
        return None


def parse(line):
    """{key, value, metadata, time_ms, ...} of a line, or None where it is no MLLOG line.

    Raises ValueError, RecursionError.
    """
    _, found, text = line.partition(PREFIX)
    if not found:
        return None
    event = json.loads(text, parse_constant=_no_number)
    if not isinstance(event, dict) or not isinstance(event.get("key"), str):
        raise ValueError("no key")
    if "value" not in event:
        raise ValueError("no value")
    if not isinstance(event.get("metadata"), dict):
        raise ValueError("no metadata")
    return event


def written(event):
    """The line of an event; no value in it can begin another."""
    return PREFIX + json.dumps(event).replace(PREFIX[:3], PREFIX[:3].replace(":", "\\u003a"))


def _no_number(name):
    raise ValueError(f"{name} is no number")


class Handler(logging.FileHandler):
    """Writes to a file; one that cannot be written ends the run instead of losing its events.

    keep_bytes: length to which the file is cut, when the first event is written.
    """

    def __init__(self, path, keep_bytes):
        self.keep_bytes = keep_bytes
        super().__init__(path, delay=keep_bytes > 0)

    def _open(self):
        try:
            require_regular(self.baseFilename, own=True)
            stream = super()._open()
            stream.truncate(self.keep_bytes)
        except OSError as error:
            raise UserError(_unwritable(self.baseFilename, error)) from None
        return stream

    def handleError(self, record):
        raise UserError(_unwritable(self.baseFilename, sys.exc_info()[1])) from None


class RunLog:
    """Writes a run's log.  An event out of order is a fault of the program: RuntimeError.

    path: the file.  enabled: False on all ranks but 0, which check the order and write nothing.
    keep_bytes: length to which a resumed run's log is cut before its first event: what its last
    checkpoint knew.
    """

    def __init__(self, path, enabled, keep_bytes=0):
        self.order = Order()
        self.handler = None
        self.path = path
        if os.path.exists(path):
            self._follow(keep_bytes)
        elif keep_bytes:
            raise UserError(f"{path}: missing, though the run folder has a checkpoint.")
        if enabled:
            logger = logging.Logger("mllog", logging.INFO)
            self.handler = Handler(path, keep_bytes)
            logger.addHandler(self.handler)
            root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            self.mllogger = MLLogger(logger, default_stack_offset=2, root_dir=root)

    def _follow(self, keep_bytes):
        with open_regular(self.path, own=True) as opened:
            kept = opened.read(keep_bytes)
            if len(kept) < keep_bytes:
                raise UserError(
                    f"{self.path}: {len(kept)} bytes, its checkpoint knew {keep_bytes}. "
                    "The log was changed; this run cannot be resumed."
                )
        try:
            events = [parse(line) for line in kept.decode().split("\n") if line]
            for event in events:
                self._check(event["key"], event["metadata"])
        except (ValueError, TypeError, RecursionError, RuntimeError) as error:
            raise UserError(
                f"{self.path}: damaged ({error}). The log was changed; this run cannot be resumed."
            ) from None

    def _check(self, key, metadata):
        fault = self.order.take(key, metadata)
        if fault:
            raise RuntimeError(f"{self.path}: {fault}")

    def start(self, key, value=None, **metadata):
        """Logs the start of an interval."""
        self._check(key, metadata)
        if self.handler:
            self.mllogger.start(key, value, metadata)

    def end(self, key, value=None, **metadata):
        """Logs the end of an interval."""
        self._check(key, metadata)
        if self.handler:
            self.mllogger.end(key, value, metadata)

    def event(self, key, value=None, **metadata):
        """Logs a point in time."""
        self._check(key, metadata)
        if self.handler:
            self.mllogger.event(key, value, metadata)

    def ended(self):
        """Whether run_stop has been logged."""
        return self.order.last == "run_stop"

    def position(self):
        """The file's length in bytes, all of it on disk; 0 where nothing is written."""
        if not self.handler:
            return 0
        if not self.handler.stream:  # nothing was written yet
            return self.handler.keep_bytes
        try:
            self.handler.flush()
            os.fsync(self.handler.stream.fileno())
            return self.handler.stream.tell()
        except OSError as error:
            raise UserError(_unwritable(self.path, error)) from None

    def close(self):
        """Closes the file."""
        if self.handler:
            self.handler.close()


def _unwritable(path, error):
    reason = getattr(error, "strerror", None) or error
    return f"{path}: cannot be written ({reason}). Make room there and --resume."
