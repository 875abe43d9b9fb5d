"""What a run leaves: a journal while it goes on, then kernels.json and kernels.csv, and a table."""

import csv
import json
import os

from common import bridge
from common.errors import UserError
from common.files import open_regular, replaced
from common.timing import duration
from kernels.lists import DEEPBENCH

LEFT_OUT = "not within the budget"
JOURNAL, JSON, CSV = "journal.jsonl", "kernels.json", "kernels.csv"
COLUMNS = ("number", "suite", "kind", "problem", "direction", "count", "seconds", "low", "high",
           "narrow", "repeats", "flops", "bytes", "flop_per_second", "byte_per_second",
           "share_of_roof", "gap", "others", "mhz", "cold", "reason", "differs", "correction",
           "layers")  # fmt: skip


def entry(number, row, measured, item, **facts):
    """A row of kernels.json: what bridge.py says, and further keys.  item: bytes of a number."""
    problem = row.problem
    return {"suite": row.suite, "kind": problem.kind, "problem": problem.words(),
            "direction": row.direction, "count": row.count, "flops": problem.flops(row.direction),
            "bytes": problem.bytes(row.direction, item), "number": number,
            "layers": list(row.layers), "correction": row.correction,
            **facts, **measured}


class Journal:
    """The rows of a run in a folder, each written when it is measured.

    Its first line says what is measured, so that no other run goes on with it.
    """

    def __init__(self, folder, facts):
        """facts: what must be the same for a run to go on.  Raises UserError, OSError."""
        self.path, self.rows, size = os.path.join(folder, JOURNAL), {}, 0
        os.makedirs(folder, exist_ok=True)
        facts = json.loads(json.dumps(facts))
        with open_regular(self.path, "a+b", own=True) as opened:
            opened.seek(0)
            lines = opened.read().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]  # one may be torn
            try:
                first, *rows = [json.loads(line) for line in whole] or [None]
                self.rows = {row["number"]: row for row in rows}
            except (ValueError, TypeError, KeyError):
                raise UserError(f"{self.path}: not a journal of kernels. Name another "
                                "--output_dir.") from None
            if first not in (None, facts):
                names = [name for name in facts if not isinstance(first, dict)
                         or first.get(name) != facts[name]]
                raise UserError(f"{self.path}: begun with another {', '.join(names)}. Name another "
                                "--output_dir, or give the same flags.")
            size = sum(map(len, whole))
        if size < sum(map(len, lines)):
            os.truncate(self.path, size)
        if first is None:
            self._append(facts)

    def add(self, row):
        """Writes a row."""
        self.rows[row["number"]] = row
        self._append(row)

    def _append(self, content):
        with open_regular(self.path, "ab", own=True) as opened:
            opened.write(json.dumps(content).encode() + b"\n")


def write(folder, content):
    """kernels.json and kernels.csv, each whole or not at all.  Raises OSError."""
    assert bridge.fault(content) is None, bridge.fault(content)
    with replaced(os.path.join(folder, CSV)) as opened:
        writer = csv.DictWriter(opened, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in content["kernels"]:
            low, high = row.get("interval") or (None, None)
            writer.writerow(row | speeds(row, content["roof"])
                            | {"low": low, "high": high, "layers": "; ".join(row["layers"])})
    with replaced(os.path.join(folder, JSON)) as opened:
        json.dump(content, opened, indent=1)


def speeds(row, roof):
    """{flop_per_second, byte_per_second, share_of_roof} of a timed row; {} of another.

    The roof of what computes nothing is the bandwidth.  The share may exceed 1: small arrays lie in
    a cache, which is faster than memory.
    """
    if row["seconds"] is None:
        return {}
    flops, moved = row["flops"] / row["seconds"], row["bytes"] / row["seconds"]
    least = max(row["flops"] / roof["flops_per_second"], row["bytes"] / roof["bytes_per_second"])
    return {"flop_per_second": flops, "byte_per_second": moved,
            "share_of_roof": least / row["seconds"]}


def table(rows, roof):
    """Lines for people.  Rows that the budget left out are counted at the end."""
    lines = [f"{'row':>4}  {'kind':<21} {'direction':<9} {'times':>5} {'time':>8} {'+-':>5} "
             f"{'GFLOP/s':>8} {'GB/s':>7} {'roof':>5}  problem"]
    left_out = [row for row in rows if row.get("reason", "").startswith(LEFT_OUT)]
    for row in rows:
        if row in left_out:
            continue
        start = (f"{row['number']:>4}  {row['kind']:<21} {row['direction']:<9} "
                 f"{row['count'] or '':>5} ")
        if row["seconds"] is None:
            lines.append(f"{start}{'none':>8} {row['problem']}: {row['reason']}")
            continue
        low, high = row["interval"] or (0.0, 2.0 * row["seconds"])
        spread = f"{50 * (high - low) / row['seconds']:.0f}%" if row["interval"] else "?"
        speed = speeds(row, roof)
        marks = [f" [{row['layers'][0]}]"] if row["suite"] == DEEPBENCH else []
        marks += [f" (not DeepBench's: {row['differs']})"] if row["differs"] else []
        marks += [" (others ran beside)"] if row["loaded"] else []
        lines.append(f"{start}{duration(row['seconds']):>8} {spread:>5} "
                     f"{speed['flop_per_second'] / 1e9:>8.1f} "
                     f"{speed['byte_per_second'] / 1e9:>7.2f} "
                     f"{speed['share_of_roof']:>5.0%}  {row['problem']}{''.join(marks)}")
    if left_out:
        lines.append(f"{len(left_out)} of {len(rows)} rows: {left_out[0]['reason']}")
    return lines
