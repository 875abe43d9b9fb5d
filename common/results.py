"""The table of many runs' results: python -m common.results FOLDER...

The statistic over seeds is MLPerf's: drop the fastest and the slowest run, mean of the rest.
"""

import json
import os
import sys

from common import benchmark, run_folder
from common.errors import tell


def find(folders):
    """(results, faults): every result.json below the folders, and a line for each damaged one."""
    results, faults = [], []
    for folder in folders:
        bases = [base for base, _, files in sorted(os.walk(folder)) if run_folder.RESULT in files]
        if not bases:
            faults.append(f"{folder}: no {run_folder.RESULT} here or below. Has a run ended there?")
        for base in bases:
            try:
                result = run_folder.read_result(base)
                row(result)
                results.append(result)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                faults.append(f"{os.path.join(base, run_folder.RESULT)}: damaged ({error!r}).")
    return results, faults


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
           "examples/s", "status")


def row(result):
    """One run as the table's cells."""
    speed = result["examples_per_second"]
    return (
        result["application"], result["framework"], result["profile"], str(result["seed"]),
        f"{result['seconds_to_quality']:.1f}", shown(result["quality"], ".4f"),
        shown(result["target"], "g"), "-" if speed is None else f"{speed:.0f}", result["status"],
    )  # fmt: skip


def shown(values, form):
    """{metric: value} as a cell: metric=value, several by semicolons."""
    return ";".join(f"{name}={format(value, form)}" for name, value in values.items())


def table(rows):
    """Aligned text of equally long tuples."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(cells, widths)) for cells in rows]
    return "\n".join(line.rstrip() for line in lines)


def main(folders):
    """Returns the exit code: 1 where a result is missing or damaged."""
    results, faults = find(folders or ["runs"])
    if results:
        print(table([COLUMNS] + sorted(row(result) for result in results)))
        needed = {facts.application: facts.runs for facts in benchmark.benchmarks()}
        groups = {}
        for result in results:
            machine = json.dumps(result["system"], sort_keys=True)
            key = tuple(result[n] for n in ("application", "framework", "profile"))
            runs = groups.setdefault((*key, shown(result["target"], "g"), machine), [])
            runs.append((result["seconds_to_quality"], result["status"] == "success"))
        print()
        for (application, framework, profile, target, _), runs in sorted(groups.items()):
            words = "of an unknown application"
            if application in needed:
                words = statistic(needed[application], runs)
            print(f"{application} {framework} {profile} to {target}: {words}")
    for fault in faults:
        tell(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
