"""Results as people read them: python -m common.report FOLDER_OR_FILE... -o FILE [--against=OLD]

The ending of FILE says what it becomes:

    .html   one page with pictures, which needs no network: see page.py
    .csv    a row for each run; FILE.curves.csv has one for each evaluation
    .md     the table of cells
    .json   the results in one file, for common.results --against

In each folder and below lie: result.json of runs, with run.log beside it, which is judged as
common.check_log judges it; parity.json, the verdicts that common.parity --verdicts wrote;
kernels.json, see bridge.py.  A file may be any of the three.
"""

import concurrent.futures
import csv
import json
import math
import os
import statistics
import sys
from dataclasses import dataclass, field

from common import (
    benchmark,
    bridge,
    charts,
    check_log,
    options,
    page,
    regressions,
    results,
    run_folder,
)
from common.command import FRAMEWORKS
from common.errors import UserError, is_finite, printable, tell, told

USAGE = "usage: python -m common.report FOLDER_OR_FILE... -o FILE [--against=OLD]"
PARITY, KERNELS = "parity.json", "kernels.json"
MOST_POINTS = 12_000  # of all curves that a page shows, LEAST_POINTS of each if there are so many
LEAST_POINTS = 20
MAX_NAME = 200        # characters of a name in the pictures
NO_LOG = "no log"


@dataclass
class Run:
    """A run to show.  path: of its result.  label: of its kind: its framework, and a number where
    runs of a cell are not alike.
    log: the judges' verdict, in words.  epoch_examples: in an epoch; None where unknown.
    """

    path: str
    result: dict
    log: str = NO_LOG
    label: str = ""
    epoch_examples: int | None = None

    @property
    def met(self):
        """Whether it reached its target."""
        return self.result["status"] == "success"


@dataclass
class Content:
    """What was found.  parity: the verdicts; kernels: the contents of kernels.json."""

    runs: list[Run] = field(default_factory=list)
    parity: list[dict] = field(default_factory=list)
    kernels: list[dict] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def collect(places):
    """The Content of folders and files; what is damaged is a line of its faults."""
    found = Content()
    for place in places:
        paths = [place] if os.path.isfile(place) else [
            path for name in (PARITY, KERNELS) for path in results.below(place, name)]
        others = [path for path in paths if _take(found, path)]
        if others != [place] and (results.below(place, run_folder.RESULT) or not others):
            runs, faults = results.find_files([place])
            found.runs += [Run(path, result) for path, result in runs]
            found.faults += faults
    return found


def _take(found, path):
    """Whether a file holds verdicts or kernels; adds them, or the fault."""
    try:
        content = run_folder.read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        if os.path.basename(path) in (PARITY, KERNELS):
            found.faults.append(f"{path}: damaged ({error}).")
            return True
        return False  # results.find_files tells of it
    for name, fault, kept in (("parity", parity_fault, found.parity),
                              ("kernels", bridge.fault, found.kernels)):
        if isinstance(content, dict) and name in content and "config" not in content:
            odd = fault(content)
            if odd:
                found.faults.append(f"{path}: damaged ({odd} is missing, or is none of {name}).")
            elif name == "parity":
                kept += content["parity"]
            else:
                kept.append(content)
            return True
    return False


VERDICT = {"application": str, "reference": str, "name": str, "profile": str, "precision": str,
           "tensors": int, "agrees": bool, "first": (str, type(None)), "worst": dict}  # fmt: skip


def parity_fault(content):
    """What is missing or odd in the content of a parity.json; None of a good one."""
    if not isinstance(content["parity"], list):
        return "the list"
    for one in content["parity"]:
        if not isinstance(one, dict):
            return "an entry"
        for name, kind in VERDICT.items():
            if name not in one or not isinstance(one[name], kind):
                return name
        if not all(share is None or is_finite(share) for share in one["worst"].values()):
            return "worst"
    return None


def judge(runs):
    """Has each run's log judged, where it lies beside the result, and looks how many examples an
    epoch has.
    """
    def look(run):
        run.log, samples = judged(run.path)
        run.epoch_examples = samples or config_examples(run.result)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # each starts a process
        list(pool.map(look, runs))


def judged(path):
    """(the judges' verdict on the log beside a result, in words; its train_samples or None)."""
    folder, name = os.path.split(path)
    if name != run_folder.RESULT or not os.path.exists(run_folder.log_path(folder)):
        return NO_LOG, None
    try:
        _, events = check_log.read(folder)
        verdicts = check_log.judgements(events)
    except UserError as error:
        return f"fails: {str(error).removeprefix(f'{run_folder.log_path(folder)}: ')}", None
    samples = next((event["value"] for event in events if event["key"] == "train_samples"), None)
    # The last judge's words are ours, one a fault; the package's are many.
    fault = next(((who, faults[0]) for who, faults in reversed(verdicts) if faults), None)
    words = f"fails: {': '.join(fault)}" if fault else f"passes: {verdicts[0][0]}"
    return words, samples if type(samples) is int and 0 < samples <= results.MOST else None


def config_examples(result):
    """How many examples an epoch has, by the result's config; None where that cannot be said, be it
    that a library of the application is missing here.
    """
    try:
        module = benchmark.module(result["application"], "config")
        config = module.check(options.from_json(module.Config, result["config"]))
        return benchmark.benchmark_of(result["application"]).log_values(config, 1)["train_samples"]
    except (UserError, ArithmeticError, ImportError):
        return None


def in_order(frameworks):
    """Names of frameworks: ours first, in their order, then others."""
    return [*(name for name in FRAMEWORKS if name in frameworks),
            *sorted(set(frameworks) - set(FRAMEWORKS))]


def kinds(runs):
    """[[Run]]: runs that are alike, by seed, with their labels set; cells in their order."""
    by_id = {id(run.result): run for run in runs}
    order = in_order({run.result["framework"] for run in runs})
    found = []
    for parts in results.groups([run.result for run in runs]).values():
        for number, part in enumerate(parts, 1):
            group = sorted((by_id[id(result)] for result in part),
                           key=lambda run: run.result["seed"])
            for run in group:
                run.label = run.result["framework"] + f" ({number})" * (len(parts) > 1)
            found.append(group)

    def place(group):
        first = group[0].result
        return first["application"], first["profile"], order.index(first["framework"])

    return sorted(found, key=place)


# The table of cells.

CELL_COLUMNS = ("cell", "kind", "seconds to quality", ("median (range)", "number"),
                ("worst quality", "number"), "target", ("met", "number"),
                ("examples/s", "number"), "log")  # fmt: skip
ORIGIN_COLUMNS = ("framework", "device", ("machine", "long"), "commit")


def middle(values, form):
    """Median and range of numbers, as text; - of none."""
    if not values:
        return "-"
    median = format(statistics.median(values), form)
    if len(values) == 1:
        return median
    return f"{median} ({format(min(values), form)} to {format(max(values), form)})"


def worst(group):
    """{metric: the least value at the end of a run, or the largest where less is better}."""
    first = group[0].result
    try:
        facts = benchmark.benchmark_of(first["application"])
        module = benchmark.module(first["application"], "config")
        higher = facts.quality(module.QUICK).higher_is_better
    except UserError:
        higher = True
    return {name: (min if higher else max)(run.result["quality"].get(name, math.nan)
                                           for run in group)
            for name in first["quality"]}  # fmt: skip


def valued(values, form):
    """{metric: value} as a cell, beside one that has the metrics' names."""
    if len(values) == 1:
        return format(*values.values(), form)
    return results.shown(values, form)


def log_words(group):
    """How many logs pass, as text."""
    passed = sum(run.log.startswith("passes") for run in group)
    judged = sum(run.log != NO_LOG for run in group)
    if not judged:
        return NO_LOG
    return "passes" if passed == len(group) else f"{passed} of {len(group)} pass"


def cell_row(group):
    """Runs that are alike as the cells of CELL_COLUMNS."""
    first = group[0].result
    met = sum(run.met for run in group)
    log = log_words(group)
    speeds = [run.result["examples_per_second"] for run in group
              if run.result["examples_per_second"] is not None]
    return (
        f"{first['application']}, {first['profile']}", group[0].label,
        results.outcome([run.result for run in group]),
        middle([run.result["seconds_to_quality"] for run in group], ",.1f"),
        valued(worst(group), ".4f"),
        results.shown(first["target"], "g"),
        (f"{met} of {len(group)}", "" if met == len(group) else "bad"),
        f"{statistics.median(speeds):,.0f}" if speeds else "-",
        (log, {"passes": "good", NO_LOG: ""}.get(log, "bad")),
    )  # fmt: skip


def origin(group):
    """What runs that are alike were made with: the cells of ORIGIN_COLUMNS."""
    first = group[0].result
    versions, system, config = first["versions"], first["system"], first["config"]
    return (
        f"{versions.get('framework', '?')} {versions.get('version', '?')}",
        f"{config.get('device', '?')}, {config.get('precision', '?')}, "
        f"processes: {first['num_processes']}",
        f"{system.get('processor', '?')}, {system.get('cores', '?')} cores, "
        f"{system.get('memory_gib', '?')} GiB, Python {system.get('python', '?')}",
        commit_of(first),
    )  # fmt: skip


def commit_of(result):
    """A result's commit, short."""
    commit = result["commit"] or "unknown"
    return commit[:12] + "-dirty" * commit.endswith("-dirty")


def origins(groups):
    """The table of what made which cells."""
    found = {}
    for group in groups:
        cells = f"{group[0].result['application']}, {group[0].result['profile']}"
        if group[0].label != group[0].result["framework"]:
            cells += f": {group[0].label}"
        found.setdefault(origin(group), []).append(cells)
    rows = [(*made, "; ".join(dict.fromkeys(cells))) for made, cells in found.items()]
    return page.table("What the runs were made with", (*ORIGIN_COLUMNS, ("cells", "long")), rows)


def text_of(cell):
    """The text of a cell, which may have a class."""
    return cell if isinstance(cell, str) else cell[0]


def markdown(found):
    """The table of cells as Markdown."""
    header = [text_of(title) for title in (*CELL_COLUMNS, *ORIGIN_COLUMNS)]
    rows = [[printable(text_of(cell)) for cell in (*cell_row(group), *origin(group))]
            for group in kinds(found.runs)]
    return results.markdown(header, rows) + "\n"


# CSV.

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


def write_csv(path, rows):
    """Writes rows, {column: value}; at least one."""
    rows = list(rows)
    with open(path, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(rows[0])
        writer.writerows([plain(value) for value in row.values()] for row in rows)


# The page.


def thinned(curve, most):
    """At most so many entries of a curve, evenly, the first and the last among them."""
    if len(curve) <= most:
        return curve
    step = (len(curve) - 1) / (most - 1)
    return [curve[round(index * step)] for index in range(most)]


def rounded(value):
    """A number of five digits; the largest would round to infinity, which JSON has not."""
    found = float(f"{value:.5g}")
    return found if math.isfinite(found) else value


def name_of(text):
    """A name from a file as the pictures show it."""
    return printable(text[:MAX_NAME])


def curve_points(groups, metric, most):
    """The data of charts.curves.  most: entries of a run."""
    return [
        {"run": f"{name_of(run.label)}, {run.result['seed']}, {number}",
         "framework": name_of(run.result["framework"]), "seed": str(run.result["seed"]),
         "epoch": entry["epoch"], "seconds": round(entry["seconds"], 2),
         "examples": run.epoch_examples and run.epoch_examples * entry["epoch"],
         "value": rounded(entry["quality"][metric])}
        for group in groups for number, run in enumerate(group)
        for entry in thinned(run.result["quality_curve"], most) if metric in entry["quality"]
    ]  # fmt: skip


def spread_points(groups, name):
    """The data of charts.spread."""
    return [
        {"kind": name_of(run.label), "framework": name_of(run.result["framework"]),
         "seed": str(run.result["seed"]), "status": "met" if run.met else "missed",
         name: run.result[name]}
        for group in groups for run in group if run.result[name] is not None
    ]  # fmt: skip


def described(groups):
    """A picture's content in words, a sentence for each kind of runs."""
    parts = []
    for group in groups:
        times = [run.result["seconds_to_quality"] for run in group]
        ends = results.shown(worst(group), ".4g")
        met = sum(run.met for run in group)
        parts.append(f"{group[0].label}: {regressions.counted(group)}, target met by {met}, "
                     f"seconds {middle(times, ',.1f')}, worst {ends}.")
    return " ".join(parts)


MEANS = {"all": "The bar is the mean.", "met": "The bar is the mean of those that met the target.",
         "none": "No run met the target."}  # fmt: skip


def profile_section(number, groups, frameworks, most, specs, data):
    """(id, heading, HTML) of an application's profile: its pictures, and their numbers.

    most: points of a run's curve.
    """
    first = groups[0][0].result
    title = f"{first['application']}, {first['profile']}"
    words = described(groups)
    figures = []

    def draw(name, spec, rows, caption, description):
        specs[name] = spec
        data[spec["data"]["name"]] = rows
        figures.append(page.figure(name, caption, description))

    tables = []
    for index, metric in enumerate(first["quality"]):
        points = curve_points(groups, metric, most)
        if not points:
            continue
        name, shown = f"curve-{number}-{index}", name_of(metric)
        targets = sorted({group[0].result["target"][metric] for group in groups
                          if metric in group[0].result["target"]})
        draw(f"{name}-seconds", charts.curves(name, frameworks, "seconds", "seconds", shown,
                                              targets),
             points, f"{metric} against time", words)
        if any(point["examples"] for point in points):
            draw(f"{name}-examples",
                 charts.curves(name, frameworks, "examples", "examples seen", shown, targets),
                 points, f"{metric} against examples",
                 "A line for each framework and seed; examples are epochs times the training set.")
        rows = [[point["framework"], point["seed"],
                 *(_number(point[key]) for key in ("epoch", "seconds", "examples", "value"))]
                for point in points]  # fmt: skip
        header = ("framework", "seed", *((key, "number") for key in
                                         ("epoch", "seconds", "examples", metric)))
        tables.append(page.table(f"{title}: {metric} at each evaluation", header, rows))
    labels = list(dict.fromkeys(name_of(group[0].label) for group in groups))
    met = any(run.met for group in groups for run in group)
    for name, caption, unit, form, chosen in (
        ("seconds_to_quality", "Seconds to quality, by seed", "seconds", ",.1f",
         "met" if met else "none"),
        ("examples_per_second", "Speed, by seed", "examples per second", ",.0f", "all"),
    ):
        points = spread_points(groups, name)
        if not points:
            continue
        spread = f"spread-{number}-{name}"
        medians = " ".join(
            f"{group[0].label}: {middle(own, form)}." for group in groups
            if (own := [run.result[name] for run in group if run.result[name] is not None]))
        draw(spread, charts.spread(spread, frameworks, labels, name, unit, form, chosen), points,
             caption, f"{MEANS[chosen]} The line is the range; a triangle missed its target. "
             f"Medians: {medians}")
    content = page.pictures(figures) + page.details("The pictures' numbers", "".join(tables))
    return f"cell-{number}", title, content


def _number(value):
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"


RUN_COLUMNS = ("cell", "kind", ("seed", "number"), ("seconds", "number"), ("quality", "number"),
               ("examples/s", "number"), ("load before", "number"), ("others", "number"), "status",
               ("log", "long"))  # fmt: skip


def run_row(run):
    """A run as the cells of RUN_COLUMNS."""
    result = run.result
    speed = result["examples_per_second"]
    warned = list(results.load_warnings(result))
    before, others = results.load_cells([result])
    good = {"passes": "good", NO_LOG: ""}.get(run.log.partition(":")[0], "bad")
    return (
        f"{result['application']}, {result['profile']}", run.label, str(result["seed"]),
        f"{result['seconds_to_quality']:,.1f}", valued(result["quality"], ".4f"),
        "-" if speed is None else f"{speed:,.0f}",
        (before, "bad" if warned else ""), (others, "bad" if warned else ""),
        (result["status"], "" if run.met else "bad"), (run.log[:400], good),
    )  # fmt: skip


def parity_section(verdicts):
    """(id, heading, HTML) of parity's verdicts."""
    groups = list(dict.fromkeys(group for one in verdicts for group in one["worst"]))
    rows = []
    for one in verdicts:
        shares = [one["worst"].get(group, "") for group in groups]
        shown = ["-" if share == "" else "beyond" if share is None else f"{share:.2g}"
                 for share in shares]
        rows.append((
            f"{one['application']}: {one['name']}", one["reference"], one["profile"],
            one["precision"], ("agrees", "good") if one["agrees"] else ("differs", "bad"),
            one["first"] or "-", *shown,
        ))  # fmt: skip
    header = ("what", "against", "profile", "precision", "verdict", ("first that differs", "long"),
              *((group, "number") for group in groups))
    words = ("Largest difference of each group of tensors, as a share of its tolerance: above 1 "
             "it differs.")
    return "parity", "Same numbers", page.table(words, header, rows)


def kernel_sections(contents, specs, data):
    """(id, heading, HTML) of what kernels take, in each kernels.json."""
    for number, content in enumerate(contents):
        title = (f"Kernels: {content['framework']}, {content['device']}, {content['precision']}")
        points, steps = bridge.points(content), bridge.steps(content)
        roof, figures, tables = content["roof"], [], []
        if points:
            name = f"roofline-{number}"
            groups = sorted({name_of(one["kind"]) for one in points})
            data[name] = [{"kind": name_of(one["kind"]), "problem": name_of(one["problem"]),
                           "direction": name_of(one["direction"]),
                           "intensity": one["intensity"], "speed": one["speed"],
                           "share": f"{one['share']:.0%}"} for one in points]
            specs[name] = charts.roofline(name, groups, bridge.roof_line(content))
            figures.append(page.figure(
                name, "Roofline",
                f"{len(points)} kernels under a roof of {roof['flops_per_second']:.3g} FLOP/s and "
                f"{roof['bytes_per_second']:.3g} bytes/s; half of them reach "
                f"{statistics.median(one['share'] for one in points):.0%} of it or more."))
        if steps:
            name = f"bridge-{number}"
            parts, bars = bridge.shares(steps)
            data[name] = [bar | {"row": name_of(bar["row"]), "part": name_of(bar["part"]),
                                 "seconds": rounded(bar["seconds"]), "share": rounded(bar["share"])}
                          for bar in bars]
            rows = list(dict.fromkeys(bar["row"] for bar in data[name]))
            specs[name] = charts.bridge(name, rows, [name_of(part) for part in parts])
            figures.append(page.figure(
                name, "From kernels to a step",
                "What a step's kernels take, by kind, as shares of the measured step (dashed). " +
                " ".join(f"{step['suite']}: {step['seconds'] / total:.2f} times its kernels."
                         for step, own, _ in steps if (total := sum(own.values())))))
            tables.append(page.table(
                "Steps against the sum of their kernels",
                ("step", "batch", ("step, s", "number"), ("kernels, s", "number"),
                 ("step / kernels", "number"), ("kernels without a time", "number"),
                 ("by kind", "long")),
                [(step["suite"], step["batch"], f"{step['seconds']:.4g}",
                  f"{(total := sum(own.values())):.4g}",
                  f"{step['seconds'] / total:.2f}" if total else "-", str(missing),
                  ", ".join(f"{kind} {share:.0%}" for kind, seconds in own.items()
                            if (share := seconds / step["seconds"]) >= 0.01))
                 for step, own, missing in steps]))  # fmt: skip
        timed = sorted(points, key=lambda one: -one["seconds"] * max(one["count"], 1))
        rows = [(f"{one['suite']}: {one['kind']} {one['problem']}", one["direction"],
                 f"{one['count']:g}", f"{one['seconds']:.4g}", f"{one['speed']:.3g}",
                 f"{one['intensity']:.3g}", f"{one['share']:.0%}", "") for one in timed]
        rows += [(f"{one['suite']}: {one['kind']} {one['problem']}", one["direction"],
                  f"{one['count']:g}", "none", "-", "-", "-", str(one.get("reason", "")))
                 for one in content["kernels"] if one["seconds"] is None]
        tables.append(page.details("All kernels", page.table(
            "Kernels, those that take most of a step first",
            ("kernel", "direction", ("count", "number"), ("seconds", "number"),
             ("FLOP/s", "number"), ("FLOP/byte", "number"), ("of its roof", "number"),
             ("reason", "long")), rows)))
        yield f"kernels-{number}", title, page.pictures(figures) + "".join(tables)


def counted(found):
    """How much there is to show, in words."""
    kernels = sum(len(one["kernels"]) for one in found.kernels)
    parts = [regressions.counted(found.runs)] if found.runs else []
    parts += [f"{number} {name}{'s' * (number > 1)}" for number, name in
              ((len(found.parity), "verdict"), (kernels, "kernel")) if number]
    return ", ".join(parts)


def html_page(found, comparisons):
    """The page.  comparisons: of results.comparisons.  Raises UserError."""
    specs, data, sections = {}, {}, []
    groups = kinds(found.runs)
    frameworks = in_order({name_of(run.result["framework"]) for run in found.runs})
    if found.runs:
        sections.append(("cells", "Results", page.table(
            "Seconds to quality are MLPerf's statistic: the fastest and the slowest run dropped, "
            "the mean of the others. Runs of one row differ in their seed alone.",
            CELL_COLUMNS, map(cell_row, groups)) + origins(groups)
            + (page.choice("Frameworks in the pictures", frameworks) if len(frameworks) > 1
               else "")))
    if comparisons:
        classes = {"slower": "bad", "faster": "good"}
        sections.append(("against", "Against earlier runs", page.table(
            "A rank test over the seeds, at a level of 5 %; a run that missed its target is "
            "censored.", ("cell", "verdict", ("what is known", "long")),
            [(cell, (words or "not compared", classes.get(words, "")), text)
             for cell, words, text in comparisons])))
    most = max(LEAST_POINTS, MOST_POINTS // max(1, len(found.runs)))
    profiles = {}
    for group in groups:
        first = group[0].result
        profiles.setdefault((first["application"], first["profile"]), []).append(group)
    for number, own in enumerate(profiles.values()):
        sections.append(profile_section(number, own, frameworks, most, specs, data))
    if found.parity:
        sections.append(parity_section(found.parity))
    sections += kernel_sections(found.kernels, specs, data)
    if found.runs:
        rows = [run_row(run) for group in groups for run in group]
        sections.append(("runs", "All runs", page.table(
            "Load before: processes that wanted to run when the clock started; others: the share "
            "of the cores that others used.", RUN_COLUMNS, rows)))
    introduction = f"<p>{page.escaped(counted(found))}.</p>"
    return page.page("Time to quality", introduction, sections, specs, data)


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
        write_csv(path, run_rows(found.runs))
        write_csv(f"{path.removesuffix('.csv')}.curves.csv", curve_rows(found.runs))
    else:
        with open(path, "w", encoding="utf-8") as opened:
            opened.write(text)
    print(f"{printable(path)}: {counted(found)}")
    for fault in found.faults:
        tell(fault)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
