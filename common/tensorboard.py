"""A run's scalars for TensorBoard: python -m common.tensorboard FOLDER... [-o DIR]

Written from what the run left, when its clock has long stopped: run.log of each run folder, here or
below.  They go to FOLDER/tensorboard, or to DIR/NAME of each folder, and `tensorboard
--logdir=FOLDER` shows them: by the step, at the time when they were logged.

    loss             of the epoch's last step, of the first process's part of the batch
    learning_rate    that step's, by the application's config.py, where result.json is there
    quality/METRIC   of each evaluation
    target/METRIC    what it should reach
    examples_per_second   of each epoch, without the warm-up

A run that is not over has them too, but for its learning rate.
"""

import dataclasses
import os
import sys

from common import benchmark, check_log, options, results, run_folder
from common.errors import UserError, is_finite, printable, tell, told
from common.files import new_folder

USAGE = "usage: python -m common.tensorboard FOLDER... [-o DIR]"
FOLDER = "tensorboard"
LARGEST = 3.4e38  # about float32's, which its files hold


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A value at a step.  seconds: since 1970."""

    tag: str
    step: int
    seconds: float
    value: float


def scalars(events, result=None):
    """[Scalar] of a log's events, see check_log.read; result: of result.json, None without.

    The log counts epochs, the result's curve steps: without a result a step is an epoch.
    """
    curve = result["quality_curve"] if result else []
    steps = {entry["epoch"]: entry["step"] for entry in curve}
    per_epoch = curve[-1]["step"] / curve[-1]["epoch"] if curve and curve[-1]["epoch"] else 1
    rate = learning_rate(result) if result else None
    metric = next(iter(result["quality"])) if result else "value"
    found = []

    for event in events:
        metadata, milliseconds = event["metadata"], event.get("time_ms")
        epoch = metadata.get("epoch_num")
        if type(epoch) is not int or not 0 < epoch < 10**9 or not is_finite(milliseconds):
            continue
        step = steps.get(epoch, round(epoch * per_epoch))
        if step > results.MOST:
            continue
        values = {}
        if event["key"] == "epoch_stop":
            values = {name: metadata.get(name) for name in ("loss", "examples_per_second")}
            if rate:
                values["learning_rate"] = rate(max(step - 1, 0))  # of the step that ended there
        elif event["key"] == "eval_accuracy":
            value = event["value"]
            several = value if isinstance(value, dict) else {metric: value}
            values = {f"quality/{name.lower()}": number for name, number in several.items()}
            values |= {f"target/{name}": number
                       for name, number in (result["target"] if result else {}).items()}
        found += [Scalar(printable(tag), step, milliseconds / 1000, float(number))
                  for tag, number in values.items()
                  if is_finite(number) and abs(number) <= LARGEST]
    return found


def learning_rate(result):
    """The learning rate as a function of the step, by a result's config; None where it has none of
    this version.
    """
    try:
        module = benchmark.module(result["application"], "config")
        config = module.check(options.from_json(module.Config, result["config"]))
    except Exception:  # a file's config may make an application's functions raise anything
        return None

    def rate(step):
        try:
            return module.learning_rate(config, step)
        except Exception:  # the same
            return None

    return rate


def write(folder, found):
    """Writes scalars as an event file in a new folder.  Raises UserError."""
    try:
        from tensorboard.summary import Writer  # nothing else here needs it
    except ImportError:
        raise UserError("tensorboard is missing here. Say common/in_report.sh in place of "
                        "python.") from None
    if os.path.lexists(folder):
        raise UserError(f"{folder}: there already. Remove it to have it written anew.")
    with new_folder(folder) as part:
        writer = Writer(part)
        try:
            for one in found:
                writer.add_scalar(one.tag, one.value, one.step, wall_time=one.seconds)
        finally:
            writer.close()


def main(argv):
    """Returns the exit code: 1 where a run has nothing to show."""
    return told(lambda: run(argv))


def run(argv):
    """Writes what the command line asks for.  Returns the exit code.  Raises UserError."""
    places, values = results.arguments(argv, ["-o"])
    if not places:
        raise UserError(USAGE)
    faults = []
    for place in places:
        folders = [os.path.dirname(path) for path in results.below(place, "run.log")]
        if not folders:
            faults.append(f"{place}: no run.log here or below. Name a run folder.")
        for folder in folders:
            target = os.path.join(folder, FOLDER)
            if "-o" in values:
                name = os.path.relpath(folder, place) if folder != place else os.path.basename(
                    os.path.abspath(folder))
                target = os.path.join(values["-o"], name)
            try:
                _, events = check_log.read(folder)
                path = os.path.join(folder, run_folder.RESULT)
                kept, _ = results.find([path] if os.path.exists(path) else [])
                found = scalars(events, kept[0] if kept else None)
                if not found:
                    raise UserError(f"{folder}: its log has no epoch yet.")
                write(target, found)
            except UserError as error:
                faults.append(str(error))
            else:
                print(f"{printable(target)}: {len(found)} scalars")
    for fault in faults:
        tell(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
