"""Times the kernels of an application's step, or DeepBench's: their values checked, each one.

    kernels/run.sh FRAMEWORK [--suite=APPLICATION | deepbench | all] [--problem=N]
"""

import dataclasses
import importlib
import os
import re
import sys
import time
import types

from absl import flags

from common import benchmark, command, machine, options, results, timing
from common.errors import ABORTED, UserError, told
from common.progress import Line
from common.run_folder import commit
from kernels import lists, measured, steps, written

USAGE = "usage: kernels/run.sh FRAMEWORK [flags]; FRAMEWORK is one of "
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
SHORTEST = 0.02          # seconds of samples that a budget gives a row at the least


def define_flags():
    """The flags, an absl FlagValues of its own."""
    values = flags.FlagValues()
    names = [*lists.applications(), lists.DEEPBENCH, "all"]
    flags.DEFINE_enum("suite", "all", names, "whose kernels", values)
    flags.DEFINE_integer("problem", None, "this row of the list alone", 1, flag_values=values)
    flags.DEFINE_enum("device", "cpu", ["cpu", "cuda"], "where to compute", values)
    flags.DEFINE_enum("precision", "fp32", list(measured.ITEMS), "of the numbers", values)
    flags.DEFINE_integer("threads", None, "of the framework; default: the cores", 1, 1024,
                         flag_values=values)
    flags.DEFINE_string("budget", None, "time for all rows, as 90s, 2m or 1h; default: 2 s a row",
                        values)
    flags.DEFINE_boolean("cold", False, "no array is in a cache when a kernel starts", values)
    flags.DEFINE_string("profile", "reference", "of the application: quick or reference", values)
    flags.DEFINE_multi_string("set", [], "NAME=VALUE: any field of its config.py", values)
    flags.DEFINE_string("output_dir", None, "kernels.json and kernels.csv; goes on there", values)
    flags.DEFINE_boolean("steps", False, "time whole steps too, and the kernels of their batches",
                         values)
    flags.DEFINE_boolean("list", False, "show the rows, time none", values)
    return values


def parse(arguments):
    """(framework, flags, [Row], {application: see steps.batch_of}, seconds or None).

    Raises UserError.
    """
    values = define_flags()
    names = options.read_flags(values, arguments, "See kernels/README.md for the flags.")
    if len(names) != 1 or names[0] not in command.FRAMEWORKS:
        raise UserError(f"{USAGE}{', '.join(command.FRAMEWORKS)}.")
    seconds = seconds_of(values.budget)
    rows, batches = rows_of(values)
    if values.problem and values.problem > len(rows):
        raise UserError(f"--problem={values.problem}: {values.suite} has {len(rows)} rows. "
                        "See them with --list.")
    return names[0], values, rows, batches, seconds


def seconds_of(text):
    """Seconds of 90s, 2m or 1h; None of None.  Raises UserError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found or not float(found[1]):
        raise UserError(f"--budget={text}: expected a time above 0, as 90s, 2m or 1h.")
    return float(found[1]) * UNITS[found[2] or "s"]


def rows_of(values):
    """([Row], batches) that the flags ask for, rows by their numbers.  Raises UserError."""
    if values.set and values.suite in ("all", lists.DEEPBENCH):
        raise UserError("--set: sizes are an application's. Name it with --suite.")
    if values.steps and (values.problem or values.precision == "fp16"):
        raise UserError("--steps: needs all kernels of a step, in fp32, tf32 or bf16. Leave "
                        "--problem, or --steps.")
    found, batches = [], {}
    for name in lists.applications():
        if values.suite in ("all", name):
            profiles = benchmark.module(name, "config").PROFILES
            if values.profile not in profiles:
                raise UserError(f"--profile={values.profile}: expected one of "
                                f"{', '.join(profiles)}.")
            config = options.assign(profiles[values.profile], values.set)
            sizes = None
            if values.steps:
                config = dataclasses.replace(config, device=values.device,
                                             precision=values.precision)
                batches[name] = config, _, sizes = steps.batch_of(name, config)
            found += lists.application(name, config, sizes)
    if values.suite in ("all", lists.DEEPBENCH):
        found += lists.deepbench()
    return found, batches


def order(numbers, rows, roof, item, budget):
    """The numbers as a budget takes them: of each kind the quickest first, the kinds in turn.

    What takes more than its share of the budget comes after all that does not.
    """
    needed = {number: measured.estimate(rows[number - 1], roof, item) for number in numbers}
    turns, count = {}, {}
    for number in sorted(numbers, key=needed.get):
        kind = rows[number - 1].problem.kind
        turns[number] = count[kind] = count.get(kind, 0) + 1
    large = {number: needed[number] > budget / len(numbers) for number in numbers}
    return sorted(numbers, key=lambda n: (large[n], needed[n] if large[n] else turns[n], n))


class Beside:
    """What others used of the machine while rows were timed: each row of a second or more, the
    shorter ones together."""

    def __init__(self, done):
        """done: called with each row when that is known."""
        self.done, self.waiting = done, []
        self._start()

    def _start(self):
        self.load, self.own = machine.Load(), machine.own_seconds()

    def add(self, row):
        """A row has just been timed."""
        self.waiting.append(row)
        others = self.load.others(machine.own_seconds() - self.own)
        if others is not None:
            self.flush(others)

    def flush(self, others=None):
        """Those that wait are done."""
        for row in self.waiting:
            row["others"] = None if others is None else round(others, 3)
            row["loaded"] = others is not None and others > results.MAX_OTHERS
            self.done(row)
        self.waiting = []
        self._start()


def time_rows(values, rows, setting, roof, budget, journal, started):
    """Times what the journal lacks.  Returns the rows, by number.  started: of the budget."""
    item = measured.ITEMS[setting.precision]
    numbers = [values.problem] if values.problem else list(range(1, len(rows) + 1))
    wanted = [number for number in numbers if number not in journal.rows]
    if budget:
        wanted = order(wanted, rows, roof, item, budget)
    line, beside = Line(True), Beside(journal.add)
    for done, number in enumerate(wanted):
        row, left = rows[number - 1], None
        if budget:
            left = budget - (time.perf_counter() - started)
            needed = measured.estimate(row, roof, item)
        if budget and needed > left:
            found = {"seconds": None, "reason": f"{written.LEFT_OUT} of {values.budget}"}
        else:
            each = measured.ROW_SECONDS
            if budget:
                each = max(SHORTEST, min(each, left / (len(wanted) - done) - needed))
            found = measured.measure(row, setting, each)
        differs = [row.differs]
        if row.suite == lists.DEEPBENCH:
            differs.append(setting.operations.differs(row.problem))
        beside.add(written.entry(number, row, found, item, cold=setting.cold,
                                 mhz=measured.megahertz(),
                                 differs="; ".join(filter(None, differs))))
        if line.due():
            spent = time.perf_counter() - started
            rest = spent / (done + 1) * (len(wanted) - done - 1)
            line.show(f"{done + 1} of {len(wanted)} kernels, about {timing.duration(rest)} left")
    beside.flush()
    if line.enabled:
        print("\r\x1b[K", end="", file=sys.stderr)
    return [journal.rows[number] for number in numbers]


class Memory:
    """A journal that nobody keeps."""

    def __init__(self):
        self.rows = {}

    def add(self, row):
        """Keeps it until the end of the run."""
        self.rows[row["number"]] = row


def main(arguments):
    """Returns the exit code: ABORTED where a kernel's values were wrong."""
    name, values, rows, batches, budget = parse(arguments)
    if values.list:
        for number, row in enumerate(rows, 1):
            print(f"{number:>4}  {row.suite:<20} {row.problem.kind:<21} {row.direction:<9} "
                  f"{row.count or '':>5} {row.problem.words()}  ({row.layers[0]})")
        return 0
    if values.threads:
        os.environ["OMP_NUM_THREADS"] = str(values.threads)
    adapter = importlib.import_module(f"common.frameworks.{name}")
    operations = importlib.import_module(f"kernels.{name}.operations")
    if values.precision not in operations.PRECISIONS:
        raise UserError(f"--precision={values.precision}: {name} has "
                        f"{', '.join(operations.PRECISIONS)}.")
    # What is narrower than fp32 is the arrays' own type; the adapter sets no more than fp32.
    precision = values.precision if values.precision == "tf32" else "fp32"
    adapter.start(types.SimpleNamespace(precision=precision, device=values.device, seed=1,
                                        compile=False))
    described = adapter.describe()
    facts = {
        "framework": name, "precision": values.precision, "device": values.device,
        "suite": values.suite, "profile": values.profile, "set": values.set,
        "sizes": {own: sizes for own, (_, _, sizes) in batches.items()}, "cold": values.cold,
        "described": described, "commit": commit(), "system": machine.system_description(),
        "versions": timing.versions(),
    }  # fmt: skip
    journal = written.Journal(values.output_dir, facts) if values.output_dir else Memory()
    content = facts | measure_all(values, rows, batches, budget, journal, (operations, adapter))
    for line in steps.table(content):
        print(line)
    if values.output_dir:
        written.write(values.output_dir, content)
        print(os.path.join(values.output_dir, written.JSON))
    wrong = [row["number"] for row in content["kernels"]
             if row.get("reason", "").startswith(measured.WRONG)]
    if wrong:
        print(f"wrong values: rows {', '.join(map(str, wrong))}", file=sys.stderr)
    return ABORTED if wrong else 0


def measure_all(values, rows, batches, budget, journal, modules):
    """{roof, kernels, steps, load} of kernels.json.  Prints roof and rows as they are known.

    modules: the framework's operations and its adapter.  Half of a budget is for steps, if any.
    """
    started, load, described = time.perf_counter(), machine.Load(), modules[1].describe()
    setting = measured.Setting(*modules, values.device, values.precision, values.cold)
    roof = measured.roof(setting, budget)
    print(f"{described['framework']} {described['version']}, {described['device']}, "
          f"{described['threads']} threads, {values.precision}. Roof: "
          f"{roof['flops_per_second'] / 1e9:,.1f} GFLOP/s (product of {roof['gemm']} x "
          f"{roof['gemm']}), {roof['bytes_per_second'] / 1e9:,.2f} GB/s (triad).", flush=True)
    own = budget / (2 if batches else 1) if budget else None
    found = time_rows(values, rows, setting, roof, own, journal, started)
    for line in written.table(found, roof):
        print(line, flush=True)
    each = budget / (2 * len(batches)) if budget and batches else steps.SECONDS
    timed = [steps.time_step(name, described["framework"], *batch, each)
             for name, batch in batches.items()]
    return {"roof": roof, "kernels": found, "steps": timed, "load": {"before": load.before}}


if __name__ == "__main__":
    sys.exit(told(lambda: main(sys.argv[1:]), "Rows that were timed are kept in --output_dir."))
