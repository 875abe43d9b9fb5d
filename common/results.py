"""A run folder's result, and the table of many: python -m common.results FOLDER...

The statistic over seeds is MLPerf's: drop the fastest and the slowest run, mean of the rest.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Runs that make a result: mlperf-logging's benchmark_meta.py; 5 for the two it never scored.
MINIMUM_RUNS = {
    "image_classification": 5,
    "object_detection": 5,
    "speech_recognition": 5,
    "translation": 10,
    "recommendation": 10,
    "sentiment_analysis": 5,
    "reinforcement": 10,
}


def system_description():
    """{processor, cores, memory_gib, operating_system, python} of this machine."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as opened:
            names = [line.partition(":")[2].strip() for line in opened if "model name" in line]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "operating_system": platform.platform(),
        "python": platform.python_version(),
    }


def commit():
    """The repository's commit, with -dirty where files differ from it; None without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
    except OSError:
        return None
    return done.stdout.strip() or None


def write_result(folder, result):
    """Writes result.json, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as opened:
        json.dump(result, opened, indent=2)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(opened.name, os.path.join(folder, "result.json"))


def find(folders):
    """(results, faults): every result.json below the folders, and a line for each damaged one."""
    results, faults = [], []
    for folder in folders:
        paths = [os.path.join(base, "result.json")
                 for base, _, files in sorted(os.walk(folder)) if "result.json" in files]
        if not paths:
            faults.append(f"{folder}: no result.json here or below. Has a run ended there?")
        for path in paths:
            try:
                with open(path) as opened:
                    result = json.load(opened)
                row(result)
                results.append(result)
            except (ValueError, KeyError, TypeError) as error:
                faults.append(f"{path}: damaged ({error!r}).")
    return results, faults


def statistic(application, runs):
    """The words of a group's result.  runs: [(seconds, converged)].

    One run that missed the target may count as the slowest; two make the result invalid.
    """
    needed = MINIMUM_RUNS[application]
    if len(runs) < needed:
        return f"needs {needed} runs, has {len(runs)}"
    if sum(not converged for _, converged in runs) > 1:
        return "invalid: more than one run missed the target"
    seconds = sorted(s if converged else float("inf") for s, converged in runs)
    return f"{sum(seconds[1:-1]) / (len(seconds) - 2):.1f} s"


COLUMNS = ("application", "framework", "profile", "seed", "seconds", "metric", "value", "target",
           "examples/s", "status")


def row(result):
    """One run as the table's cells."""
    speed = result["examples_per_second"]
    return (
        result["application"], result["framework"], result["profile"], str(result["seed"]),
        f"{result['seconds_to_quality']:.1f}", result["metric"], f"{result['value']:.4f}",
        f"{result['target']:g}", "-" if speed is None else f"{speed:.0f}", result["status"],
    )  # fmt: skip


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
        groups = {}
        for result in results:
            machine = json.dumps(result["system"], sort_keys=True)
            key = tuple(result[n] for n in ("application", "framework", "profile", "target"))
            runs = groups.setdefault((*key, machine), [])
            runs.append((result["seconds_to_quality"], result["status"] == "success"))
        print()
        for (application, framework, profile, target, _), runs in sorted(groups.items()):
            print(f"{application} {framework} {profile} to {target:g}: "
                  f"{statistic(application, runs)}")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
