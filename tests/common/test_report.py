"""What a report holds, from runs, verdicts and kernels: the page's HTML and data, CSV, Markdown."""

import copy
import csv
import dataclasses
import html.parser
import json
import os
import re

import pytest

from common import benchmark, bridge, found, report, run_folder, sections
from tests.common import fake


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of three seeds, one of which misses its target; a verdict on each of two ports; kernels.
    """
    folder = tmp_path_factory.mktemp("runs")
    for seed, values in ((1, [0.25, 0.5, 0.95]), (2, [0.2, 0.4, 0.96]), (3, [0.1, 0.3, 0.4])):
        fake.run(fake.config_of(folder / str(seed), seed=seed, num_epochs=3), values)
    log = folder / "3" / "run.log"
    log.write_text("".join(log.read_text().splitlines(True)[:-1]))
    for seed, seconds in ((1, 10.0), (2, 30.0), (3, 40.0)):
        path = folder / str(seed) / "result.json"
        result = json.loads(path.read_text()) | {
            "seconds_to_quality": seconds, "examples_per_second": 100.0 * seed}  # fmt: skip
        path.write_text(json.dumps(result))
    (folder / "parity.json").write_text(json.dumps(VERDICTS))
    (folder / "kernels.json").write_text(json.dumps(KERNELS))
    return folder


VERDICT = {"application": "translation", "reference": "pytorch", "name": "port", "profile": "quick",
           "precision": "fp64", "tensors": 3, "agrees": True, "first": None,
           "worst": {"loss": 0.25, "gradient": 0.5}}  # fmt: skip
VERDICTS = {"commit": None, "system": {}, "parity": [VERDICT, VERDICT | {
    "name": "other", "agrees": False, "first": "step_0000 gradient/w",
    "worst": {"loss": 0.1, "gradient": None}}]}  # fmt: skip


def kernel(kind, seconds, count=1, flops=1e9, size=1e8, suite="translation", **more):
    return {"suite": suite, "kind": kind, "problem": "8 x 8", "direction": "forward",
            "count": count, "seconds": seconds, "flops": flops, "bytes": size} | more  # fmt: skip


KERNELS = {
    "framework": "pytorch", "precision": "fp32", "device": "cpu", "versions": {}, "system": {},
    "commit": None, "roof": {"flops_per_second": 1e10, "bytes_per_second": 1e9},
    "kernels": [
        kernel("gemm", 0.2, count=2),                  # 10 FLOP a byte: at the ridge, half its roof
        kernel("softmax", 0.1, flops=1e8),             # 1 FLOP a byte: on its roof
        kernel("ctc", None, reason="no such kernel"),
        kernel("top-k", 0.5, suite="deepbench", count=0, flops=0),
    ],
    "steps": [{"suite": "translation", "batch": "64 pairs", "seconds": 0.625}],
}  # fmt: skip


def written(folder, path, *more):
    assert report.main([str(folder), "-o", str(path), *more]) == 0
    return path.read_text()


class Page(html.parser.HTMLParser):
    """tables: {caption: [[cell]]}, the header first.  charts: the JSON of the page's pictures."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self.stack, self.text = {}, [], [], ""
        self.rows, self.caption, self.scripts = [], "", []
        self.feed(text)
        self.charts = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag == "table":
            self.rows = []
        if tag in ("td", "th", "caption", "script"):
            self.text = ""

    def handle_data(self, data):
        self.text += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.text)
        if tag == "caption":
            self.caption = self.text
        if tag == "table":
            self.tables[self.caption] = self.rows
        if tag == "script":
            self.scripts.append(self.text)

    def table(self, words):
        """[{title: cell}] of the table whose caption begins so."""
        [rows] = [rows for caption, rows in self.tables.items() if caption.startswith(words)]
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    return Page(written(folder, path))


def test_the_cell_of_three_runs(page):
    [cell] = page.table("Seconds to quality")
    assert cell == {
        "cell": "image_classification, quick", "kind": "pytorch",
        "seconds to quality": "needs 5 runs, has 3", "median (range)": "30.0 (10.0 to 40.0)",
        "worst quality": "0.4000", "target": "top1_accuracy=0.9", "met": "2 of 3",
        "examples/s": "200", "log": "2 of 3 pass",
    }  # fmt: skip


def test_what_made_the_runs(page, folder):
    [row] = page.table("What the runs were made with")
    system = json.loads((folder / "1" / "result.json").read_text())["system"]
    assert row["framework"] == "none 0"
    assert row["device"] == "cpu, fp32, processes: 1"
    assert row["machine"].startswith(f"{system['processor']}, {system['cores']} cores, ")
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", row["commit"])
    assert row["cells"] == "image_classification, quick"


def test_each_run_and_what_the_checker_says(page):
    rows = page.table("Load before")
    assert [(row["seed"], row["seconds"], row["status"]) for row in rows] == [
        ("1", "10.0", "success"), ("2", "30.0", "success"), ("3", "40.0", "aborted")]  # fmt: skip
    assert rows[0]["log"].startswith("passes: mlperf-logging ")
    assert rows[2]["log"] == ("fails: common/mllog.py, strict order of events: the log ends after "
                              "block_stop: expected run_stop")


def test_the_pictures_data(page):
    data, specs = page.charts["data"], page.charts["specs"]
    curve = data["curve-0-0"]
    assert len(curve) == 3 + 3 + 3
    assert len({point["run"] for point in curve}) == 3
    assert [point["value"] for point in curve[:3]] == [0.25, 0.5, 0.95]
    # 16 examples an epoch, by the config.
    assert [point["examples"] for point in curve[:3]] == [16, 32, 48]
    assert {spec["data"]["name"] for spec in specs.values()} == data.keys()
    assert {"curve-0-0-seconds", "curve-0-0-examples"} <= specs.keys()
    spread = data["spread-0-seconds_to_quality"]
    assert [(one["seconds_to_quality"], one["status"]) for one in spread] == [
        (10.0, "met"), (30.0, "met"), (40.0, "missed")]  # fmt: skip
    assert [one["examples_per_second"] for one in data["spread-0-examples_per_second"]] == [
        100.0, 200.0, 300.0]  # fmt: skip


def test_every_picture_has_words_and_a_table(page):
    charts = [dict(attributes) for tag, attributes in page.tags
              if dict(attributes).get("class") == "chart"]  # fmt: skip
    assert {chart["data-chart"] for chart in charts} == page.charts["specs"].keys()
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 40 for chart in charts)
    rows = page.table("image_classification, quick: top1_accuracy at each evaluation")
    assert [row["top1_accuracy"] for row in rows[:3]] == ["0.25", "0.5", "0.95"]
    scrolled = [attributes for tag, attributes in page.tags if attributes.get("class") == "scroll"]
    assert len(scrolled) == len(page.tables)
    assert all(one["tabindex"] == "0" and one["role"] == "region" for one in scrolled)


def test_verdicts_of_parity(page):
    rows = page.table("Largest difference")
    assert [(row["what"], row["verdict"], row["loss"], row["gradient"]) for row in rows] == [
        ("translation: port", "agrees", "0.25", "0.5"),
        ("translation: other", "differs", "0.1", "beyond"),
    ]
    assert rows[1]["first that differs"] == "step_0000 gradient/w"


def test_kernels_under_their_roof(page):
    points = page.charts["data"]["roofline-0"]
    assert [(one["kind"], one["intensity"], one["speed"], one["share"]) for one in points] == [
        ("gemm", 10.0, 5e9, "50%"), ("softmax", 1.0, 1e9, "100%")]  # fmt: skip
    [roof] = [layer["data"]["values"] for layer in page.charts["specs"]["roofline-0"]["layer"]
              if "data" in layer]  # fmt: skip
    assert roof == [{"intensity": 0.5, "speed": 5e8}, {"intensity": 10.0, "speed": 1e10},
                    {"intensity": 20.0, "speed": 1e10}]  # fmt: skip


def test_the_bridge_from_kernels_to_a_step(page):
    [row] = page.table("Steps against")
    assert row == {"step": "translation", "batch": "64 pairs", "step, s": "0.625",
                   "kernels, s": "0.5", "step / kernels": "1.25", "kernels without a time": "1",
                   "by kind": "gemm 64%, softmax 16%"}  # fmt: skip
    bars = {bar["part"]: bar["share"] for bar in page.charts["data"]["bridge-0"]}
    assert bars == {"gemm": 0.64, "softmax": 0.16, bridge.OUTSIDE: 0.2}


def test_many_kinds_of_kernels_are_put_together():
    content = KERNELS | {"kernels": [kernel(f"kind {n}", 0.01 * n) for n in range(1, 11)]}
    parts, bars = bridge.shares(bridge.steps(content))
    assert parts == [*(f"kind {n}" for n in range(10, 4, -1)), bridge.OTHER, bridge.OUTSIDE]
    assert sum(bar["share"] for bar in bars) == pytest.approx(1.0)
    assert next(bar for bar in bars if bar["part"] == bridge.OTHER)["seconds"] == pytest.approx(0.1)
    faster = content | {"steps": [KERNELS["steps"][0] | {"seconds": 0.25}]}
    parts, bars = bridge.shares(bridge.steps(faster))
    assert bridge.OUTSIDE not in parts  # the step is shorter than its kernels
    assert sum(bar["share"] for bar in bars) == pytest.approx(0.55 / 0.25)


@pytest.mark.parametrize(("name", "change", "odd"), [
    ("parity", {"parity": 3}, "the list"),
    ("parity", {"parity": [VERDICT | {"agrees": 1}]}, "agrees"),
    ("parity", {"parity": [VERDICT | {"worst": {"loss": "much"}}]}, "worst"),
    ("kernels", {"roof": {"flops_per_second": 0, "bytes_per_second": 1}}, "roof"),
    ("kernels", {"kernels": [kernel("gemm", -1.0)]}, "kernels"),
    ("kernels", {"kernels": [kernel("gemm", 1.0, size=float("inf"))]}, "kernels"),
    ("kernels", {"steps": [{"suite": "translation", "batch": "1", "seconds": 0}]}, "steps"),
    ("kernels", {"framework": None}, "framework"),
])  # fmt: skip
def test_damage_is_named_and_the_rest_is_written(name, change, odd, folder, tmp_path, capsys):
    content = {"parity": VERDICTS, "kernels": KERNELS}[name] | change
    (tmp_path / f"{name}.json").write_text(json.dumps(content))
    path = tmp_path / "report.html"
    assert report.main([str(folder), str(tmp_path), "-o", str(path)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == (f"error: {tmp_path}/{name}.json: damaged ({odd} is missing, or is none of "
                    f"{name}).")
    assert len(Page(path.read_text()).table("Load before")) == 3


def test_against_earlier_runs(folder, tmp_path):
    old = tmp_path / "old.json"
    written(folder, old)
    assert len(json.loads(old.read_text())) == 3
    runs = json.loads(old.read_text())
    old.write_text(json.dumps([run | {"seconds_to_quality": 1.0 + run["seed"], "commit": "a" * 40}
                               for run in runs]))
    [row] = Page(written(folder, tmp_path / "report.html", f"--against={old}")).table("A rank test")
    assert row["verdict"] == "not told apart"
    assert "takes 12 runs on each side" in row["what is known"]
    assert row["what is known"].endswith("what else changed: commit")


def test_csv_of_runs_and_of_curves(folder, tmp_path):
    written(folder, tmp_path / "report.csv")
    with open(tmp_path / "report.csv") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["seed"], row["seconds_to_quality"], row["status"]) for row in rows] == [
        ("1", "10.0", "success"), ("2", "30.0", "success"), ("3", "40.0", "aborted")]  # fmt: skip
    assert (rows[0]["quality"], rows[0]["target"]) == ("top1_accuracy=0.95", "top1_accuracy=0.9")
    assert (rows[0]["epochs"], rows[0]["steps"], rows[0]["device"]) == ("3", "12", "cpu")
    with open(tmp_path / "report.curves.csv") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["epoch"], row["examples"], row["metric"], row["value"]) for row in rows[:2]] == [
        ("1", "16", "top1_accuracy", "0.25"), ("2", "32", "top1_accuracy", "0.5")]  # fmt: skip


LARGEST = 1.7976931348623157e308


@pytest.mark.parametrize(("change", "written_at_all"), [
    ({"seconds": LARGEST}, True),
    ({"quality": {"top1_accuracy": LARGEST}}, True),
    ({"quality": {"top1_accuracy": -LARGEST}}, True),
    ({"epoch": 10**15}, True),
    ({"epoch": LARGEST}, False),
    ({"step": 10**400}, False),
    ({"quality": {"other": 0.5}}, False),
])  # fmt: skip
def test_numbers_at_the_edge(change, written_at_all, folder, tmp_path, capsys):
    result = json.loads((folder / "1" / "result.json").read_text())
    result |= {"seconds_to_quality": LARGEST, "examples_per_second": LARGEST}
    result["quality_curve"][1] |= change
    file = tmp_path / "result.json"
    file.write_text(json.dumps([result, result | {"seed": 9}]))
    code = report.main([str(file), "-o", str(tmp_path / "report.html")])
    assert code == (0 if written_at_all else 1)
    assert written_at_all or "quality_curve is missing, or is none" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(1)"])
def test_no_cell_is_a_formula(value):
    assert report.plain(value) == f"'{value}"
    assert report.plain(-1.5) == "-1.5"


def test_markdown_has_the_cells(folder, tmp_path):
    lines = written(folder, tmp_path / "report.md").splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| image_classification, quick | pytorch | needs 5 runs, has 3 |")


def test_long_curves_are_thinned():
    curve = [{"epoch": n} for n in range(1000)]
    thin = sections.thinned(curve, 50)
    assert len(thin) == 50
    assert (thin[0], thin[-1]) == (curve[0], curve[-1])
    assert sections.thinned(curve[:7], 50) == curve[:7]


def test_a_hundred_runs_stay_under_six_megabytes(folder, tmp_path):
    result = json.loads((folder / "1" / "result.json").read_text())
    result["quality_curve"] *= 100  # 300 evaluations: thinned
    many = [result | {"seed": seed, "framework": ("pytorch", "tensorflow")[seed % 2]}
            for seed in range(100)]  # fmt: skip
    file = tmp_path / "many.json"
    file.write_text(json.dumps(many))
    assert len(written(file, tmp_path / "report.html").encode()) < 6_000_000


@pytest.mark.parametrize(("argv", "words"), [
    (["-o", "x.pdf"], "FILE ends in .html, .csv, .md or .json"),
    ([], "FILE ends in"),
    (["-o", "x.csv", "--against=y"], "stands in a page"),
    (["-o", "missing/x.md"], "missing/x.md: No such file"),
    (["--out=x.html"], "--out=x.html: expected each of -o, --against once"),
])  # fmt: skip
def test_wrong_words_are_one_line(argv, words, folder, capsys):
    assert report.main([str(folder), *argv]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_a_folder_of_results_by_name(folder, tmp_path, capsys):
    """As docs/results, whose files are the suite's own."""
    for seed in (1, 2):
        result = (folder / str(seed) / "result.json").read_text()
        (tmp_path / f"cell-{seed}.json").write_text(result)
    (tmp_path / "verdicts.json").write_text(json.dumps(VERDICTS))
    page = Page(written(tmp_path, tmp_path / "report.html"))
    assert [row["seed"] for row in page.table("Load before")] == ["1", "2"]
    assert len(page.table("Largest difference")) == 2


def test_what_is_named_twice_counts_once(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    page = Page(written(folder, tmp_path / "report.html", str(folder / "1"), f"{tmp_path}/link/2",
                        str(folder / "3" / "result.json"), str(folder / "parity.json")))
    assert len(page.table("Load before")) == 3
    assert len(page.table("Largest difference")) == 2


@pytest.mark.parametrize("ending", ["html", "csv", "md", "json"])
def test_whole_or_not_at_all(ending, folder, tmp_path, capsys, monkeypatch):
    path = tmp_path / f"report.{ending}"
    path.write_text("before")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    assert report.main([str(folder), "-o", str(path)]) == 130
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    written(folder, path)
    (tmp_path / f"folder.{ending}").mkdir()
    capsys.readouterr()
    assert report.main([str(folder), "-o", str(tmp_path / f"folder.{ending}")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/folder.{ending}: Is a directory.\n"
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("ending", ["html", "csv", "md", "json"])
def test_a_run_that_was_never_evaluated(ending, folder, tmp_path):
    result = json.loads((folder / "1" / "result.json").read_text()) | {"quality_curve": []}
    (tmp_path / "result.json").write_text(json.dumps(result))
    written(tmp_path, tmp_path / f"report.{ending}")


def test_values_within_values(folder, tmp_path, capsys, monkeypatch):
    """Python reads some depths that it cannot write."""
    deep = []
    for _ in range(10_000):
        deep = [deep]
    result = json.loads((folder / "1" / "result.json").read_text())
    result["versions"]["x"] = deep
    monkeypatch.setattr(run_folder, "read_json", lambda path: result)
    for ending in ("md", "json"):
        assert report.main([str(folder / "1"), "-o", str(tmp_path / f"x.{ending}")]) == 1
        assert "values within values" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_config_that_its_application_cannot_take(folder, tmp_path):
    """It has the types of one, and no number where another needs it."""
    module = benchmark.module("recommendation", "config")
    config = json.loads(json.dumps(dataclasses.asdict(module.QUICK)))
    result = json.loads((folder / "1" / "result.json").read_text())
    result |= {"application": "recommendation", "config": config | {"num_users": None}}
    assert found.config_examples(result) is None


@pytest.mark.parametrize("change", [
    {"seconds_to_quality": -1.0}, {"examples_per_second": -0.5}, {"seed": -1},
])  # fmt: skip
def test_no_time_is_below_zero(change, folder, tmp_path, capsys):
    result = json.loads((folder / "1" / "result.json").read_text()) | change
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert report.main([str(tmp_path), "-o", str(tmp_path / "x.md")]) == 1
    assert f"damaged ({next(iter(change))} is missing, or is none" in capsys.readouterr().err


def test_nothing_to_show_is_one_line(tmp_path, capsys):
    assert report.main([str(tmp_path), "-o", str(tmp_path / "x.html")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "no result.json here or below" in line
    assert not (tmp_path / "x.html").exists()


def test_without_the_library_it_says_what_to_do(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    assert report.main([str(folder), "-o", str(tmp_path / "x.html")]) == 1
    assert "vl-convert-python is missing here" in capsys.readouterr().err
    assert report.main([str(folder), "-o", str(tmp_path / "x.csv")]) == 0


HOSTILE = ('</script><script>document.title="ran"</script><img src=x onerror=console.error(1)>'
           '"\'&\x1b[2J')


def poisoned(value, hostile):
    """A value of JSON with hostile in place of each text, and of each key that may be any."""
    if isinstance(value, str):
        return hostile
    if isinstance(value, list):
        return [poisoned(one, hostile) for one in value]
    if isinstance(value, dict):
        return {name: poisoned(one, hostile) for name, one in value.items()}
    return value


def hostile_folder(folder, target, hostile=HOSTILE):
    """A copy of the fixture's files in which each text is hostile, and names of metrics too."""
    for seed in (1, 2, 3):
        result = json.loads((folder / str(seed) / "result.json").read_text())
        known = copy.deepcopy(result)
        for one in (known, *known["quality_curve"]):
            one["quality"] = {hostile: one["quality"]["top1_accuracy"]}
        known["target"] = {hostile: 0.9}
        (target / str(seed)).mkdir()
        (target / str(seed) / "result.json").write_text(
            json.dumps([poisoned(result, hostile), known]))
    (target / "parity.json").write_text(json.dumps(poisoned(VERDICTS, hostile) | {
        "parity": [poisoned(VERDICT, hostile) | {"worst": {hostile: 0.5}}]}))
    (target / "kernels.json").write_text(json.dumps(poisoned(KERNELS, hostile)))
    return target


def test_a_hostile_text_is_text_wherever_it_stands(folder, tmp_path):
    source = hostile_folder(folder, tmp_path)
    text = written(source, tmp_path / "report.html")
    page = Page(text)
    assert "\x1b" not in text and not [tag for tag, _ in page.tags if tag == "img"]
    assert len(page.scripts) == 3
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    shown = HOSTILE.replace("\x1b", r"\x1b")
    assert [row["kind"] for row in page.table("Seconds to quality")].count(shown) == 1
    assert page.table("Largest difference")[0]["what"] == f"{shown}: {shown}"
    written(source, tmp_path / "report.csv")
    with open(tmp_path / "report.csv", newline="") as opened:
        assert any(row["commit"] == shown for row in csv.DictReader(opened))


def test_the_policy_names_the_scripts_and_no_host(page):
    [policy] = [attributes["content"] for tag, attributes in page.tags
                if attributes.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "base-uri", "form-action", "script-src", "style-src"}
    assert re.fullmatch(r"('sha256-[\w+/=]{44}' ?){2}", rules["script-src"])
