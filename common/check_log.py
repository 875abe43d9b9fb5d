"""Judges a run's log: python -m common.check_log RUN_FOLDER

First MLCommons' own compliance checker, by the newest rule set that knows the benchmark, or by our
rules where none does: rules/common.yaml, and the application's rules.yaml in the closed division;
then the strict order of events in mllog.py, and that a closed run's caches were cleared.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time

from common import benchmark, run_folder
from common.errors import ABORTED, UserError, is_finite, printable, told
from common.files import open_regular
from common.mllog import Order, parse, written

COMMON_RULES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rules", "common.yaml")


MAX_LINE = 1 << 20        # bytes; the package's reading takes time with the square of a line
MAX_LOG = 1 << 25
MAX_SECONDS = 8           # for the package, of all that judge
MAX_FAULTS = 20           # shown
# The package makes a rule file's name of these, and runs what stands there.
NAMES = ("submission_benchmark", "submission_division", "opt_name")


def read(path):
    """(path, [event]) of a log: see mllog.parse.  Raises UserError for what is no log."""
    if os.path.isdir(path):
        path = run_folder.log_path(path)
    try:
        with open_regular(path) as opened:
            lines = opened.read(MAX_LOG + 1).split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Name a run folder or its run.log.") from None
    if sum(map(len, lines)) > MAX_LOG:
        raise UserError(f"{path}: more than {MAX_LOG:,} bytes: no log of a run.")
    events = []
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise UserError(f"{path}:{number}: {len(line):,} bytes: no line of a log.")
        try:
            event = parse(line.decode())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: no whole MLLOG line ({error}).") from None
        if event:
            fault = value_fault(event["key"], event["value"])
            if fault:
                raise UserError(f"{path}:{number}: {fault}")
            events.append(event)
    if not events:
        raise UserError(f"{path}: holds no MLLOG line.")
    return path, events


def value_fault(key, value):
    """What is wrong with a value that a judge relies on, or None."""
    if key in NAMES and not (isinstance(value, str) and value.isidentifier()):
        return f"{key} is {value!r}: expected a name."
    if key == "eval_accuracy":
        numbers = list(value.values()) if isinstance(value, dict) else [value]
        if not numbers or any(isinstance(n, bool) or not is_finite(n) for n in numbers):
            return "eval_accuracy is no number that is finite."
    return None


def order_faults(events):
    """What the strict order finds wrong, a line each, and rule set 0.6.0's wish of the caches."""
    order = Order()
    taken = [order.take(event["key"], event["metadata"]) for event in events]
    faults = [fault for fault in taken if fault]
    seeds = sum(event["key"] == "seed" for event in events)
    if seeds != 1:
        faults.append(f"seed: expected once, found {seeds} times")
    values = {event["key"]: event["value"] for event in events}
    if values.get("submission_division") == "closed" and values.get("cache_clear") is not True:
        faults.append(f"cache_clear is {values.get('cache_clear')!r}: expected true in the closed "
                      "division, with --clear_caches")
    if order.last != "run_stop":
        faults.append(f"the log ends after {order.last}: expected run_stop")
    return faults


def judges(events):
    """[(words, arguments of the package's checker)] of those who judge a log.  Raises UserError."""
    values = {}
    for event in events:
        key, value = event["key"], event["value"]
        if key in NAMES and values.get(key, value) != value:
            raise UserError(f"{key}: {values[key]!r} in one line, {value!r} in another.")
        values[key] = value
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


def package_faults(events, arguments, seconds=MAX_SECONDS):
    """What MLCommons' checker finds wrong, a line each.

    It reads the events that were judged here, written anew: not a file that it could split into
    other lines than `read` did.
    """
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "training"]
    with tempfile.TemporaryDirectory() as folder:  # the checker leaves a file where it runs
        try:
            with open(os.path.join(folder, "run.log"), "w") as opened:
                opened.writelines(f"{written(event)}\n" for event in events)
            done = subprocess.run([*command, *arguments, "run.log"], capture_output=True, text=True,
                                  errors="replace", cwd=folder, timeout=seconds)
        except RecursionError:  # Python reads a little deeper than it writes
            return ["a value is nested too deep"]
        except subprocess.TimeoutExpired:
            return [f"the checker took more than {MAX_SECONDS} s"]
    if done.returncode == 0 and "SUCCESS" in done.stdout + done.stderr:
        return []
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-12:] or ["failed without a word"]


def judgements(events):
    """[(words, [fault])] of each judge of a log's events.  Raises UserError."""
    end = time.monotonic() + MAX_SECONDS
    found = [(words, package_faults(events, arguments, max(0.1, end - time.monotonic())))
             for words, arguments in judges(events)]
    return [*found, ("common/mllog.py, strict order of events", order_faults(events))]


def main(argv):
    """Returns the exit code: 0 passes, 1 a fault of the user, 2 does not pass."""
    return told(lambda: judge(argv))


def judge(argv):
    """Prints each judge's verdict.  Returns the exit code.  Raises UserError."""
    if len(argv) != 1:
        raise UserError("usage: python -m common.check_log RUN_FOLDER")
    verdicts = judgements(read(argv[0])[1])
    for words, faults in verdicts:
        print(f"{'PASS' if not faults else 'FAIL'}  {words}")
        for fault in faults[:MAX_FAULTS]:
            print(f"      {printable(fault)}")
        if len(faults) > MAX_FAULTS:
            print(f"      and {len(faults) - MAX_FAULTS:,} more")
    return ABORTED if any(faults for _, faults in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
