"""Judges a run's log: python -m common.check_log RUN_FOLDER

First MLCommons' own compliance checker, by the newest rule set that knows the benchmark, or by our
rules where none does: rules/common.yaml, and the application's rules.yaml in the closed division;
then the strict order of events in mllog.py.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile

from common import benchmark, run_folder
from common.errors import UserError
from common.mllog import Order, parse

COMMON_RULES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rules", "common.yaml")


def read(path):
    """[(key, value, metadata)] of a log.  Raises UserError for what would crash the checker."""
    if os.path.isdir(path):
        path = run_folder.log_path(path)
    try:
        with open(path, encoding="utf-8") as opened:
            lines = opened.read().splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Name a run folder or its run.log.") from None
    events = []
    for number, line in enumerate(lines, 1):
        try:
            event = parse(line)
        except (ValueError, KeyError) as error:
            raise UserError(f"{path}:{number}: no whole MLLOG line ({error}).") from None
        if event:
            if event[0] == "eval_accuracy" and not isinstance(event[1], (int, float, dict)):
                raise UserError(f"{path}:{number}: eval_accuracy is {event[1]}, no number.")
            events.append(event)
    if not events:
        raise UserError(f"{path}: holds no MLLOG line.")
    return path, events


def order_faults(events):
    """What the strict order finds wrong, a line each."""
    order = Order()
    faults = [fault for key, _, metadata in events if (fault := order.take(key, metadata))]
    seeds = sum(key == "seed" for key, _, _ in events)
    if seeds != 1:
        faults.append(f"seed: expected once, found {seeds} times")
    if order.last != "run_stop":
        faults.append(f"the log ends after {order.last}: expected run_stop")
    return faults


def judges(events):
    """[(words, arguments of the package's checker)] of those who judge a log.  Raises UserError."""
    values = {key: value for key, value, _ in reversed(events)}
    name, division = values.get("submission_benchmark"), values.get("submission_division")
    known = {facts.name: facts for facts in benchmark.benchmarks()}
    if name not in known:
        raise UserError(f"submission_benchmark {name!r}: expected one of {', '.join(known)}.")
    if division not in ("closed", "open"):
        raise UserError(f"submission_division {division!r}: expected closed or open.")
    package = f"mlperf-logging {importlib.metadata.version('mlperf-logging')}"
    version = known[name].rule_set(values)
    if version:
        words = f"{package}, rule set {version}, {division} division: {name}"
        return [(words, ["--ruleset", version])]
    application = known[name].application
    files = {"common/rules/common.yaml": COMMON_RULES}
    if division == "closed":
        own = os.path.join(benchmark.applications()[application], "rules.yaml")
        files[f"{application}/rules.yaml"] = own
    return [
        (f"{package} with our own {shown}, {division} division: {name}",
         ["--ruleset", "4.0.0", "--config", file])
        for shown, file in files.items()
    ]


def package_faults(path, arguments):
    """What MLCommons' checker finds wrong, a line each."""
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "training"]
    with tempfile.TemporaryDirectory() as folder:  # the checker leaves a file where it runs
        done = subprocess.run([*command, *arguments, path], capture_output=True, text=True,
                              cwd=folder)
    if done.returncode == 0 and "SUCCESS" in done.stdout + done.stderr:
        return []
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-12:] or ["failed without a word"]


def main(argv):
    """Returns the exit code: 0 passes, 1 a fault of the user, 2 does not pass."""
    try:
        if len(argv) != 1:
            raise UserError("usage: python -m common.check_log RUN_FOLDER")
        path, events = read(argv[0])
        tools = judges(events)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    passed = True
    verdicts = [(words, package_faults(os.path.abspath(path), arguments))
                for words, arguments in tools]
    verdicts.append(("common/mllog.py, strict order of events", order_faults(events)))
    for judge, faults in verdicts:
        print(f"{'PASS' if not faults else 'FAIL'}  {judge}")
        for fault in faults:
            print(f"      {fault}")
        passed = passed and not faults
    return 0 if passed else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
