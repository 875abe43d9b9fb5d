"""The table of many runs' results: python -m common.results FOLDER_OR_FILE... [--against=OLD]

The statistic over seeds is MLPerf's: drop the fastest and the slowest run, mean of the rest.
A file holds one result, or a list of them, as `common.report -o FILE.json` writes.  A folder has
result.json of runs, here or below, or else NAME.json, as docs/results.  OLD is a folder or a file
too: each cell that both sets have is said to be slower, faster or not told apart, see
regressions.py.
"""

import glob
import json
import os
import sys

from common import benchmark, regressions, run_folder
from common.errors import UserError, is_finite, printable, tell, told


def find(places):
    """(results, faults): those of each file, and of each folder's files, see files_of.

    A fault is a line for what is missing or damaged.
    """
    found, faults = find_files(places)
    return [result for _, result in found], faults


def find_files(places):
    """([(path of its file, result)], faults), see find."""
    files, missing = files_of(places, run_folder.RESULT)
    found, faults = [], []
    for file in files:
        try:
            content = run_folder.read_json(file)
            results = content if isinstance(content, list) and content else [content]
            odd = next(filter(None, map(odd_field, results)), None)
        except (OSError, ValueError, RecursionError) as error:
            faults.append(f"{file}: damaged ({error}).")
            continue
        if odd:
            faults.append(f"{file}: damaged ({odd} is missing, or is none of a run).")
        else:
            found += [(file, result) for result in results]
    return found, faults + missing


def files_of(places, *names):
    """(files, faults): each file, and those of such names in each folder and below; of a folder
    that has none, each NAME.json in it.  A file that is named twice stands there once.
    """
    found, faults = {}, []
    for place in places:
        files = [place] if os.path.isfile(place) else [
            path for name in names for path in below(place, name)
        ] or sorted(glob.glob(os.path.join(glob.escape(place), "*.json")))
        if not files:
            faults.append(f"{place}: no {run_folder.RESULT} here or below, and no NAME.json here. "
                          "Has a run ended there?")
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values()), faults


def below(folder, name):
    """The paths of all files of that name in a folder and below, sorted."""
    return [os.path.join(base, name) for base, _, names in sorted(os.walk(folder))
            if name in names]


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
    "quality_curve": list,
}
LOAD = ("before", "others")  # of its "load", which older results lack, in whole or in part


def odd_field(result):
    """The first of FIELDS that a result lacks, or that has another type; None for a good one.

    A number is one that a float can hold: JSON's may have any length.  None is below zero, but for
    a quality.
    """
    if not isinstance(result, dict):
        return "the result"
    for name, kind in FIELDS.items():
        if name not in result or not isinstance(result[name], kind):
            return name
        if isinstance(result[name], NUMBER) and not (
            is_finite(result[name]) and result[name] >= 0
        ):
            return name
        if name in ("quality", "target") and not (
            result[name] and all(map(is_finite, result[name].values()))
        ):
            return name
    if not all(is_point(entry, result["quality"]) for entry in result["quality_curve"]):
        return "quality_curve"
    load = result.get("load", {})
    if not isinstance(load, dict) or not all(
        load.get(name) is None or is_finite(load[name]) for name in LOAD
    ):
        return "load"
    return None


MOST = 10**15  # of epochs and steps


def is_point(entry, quality):
    """Whether an entry of a curve has its numbers, and those of the result's metrics."""
    return isinstance(entry, dict) and isinstance(entry.get("quality"), dict) and (
        entry["quality"].keys() == quality.keys()
        and all(map(is_finite, entry["quality"].values()))
        and all(type(entry.get(name)) is int and 0 <= entry[name] <= MOST
                for name in ("epoch", "step"))
        and is_finite(entry.get("seconds")) and entry["seconds"] >= 0)


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


OWN = ("seed", "data_dir", "output_dir", "resume")  # of a run's config; all else is the result's


def settings(result):
    """{name: value} that the runs of one result share: all but their seed and their folders."""
    config = {name: value for name, value in result["config"].items() if name not in OWN}
    return config | {name: result[name]
                     for name in ("versions", "system", "num_processes", "commit")}


def alike(result):
    """Text that only runs of one result share."""
    return json.dumps(settings(result), sort_keys=True)


def differing(results):
    """The names of the settings in which results differ, sorted."""
    found = [settings(result) for result in results]
    names = {name for one in found for name in one}
    return sorted(name for name in names
                  if len({json.dumps(one.get(name), sort_keys=True) for one in found}) > 1)


def heading(result):
    """The words for a cell: application, framework, profile and target."""
    words = " ".join(result[name] for name in ("application", "framework", "profile"))
    return f"{words} to {shown(result['target'], 'g')}"


def groups(results):
    """{heading: [[result]]}, by cell; each inner list holds runs that are alike."""
    found = {}
    for result in results:
        found.setdefault(heading(result), {}).setdefault(alike(result), []).append(result)
    # Runs of another commit, precision, machine and so on are another result.
    return {cell: list(parts.values()) for cell, parts in sorted(found.items())}


def times(runs):
    """[(seconds, whether the target was met)] of results."""
    return [(run["seconds_to_quality"], run["status"] == "success") for run in runs]


def outcome(runs):
    """The words of MLPerf's statistic over runs that are alike."""
    needed = {facts.application: facts.runs for facts in benchmark.benchmarks()}
    if runs[0]["application"] not in needed:
        return "of an unknown application"
    return statistic(needed[runs[0]["application"]], times(runs))


def statistics(results):
    """The lines below the table: what the runs of each group give together."""
    for cell, parts in groups(results).items():
        for runs in parts:
            seeds = f", seeds {', '.join(str(run['seed']) for run in runs)}"
            yield f"{cell}{seeds if len(parts) > 1 else ''}: {outcome(runs)}"
    for result in results:
        yield from load_warnings(result)


def comparisons(old, new):
    """[(heading, words, text)] of each cell of the old runs: regressions.py's words, or none where
    nothing can be compared, and what there is to say.  old, new: results.  Raises UserError.
    """
    before, after = groups(old), groups(new)
    found = []
    for cell, parts in before.items():
        first, second = parts, after.get(cell, [])
        words, text = "", "no new runs"
        for name, kinds in (("the old", first), ("the new", second)):
            if len(kinds) > 1:
                text = (f"{name} runs are of {len(kinds)} kinds, which differ in "
                        f"{', '.join(differing([part[0] for part in kinds]))}")
        if len(first) == len(second) == 1:
            one, other = times(first[0]), times(second[0])
            verdict = regressions.compare(one, other)
            words, text = verdict.words, regressions.told(verdict, one, other)
            if changed := differing([first[0][0], second[0][0]]):
                text += f"; what else changed: {', '.join(changed)}"
        found.append((cell, words, text))
    return found


def arguments(argv, flags):
    """(places, {flag: value}) of a command line: NAME for --NAME=VALUE, "-o" for -o VALUE.

    flags: those that are known.  Raises UserError.
    """
    places, values, rest = [], {}, list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = name if name == "-o" else name.removeprefix("--")
        if not word.startswith("-"):
            places.append(word)
            continue
        if name not in flags or name in values:
            known = ", ".join(flag if flag == "-o" else f"--{flag}" for flag in flags)
            raise UserError(f"{word}: expected each of {known} once at most.")
        if not equals:
            if not rest:
                raise UserError(f"{word}: expected a value behind it.")
            value = rest.pop(0)
        values[name] = value
    return places, values


def main(argv):
    """Returns the exit code: 1 where a result is missing or damaged."""
    return told(lambda: show(argv))


def show(argv):
    """Prints the table and the statistics.  Returns the exit code.  Raises UserError."""
    places, values = arguments(argv, ["against"])
    results, faults = find(places or ["runs"])
    old, old_faults = find([values["against"]] if "against" in values else [])
    faults += old_faults
    if results:
        print(table([COLUMNS] + sorted(row(result) for result in results)))
        print()
        for line in statistics(results):
            print(printable(line))
    if results and old:
        print()
        for cell, _, text in comparisons(old, results):
            print(printable(f"{cell}: {text}"))
    for fault in faults:
        tell(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
