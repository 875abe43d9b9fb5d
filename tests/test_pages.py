"""What the pages say: their tables, their links, their pictures, and the results behind them."""

import json
import math
import pathlib
import re
import socket
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree

import pytest

from common import benchmark, check_requirements, results, tables
from tests.cells import APPLICATIONS, CELLS

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(
    ROOT / name for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
)
RESULTS = sorted((ROOT / "docs" / "results").glob("*.json"))
SECTIONS = [
    "Problem", "Run", "Data", "Model", "Quality", "Departures from the v0.5 reference",
    "Differences between frameworks", "Numbers", "Speed",
]  # fmt: skip


def page(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_tables_are_what_code_and_results_say(path):
    text = path.read_text()
    assert tables.rewritten(text) == text, "run python -m common.tables"


def test_every_page_has_its_tables():
    names = {page(path): [match[2] for match in tables.TABLE.finditer(path.read_text())]
             for path in PAGES}
    assert names["README.md"] == ["cells", "flags"]
    assert names["docs/rules.md"] == ["rules"]
    for application in APPLICATIONS:
        assert names[f"{application}/README.md"] == [
            f"runtime {application}", f"numbers {application}"
        ]  # fmt: skip


@pytest.mark.parametrize("name", ["README.md", "docs/rules.md", "translation/README.md"])
def test_a_figure_that_was_changed_is_seen(name):
    text = (ROOT / name).read_text()
    match = tables.TABLE.search(text)
    digit = re.search(r"\d", match[0])
    place = match.start() + digit.start()
    wrong = text[:place] + str((int(digit[0]) + 1) % 10) + text[place + 1:]
    assert tables.rewritten(wrong) == text != wrong


def test_check_finds_a_page_that_is_behind(tmp_path, monkeypatch, capsys):
    path = tmp_path / "page.md"
    path.write_text("Flags:\n\n<!-- table: flags -->\n<!-- end of table -->\n")
    monkeypatch.setattr(tables, "pages", lambda: [str(path)])
    assert tables.run(["--check"]) == 2
    assert "behind" in capsys.readouterr().out
    assert tables.run([]) == 0
    assert "| `--target` | text |" in path.read_text()
    assert tables.run(["--check"]) == 0


def test_comments_of_a_config_by_hand(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        "class Config(Options):\n"
        '    """Words.\n    """\n\n'
        "    # Network.\n"
        "    # Paper, table 1.\n"
        "    width: int = 4            # of a layer\n"
        "    sizes: tuple[int, ...] = (1, 2)\n"
        "\n\nQUICK = replace(\n    width=2,     # small\n    sizes=(1,),  # few\n)\n"
    )
    assert tables.comments(path) == (
        {"width": "Network. Paper, table 1."}, {"width": "of a layer", "sizes": "few"}
    )


@pytest.mark.parametrize("application", APPLICATIONS)
def test_readmes_of_applications_have_one_order(application):
    text = (ROOT / application / "README.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert text.index("<!-- table: runtime") < text.index("## Problem")
    departures = text.partition(f"## {SECTIONS[5]}")[2]
    assert "| there | here | why | moves the target? |" in departures


@pytest.mark.parametrize("application", APPLICATIONS)
def test_readmes_say_how_many_parameters(application):
    specification = benchmark.module(application, "parameters").specification
    reference = benchmark.module(application, "config").REFERENCE
    count = sum(math.prod(p.shape) for p in specification(reference).values() if p.trained)
    assert f" {count:,} parameters" in (ROOT / application / "README.md").read_text()


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_pictures_are_whole_and_follow_the_readers_colours():
    pictures = sorted((ROOT / "docs").glob("*.svg"))
    assert [path.name for path in pictures] == ["house.svg", "run.svg"]
    for path in pictures:
        root = ElementTree.parse(path).getroot()
        assert root.get("aria-label")
        assert "prefers-color-scheme: dark" in path.read_text()


def test_requirements_of_the_package_are_those_of_the_files():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = [ROOT / "common" / "requirements.txt"]
    files += [ROOT / application / "requirements.txt" for application in APPLICATIONS]
    wanted = {name for file in files for name in check_requirements.names(file)}
    assert sorted(project["dependencies"]) == sorted(wanted)
    report = set(check_requirements.names(ROOT / "common" / "requirements-report.txt"))
    assert set(project["optional-dependencies"]["report"]) == report - wanted
    for application, framework in CELLS:
        found = check_requirements.names(ROOT / application / framework / "requirements.txt")
        extra = project["optional-dependencies"][framework]
        assert set(extra) == set(found) - wanted, (application, framework)


def test_every_cell_has_results():
    found = {tuple(json.loads(path.read_text())[name] for name in ("application", "framework"))
             for path in RESULTS}
    assert found == set(CELLS)


@pytest.mark.parametrize("path", RESULTS, ids=page)
def test_results_are_whole_and_say_where_they_come_from(path):
    text = path.read_text()
    result = json.loads(text)
    parts = [str(result[name]) for name in ("application", "framework", "profile", "seed")]
    assert path.stem == "-".join(parts)
    assert re.fullmatch("[0-9a-f]{40}", result["commit"]), "made from changed files"
    assert result["quality_curve"][-1]["quality"] == result["quality"]
    assert result["quality_curve"][-1]["seconds"] <= result["seconds_to_quality"]
    assert not re.search(r'": "/', text), "a path of the machine"
    assert socket.gethostname() not in text


def changed(folder, name, **changes):
    """A result of docs/results/ with some of its entries changed, as a file."""
    result = json.loads(RESULTS[0].read_text()) | changes
    (folder / name).mkdir()
    path = folder / name / "result.json"
    path.write_text(json.dumps(result))
    return str(path)


def test_only_runs_that_are_alike_are_put_together(tmp_path, capsys):
    needed = benchmark.benchmark_of(json.loads(RESULTS[0].read_text())["application"]).runs
    quiet = {"before": 0.0, "others": 0.0}
    files = [changed(tmp_path, str(seed), seed=seed, seconds_to_quality=float(seed), load=quiet)
             for seed in range(1, needed + 1)]
    assert results.main(files) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f": {(needed + 1) / 2:.1f} s")
    other = changed(tmp_path, "other", seed=99, commit="f" * 40, load=quiet)
    assert results.main([*files[1:], other]) == 0
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last[0].endswith(f": needs {needed} runs, has {needed - 1}")
    assert last[1].endswith(f"seeds 99: needs {needed} runs, has 1")
    beside = changed(tmp_path, "beside", seed=98, load={"before": 2.0, "others": 0.25})
    assert results.main([beside]) == 0
    assert "seed 98: others used 25% of the cores" in capsys.readouterr().out.splitlines()[-1]


def test_a_cell_of_a_markdown_table_keeps_its_columns():
    assert results.markdown(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"
