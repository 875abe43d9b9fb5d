"""The table of many runs' results: python -m common.results FOLDER_OR_FILE...

The statistic over seeds is MLPerf's: drop the fastest and the slowest run, mean of the rest.
"""

import json
import os
import sys

from common import benchmark, run_folder
from common.errors import is_finite, printable, tell, told


def find(places):
    """(results, faults): those of each file, and of each result.json below each folder.

    A fault is a line for what is missing or damaged.
    """
    results, faults = [], []
    for place in places:
        files = [place]
        if not os.path.isfile(place):
            files = [os.path.join(base, run_folder.RESULT) for base, _, names
                     in sorted(os.walk(place)) if run_folder.RESULT in names]
        if not files:
            faults.append(f"{place}: no {run_folder.RESULT} here or below. Has a run ended there?")
        for file in files:
            try:
                result = run_folder.read_json(file)
                odd = odd_field(result)
            except (OSError, ValueError, RecursionError) as error:
                faults.append(f"{file}: damaged ({error}).")
                continue
            if odd:
                faults.append(f"{file}: damaged ({odd} is missing, or is none of a run).")
            else:
                results.append(result)
    return results, faults


# What a result must hold for what is shown of it here.
NUMBER = (int, float)
FIELDS = {
    "application": str,
    "framework": str,
    "profile": str,
    "seed": int,
    "status": str,
    "quality": dict,
    "target": dict,
    "seconds_to_quality": NUMBER,
    "examples_per_second": (*NUMBER, type(None)),
    "num_processes": int,
    "versions": dict,
    "system": dict,
    "config": dict,
    "commit": (str, type(None)),
}
LOAD = ("before", "others")  # of its "load", which older results lack, in whole or in part


def odd_field(result):
    """The first of FIELDS that a result lacks, or that has another type; None for a good one.

    A number is one that a float can hold: JSON's may have any length.
    """
    if not isinstance(result, dict):
        return "the result"
    for name, kind in FIELDS.items():
        if name not in result or not isinstance(result[name], kind):
            return name
        if isinstance(result[name], NUMBER) and not is_finite(result[name]):
            return name
        if name in ("quality", "target") and not (
            result[name] and all(map(is_finite, result[name].values()))
        ):
            return name
    load = result.get("load", {})
    if not isinstance(load, dict) or not all(
        load.get(name) is None or is_finite(load[name]) for name in LOAD
    ):
        return "load"
    return None


MAX_OTHERS = 0.1  # share of the cores that others may use during a run
# Processes that may want each core before a run: the run before it, which ended just now, counts.
MAX_BEFORE = 1.5


def statistic(needed, runs):
    """The words of a group's result.

    needed: how many runs make one.  runs: [(seconds, converged)].  One run that missed the target
    may count as the slowest; two make the result invalid.
    """
    if len(runs) < needed:
        return f"needs {needed} runs, has {len(runs)}"
    if sum(not converged for _, converged in runs) > 1:
        return "invalid: more than one run missed the target"
    seconds = sorted(s if converged else float("inf") for s, converged in runs)
    return f"{sum(seconds[1:-1]) / (len(seconds) - 2):.1f} s"


COLUMNS = ("application", "framework", "profile", "seed", "seconds", "quality", "target",
           "examples/s", "before", "others", "status")


def row(result):
    """One run as the table's cells."""
    speed = result["examples_per_second"]
    return (
        result["application"], result["framework"], result["profile"], str(result["seed"]),
        f"{result['seconds_to_quality']:.1f}", shown(result["quality"], ".4f"),
        shown(result["target"], "g"), "-" if speed is None else f"{speed:.0f}",
        *load_cells([result]), result["status"],
    )  # fmt: skip


def load_of(result):
    """(before, others) of a run, see machine.Load; None for what is not known."""
    return tuple(result.get("load", {}).get(name) for name in LOAD)


def load_cells(runs):
    """(before, others) as cells: the largest of some runs, - for what is not known."""
    found = ([value for value in values if value is not None]
             for values in zip(*map(load_of, runs)))  # fmt: skip
    return tuple(format(max(values), form) if values else "-"
                 for values, form in zip(found, (".1f", ".0%")))


def load_warnings(result):
    """Says where a run had other work beside it."""
    before, others = load_of(result)
    run = f"warning: {result['application']} {result['framework']}, seed {result['seed']}"
    cores = result["system"].get("cores")
    if before is not None and is_finite(cores) and before > MAX_BEFORE * cores:
        yield f"{run}: {before:.1f} processes wanted the {cores} cores before the clock: see others"
    if others is not None and others > MAX_OTHERS:
        yield f"{run}: others used {others:.0%} of the cores: no result"


def shown(values, form):
    """{metric: value} as a cell: metric=value, several by semicolons."""
    return ";".join(f"{name}={format(value, form)}" for name, value in values.items())


def table(rows):
    """Aligned text of equally long tuples."""
    rows = [tuple(map(printable, cells)) for cells in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(cells, widths)) for cells in rows]
    return "\n".join(line.rstrip() for line in lines)


def markdown(header, rows):
    """A Markdown table.  header: strings; rows: equally long tuples of strings."""
    lines = [header, ["---"] * len(header)]
    lines += [[cell.replace("|", r"\|") for cell in cells] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def alike(result):
    """Text that only runs of one result share: what they were, not their seed or their folders."""
    own = ("seed", "data_dir", "output_dir", "resume")
    config = {name: value for name, value in result["config"].items() if name not in own}
    shared = [result[name] for name in ("versions", "system", "num_processes", "commit")]
    return json.dumps([config, shared], sort_keys=True)


def statistics(results):
    """The lines below the table: what the runs of each group give together."""
    needed = {facts.application: facts.runs for facts in benchmark.benchmarks()}
    groups = {}
    for result in results:
        words = " ".join(result[name] for name in ("application", "framework", "profile"))
        heading = f"{words} to {shown(result['target'], 'g')}"
        groups.setdefault(heading, {}).setdefault(alike(result), []).append(result)
    for heading, parts in sorted(groups.items()):
        for runs in parts.values():
            words = "of an unknown application"
            if runs[0]["application"] in needed:
                times = [(run["seconds_to_quality"], run["status"] == "success") for run in runs]
                words = statistic(needed[runs[0]["application"]], times)
            # Runs of another commit, precision, machine and so on are another result.
            seeds = f", seeds {', '.join(str(run['seed']) for run in runs)}"
            yield f"{heading}{seeds if len(parts) > 1 else ''}: {words}"
    for result in results:
        yield from load_warnings(result)


def main(places):
    """Returns the exit code: 1 where a result is missing or damaged."""
    return told(lambda: show(places))


def show(places):
    """Prints the table and the statistics.  Returns the exit code."""
    results, faults = find(places or ["runs"])
    if results:
        print(table([COLUMNS] + sorted(row(result) for result in results)))
        print()
        for line in statistics(results):
            print(printable(line))
    for fault in faults:
        tell(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
