"""What an application tells the suite, and which applications there are.

An application is a folder with a benchmark.py and a config.py, in this repository or in a folder
that PYTHONPATH names.  Beside BENCHMARK it offers, each under its one name:

    config.py      Config, QUICK, REFERENCE, PROFILES, check(config), learning_rate(config, step)
    data.py        prepare(config), batches(config, split, epoch)
    parameters.py  specification(config), points(config), initial_parameters(config)
    parity.py      CHANGES, initial_parameters(config), training(config, num_steps),
                   evaluations(config), optimizer_step(config, step, state, gradients, batch)
    files.py       TERMS, ARCHIVES, unpack(archives, folder)
    FRAMEWORK/     train.py with framework, Trainer and main(config)

The initial_parameters of parity.py are those of parameters.py, or changed so that a record shows
more.  Where the Config has `dropout`, parity.py offers masks(config) as well.
tests/test_structure.py holds every application to this list.
"""

import functools
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common.errors import UserError
from common.quality import Quality

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True)
class Benchmark:
    """The facts of one application.  A forgotten one fails when its benchmark.py is imported.

    application: name of its folder.
    name: submission_benchmark in MLPerf's logs.
    rule_set(log): the newest rule set of mlperf-logging that judges a log, {key: value}; None:
        common/rules/common.yaml does, and in the closed division APPLICATION/rules.yaml.
    runs: how many make a result.
    quality(config): the Quality of a prepared config.
    log_values(config, num_processes): {MLLOG key: value, or (value, metadata)}: the
        hyperparameters.
    closed: whether the reference profile keeps all rules of the closed division; what keeps it from
        that stands in README's table of departures.
    free_fields: fields of the config that the closed division's rules leave free.
    batch, loss, optimizer_sums, update, statistic: what a step takes and gives, in words for those
        who have no Python: {tensor of a batch: what it is}, the loss, {what the optimizer keeps of
        each trained parameter: its formula}, a parameter's update, a moving statistic's; the last
        is empty where there is none.
    evaluation_batch, evaluation: what an evaluation takes, and what Trainer.evaluate gives, in
        words as well; first what `predict` gives.
    tolerances: {precision: {group of tensors: largest difference over the norm}}, parity's.
    counts: {name: how many in a training batch, of numpy arrays}; the log says each epoch's sum.
    departs: why no closed package of a round that knows the name holds a run for which rule_set
        gives None; empty where there is no such run.
    """

    application: str
    name: str
    rule_set: Callable[[dict], str | None]
    runs: int
    quality: Callable[[Any], Quality]
    log_values: Callable[[Any, int], dict[str, Any]]
    closed: bool
    free_fields: tuple[str, ...]
    batch: dict[str, str]
    loss: str
    optimizer_sums: dict[str, str]
    update: str
    statistic: str
    evaluation_batch: dict[str, str]
    evaluation: dict[str, str]
    tolerances: dict[str, dict[str, float]]
    counts: dict[str, Callable[[dict], int]] = field(default_factory=dict)
    departs: str = ""


def roots():
    """The folders that hold applications: this repository, then PYTHONPATH's."""
    entries = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(":")
               if entry]
    return list(dict.fromkeys([ROOT, *entries]))


@functools.cache
def applications():
    """{name: folder} of all applications, sorted by name."""
    found = {}
    for root in reversed(roots()):  # the first one counts, as in an import
        for name in os.listdir(root) if os.path.isdir(root) else ():
            folder = os.path.join(root, name)
            files = [os.path.join(folder, file) for file in ("benchmark.py", "config.py")]
            if name.isidentifier() and all(map(os.path.exists, files)):
                found[name] = folder
    return dict(sorted(found.items()))


def module(application, name):
    """The module of that name in an application's folder.  Raises UserError."""
    if application not in applications():
        known = ", ".join(applications())
        raise UserError(f"{application!r}: no such application. Known: {known}.")
    return importlib.import_module(f"{application}.{name}")


def benchmark_of(application):
    """An application's BENCHMARK.  Raises UserError."""
    return module(application, "benchmark").BENCHMARK


def benchmarks():
    """[Benchmark] of all applications.  A name from a log or a result is looked for here."""
    return [benchmark_of(application) for application in applications()]
