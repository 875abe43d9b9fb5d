"""The sections of a report's page: its tables, its pictures and their data.  See page.py."""

import math
import statistics

from common import benchmark, bridge, charts, page, regressions, results
from common.errors import UserError, printable
from common.found import NO_LOG, in_order, kinds

MOST_POINTS = 12_000  # of all curves that a page shows, LEAST_POINTS of each if there are so many
LEAST_POINTS = 20
MAX_NAME = 200        # characters of a name in the pictures
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
        # The space: Vega fails at a title that names what each object of JavaScript has: toString.
        name, shown = f"curve-{number}-{index}", f"{name_of(metric)} "
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
