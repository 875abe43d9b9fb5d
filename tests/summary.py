"""Sums up the sessions of tests/run.sh: python tests/summary.py FOLDER

FOLDER holds NAME.status, the exit status of each session, and NAME.xml, pytest's report in JUnit's
format, where there is one.  Prints the slowest tests, what went wrong, and "N passed, N failed,
N skipped" on the last line.  The exit code is 0 where nothing failed and a test ran.
"""

import collections
import pathlib
import sys
from xml.etree import ElementTree

NO_TESTS = 5      # pytest's status where it is told to run none: a fault only if all sessions are
SLOWEST = 10


def read(path):
    """[(seconds, test, outcome)] of a report."""
    found = []
    for case in ElementTree.parse(path).iter("testcase"):
        children = {child.tag for child in case}
        outcome = "passed"
        if children & {"failure", "error"}:
            outcome = "failed"
        elif "skipped" in children:
            outcome = "skipped"
        found.append((float(case.get("time")), f"{case.get('classname')}::{case.get('name')}",
                      outcome))
    return found


def summarize(folder):
    """Prints all.  Returns the exit code."""
    tests, faults = [], []
    for path in sorted(folder.glob("*.status")):
        name, status = path.stem, int(path.read_text())
        report = path.with_suffix(".xml")
        if report.exists():
            tests += read(report)
        else:  # ruff, or a session that broke down
            tests.append((0.0, name, "failed" if status else "passed"))
        if status not in (0, NO_TESTS):
            faults.append(f"{name}: ended with {status}")
    counts = collections.Counter(outcome for _, _, outcome in tests)
    if all(name == "ruff" for _, name, _ in tests):
        faults.append("no test ran")
    print(f"== the {SLOWEST} slowest tests")
    for seconds, test, _ in sorted(tests, reverse=True)[:SLOWEST]:
        print(f"{seconds:8.1f} s  {test}")
    failed = [test for _, test, outcome in tests if outcome == "failed"]
    if failed or faults:
        print("== failed", *failed, *faults, sep="\n")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if failed or faults else 0


if __name__ == "__main__":
    sys.exit(summarize(pathlib.Path(sys.argv[1])))
