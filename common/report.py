"""Results as people read them: python -m common.report FOLDER_OR_FILE... -o FILE [--against=OLD]

The ending of FILE says what it becomes:

    .html   one page with pictures, which needs no network: see page.py
    .csv    a row for each run; FILE.curves.csv has one for each evaluation
    .md     the table of cells
    .json   the results in one file, for common.results --against

In each folder and below lie: result.json of runs, with run.log beside it, which is judged as
common.check_log judges it; parity.json, the verdicts that common.parity --verdicts wrote;
kernels.json, see bridge.py.  A file may be any of the three, and a folder that has none of them
here or below may hold any as NAME.json.
"""

import csv
import json
import os
import sys

from common import results
from common.errors import UserError, printable, tell, told
from common.files import replaced
from common.found import collect, judge, kinds
from common.sections import (
    CELL_COLUMNS,
    ORIGIN_COLUMNS,
    cell_row,
    counted,
    html_page,
    origin,
    text_of,
)

USAGE = "usage: python -m common.report FOLDER_OR_FILE... -o FILE [--against=OLD]"


def markdown(found):
    """The table of cells as Markdown."""
    header = [text_of(title) for title in (*CELL_COLUMNS, *ORIGIN_COLUMNS)]
    rows = [[printable(text_of(cell)) for cell in (*cell_row(group), *origin(group))]
            for group in kinds(found.runs)]
    return results.markdown(header, rows) + "\n"


RUN_FIELDS = ("application", "framework", "profile", "division", "seed", "status",
              "seconds_to_quality", "init_seconds", "seconds_evaluating", "examples_per_second",
              "peak_memory_bytes", "num_processes", "resumed", "commit")  # fmt: skip
CURVE_FIELDS = ("application", "framework", "profile", "seed", "epoch", "step", "seconds",
                "examples", "metric", "value", "target")  # fmt: skip


def run_rows(runs):
    """[{column: value}], a row for each run."""
    for run in runs:
        result = run.result
        last = result["quality_curve"][-1] if result["quality_curve"] else {}
        config, load = result["config"], result.get("load", {})
        yield {
            **{name: result.get(name) for name in RUN_FIELDS},
            "quality": results.shown(result["quality"], ""),
            "target": results.shown(result["target"], ""),
            "epochs": last.get("epoch"), "steps": last.get("step"),
            **{name: config.get(name) for name in ("device", "precision", "compile")},
            "version": result["versions"].get("version"),
            **{name: result["system"].get(name)
               for name in ("processor", "cores", "memory_gib", "operating_system", "python")},
            "load_before": load.get("before"), "load_others": load.get("others"),
            "log": run.log, "file": run.path,
        }  # fmt: skip


def curve_rows(runs):
    """[{column: value}], a row for each evaluation and metric."""
    for run in runs:
        own = {name: run.result[name] for name in CURVE_FIELDS[:4]}
        for entry in run.result["quality_curve"]:
            for metric, value in entry["quality"].items():
                yield own | {
                    "epoch": entry["epoch"], "step": entry["step"], "seconds": entry["seconds"],
                    "examples": run.epoch_examples and run.epoch_examples * entry["epoch"],
                    "metric": metric, "value": value,
                    "target": run.result["target"].get(metric),
                }  # fmt: skip


def plain(value):
    """A value as a cell of a CSV file; a text that a spreadsheet would compute is quoted."""
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return repr(value)
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write_csv(path, header, rows):
    """Writes rows, {column: value}, under the names of the columns."""
    with replaced(path) as opened:
        writer = csv.writer(opened)
        writer.writerow(header)
        writer.writerows([plain(value) for value in row.values()] for row in rows)


def main(argv):
    """Returns the exit code: 1 where something is missing or damaged; the rest is written."""
    return told(lambda: write(argv))


def write(argv):
    """Writes what -o names.  Returns the exit code.  Raises UserError."""
    places, values = results.arguments(argv, ["-o", "against"])
    path = values.get("-o", "")
    ending = os.path.splitext(path)[1]
    if ending not in (".html", ".csv", ".md", ".json"):
        raise UserError(f"{USAGE}; FILE ends in .html, .csv, .md or .json.")
    if "against" in values and ending != ".html":
        raise UserError("--against: stands in a page; for the words alone, common.results.")
    found = collect(places or ["runs"])
    old, old_faults = results.find([values["against"]] if "against" in values else [])
    found.faults += old_faults
    if not found.runs and (ending != ".html" or not (found.parity or found.kernels)):
        for fault in found.faults[:-1]:
            tell(fault)
        raise UserError(found.faults[-1] if found.faults else f"{places[0]}: no run to show.")
    if ending == ".json":
        text = json.dumps([run.result for run in found.runs], indent=1)
    else:
        judge(found.runs)
    if ending == ".md":
        text = markdown(found)
    if ending == ".html":
        compared = results.comparisons(old, [run.result for run in found.runs]) if old else []
        text = html_page(found, compared)
    if ending == ".csv":
        kinds(found.runs)
        rows = list(run_rows(found.runs))
        write_csv(path, rows[0], rows)
        write_csv(f"{path.removesuffix('.csv')}.curves.csv", CURVE_FIELDS, curve_rows(found.runs))
    else:
        with replaced(path) as opened:
            opened.write(text)
    print(f"{printable(path)}: {counted(found)}")
    for fault in found.faults:
        tell(fault)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
