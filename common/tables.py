"""Writes the tables that code and results know: python -m common.tables [--check]

A table stands in a page between two comments and is written anew from what its name says:

    <!-- table: flags -->
    ...
    <!-- end of table -->

--check writes nothing; the exit code is then 2 where a page is behind.
"""

import dataclasses
import glob
import os
import re
import statistics
import sys

from common import benchmark, options, results
from common.command import FRAMEWORKS
from common.errors import UserError, told

TABLE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
NAMES = {"pytorch": "PyTorch", "tensorflow": "TensorFlow", "paddlepaddle": "PaddlePaddle"}


def pages():
    """The paths of all pages that may hold tables."""
    found = [os.path.join(folder, "README.md") for folder in benchmark.applications().values()]
    found += glob.glob(os.path.join(benchmark.ROOT, "*.md"))
    found += glob.glob(os.path.join(benchmark.ROOT, "docs", "*.md"))
    return sorted(path for path in found if os.path.exists(path))


def rewritten(text):
    """A page's text with its tables made anew.  Raises UserError for an unknown table."""

    def write(match):
        name, *arguments = match[2].split()
        if name not in TABLES:
            raise UserError(f"table {name}: expected one of {', '.join(TABLES)}.")
        return f"{match[1]}{TABLES[name](*arguments)}\n{match[3]}"

    return TABLE.sub(write, text)


def flags():
    """The command line's flags, from common/options.py."""
    values = options.define_flags()
    rows = []
    for name in values:
        flag = values[name]
        kind = {"bool": "", "int": "a number", "string": "text"}.get(flag.flag_type(), "NAME=VALUE")
        explanation = flag.help.partition(";\n")[0]  # absl adds that it may be repeated
        if "enum" in flag.flag_type():
            kind = ", ".join(f"`{choice}`" for choice in flag.parser.enum_values)
            explanation = explanation.partition(">: ")[2]  # absl begins with the choices
        rows.append((f"`--{name}`", kind, explanation))
    return results.markdown(("flag", "value", "what"), rows)


def numbers(application):
    """The fields of an application's config in both profiles, with what config.py says of them."""
    module = benchmark.module(application, "config")
    common = {field.name for field in dataclasses.fields(options.Options)}
    names = [field.name for field in dataclasses.fields(module.Config) if field.name not in common]
    names += ["target", "num_epochs", "evaluate_every_epochs"]
    above, beside = comments(module.__file__)
    rows = []
    for name in names:
        if name in above:
            rows.append((f"*{above[name]}*", "", "", ""))
        values = (_value(getattr(config, name)) for config in (module.REFERENCE, module.QUICK))
        rows.append((f"`{name}`", *values, beside.get(name, "").replace("<", r"\<")))
    return results.markdown(("number", "`reference`", "`quick`", "what, and its source"), rows)


def comments(file):
    """Two {field: comment} of a config.py: of the lines above a field, and of the field's own line.

    The first of several counts: that of the class, before those of the profiles.
    """
    above, beside, block = {}, {}, []
    with open(file) as opened:
        for line in opened:
            if line.startswith("    # "):
                block.append(line[6:].strip())
                continue
            match = re.match(r"    (\w+)(?:: [^=]*= |=)[^#]*(?:# (.+))?", line)
            if match and block:
                above.setdefault(match[1], " ".join(block))
            if match and match[2]:
                beside.setdefault(match[1], match[2].strip())
            block = []
    return above, beside


def _value(value):
    if isinstance(value, tuple):
        return ", ".join(map(_value, value))
    counts = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if counts else str(value)


def rules():
    """What each application says of its results: runs, division, fields that are free."""
    rows = [
        (facts.application, f"`{facts.name}`", str(facts.runs), "yes" if facts.closed else "no",
         ", ".join(f"`{name}`" for name in facts.free_fields))
        for facts in benchmark.benchmarks()
    ]
    header = ("application", "name in the log", "runs of a result", "`reference` is closed",
              "free in the closed division")
    return results.markdown(header, rows)


def _runs(application, framework):
    """The results in docs/results/ of one variant's quick profile.  Raises UserError."""
    files = glob.glob(
        os.path.join(benchmark.ROOT, "docs", "results", f"{application}-{framework}-quick-*.json")
    )
    found, faults = results.find(sorted(files))
    if faults:
        raise UserError(faults[0])
    return found


def _seconds(runs):
    return f"{statistics.median(run['seconds_to_quality'] for run in runs):.1f}"


def _quality(runs):
    """The least of each metric, or the greatest where lower is better.  Of several: by name."""
    facts = benchmark.benchmark_of(runs[0]["application"])
    module = benchmark.module(runs[0]["application"], "config")
    worst = min if facts.quality(module.QUICK).higher_is_better else max
    values = {name: worst(run["quality"][name] for run in runs) for name in runs[0]["quality"]}
    return results.shown(values, ".3f").partition("=")[2] if len(values) == 1 else (
        results.shown(values, ".3f"))


def cells():
    """A row for each application: seconds and quality of the quick profile in each framework."""
    header = ["application", "target"]
    for framework in FRAMEWORKS:
        header += [f"{NAMES[framework]}, seconds", "quality"]
    rows = []
    for application, folder in benchmark.applications().items():
        with open(os.path.join(folder, "README.md")) as opened:
            title = opened.readline().partition(":")[2].strip()
        module = benchmark.module(application, "config")
        targets = benchmark.benchmark_of(application).quality(module.QUICK).targets(
            module.QUICK.target)
        row = [f"[{application}]({application}/README.md): {title}", results.shown(targets, "g")]
        for framework in FRAMEWORKS:
            runs = _runs(application, framework)
            row += [_seconds(runs), _quality(runs)] if runs else ["-", "-"]
        rows.append(row)
    return results.markdown(header, rows) + _made_on(
        run for a in benchmark.applications() for f in FRAMEWORKS for run in _runs(a, f))


def runtime(application):
    """A row for each framework: what the quick profile took."""
    rows, made = [], []
    for framework in FRAMEWORKS:
        runs = _runs(application, framework)
        if not runs:
            continue
        made += runs
        met = sum(run["status"] == "success" for run in runs)
        rows.append((
            f"{NAMES[framework]} {runs[0]['versions']['version']}", _seconds(runs), _quality(runs),
            f"{met} of {len(runs)}",
            str(statistics.median_high(run["quality_curve"][-1]["epoch"] for run in runs)),
            f"{statistics.median(run['examples_per_second'] for run in runs):,.0f}",
            f"{max(run['peak_memory_bytes'] for run in runs) / 2**20:,.0f} MiB",
            *results.load_cells(runs),
        ))
    header = ("quick", "seconds to the target", "quality at the end", "runs that met it", "epochs",
              "examples/s", "peak memory", "load before", "others")
    return results.markdown(header, rows) + _made_on(made)


def _made_on(runs):
    """A sentence: machine, versions and commit of the runs."""
    runs = list(runs)
    if not runs:
        return "\n\nNo run is on file."
    machines = {
        f"{s['processor']}, {s['cores']} cores, {s['memory_gib']:g} GiB, Python {s['python']}"
        for s in (run["system"] for run in runs)
    }
    commits = {f"`{run['commit'][:12]}`" for run in runs}
    seeds = sorted({run["seed"] for run in runs})
    return (f"\n\nMachine: {'; '.join(sorted(machines))}. "
            f"Seeds: {', '.join(map(str, seeds))}. Commit: {', '.join(sorted(commits))}.")


TABLES = {"flags": flags, "numbers": numbers, "rules": rules, "cells": cells, "runtime": runtime}


def run(argv):
    """Writes the pages, or checks them.  Returns the exit code.  Raises UserError."""
    if argv not in ([], ["--check"]):
        raise UserError("usage: python -m common.tables [--check]")
    behind = []
    for path in pages():
        with open(path) as opened:
            text = opened.read()
        if (new := rewritten(text)) != text:
            behind.append(path)
            if not argv:
                with open(path, "w") as opened:
                    opened.write(new)
    for path in behind:
        shown = os.path.relpath(path, benchmark.ROOT)
        print(f"{shown}: {'behind; run python -m common.tables' if argv else 'written'}")
    return 2 if argv and behind else 0


if __name__ == "__main__":
    sys.exit(told(lambda: run(sys.argv[1:])))
