"""An application says itself: a folder that PYTHONPATH names, beside a checkout that knows it not.

tests/common/toy is copied out of the checkout and goes through the commands that a user types.
"""

import json
import re
import shutil

import pytest

from common import benchmark
from tests.cells import APPLICATIONS
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder that holds the application."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(ROOT / "tests" / "common" / "toy", folder / "toy",
                    ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def python(elsewhere, command, python_of):
    """python(exit code, module, arguments): the output of python -m MODULE, with torch."""

    def run(code, *arguments):
        environment = {"PYTHONPATH": str(elsewhere), "PYTHON": str(python_of("pytorch"))}
        done = command(python_of("pytorch"), "-m", *arguments, environment=environment, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def run_folder(elsewhere, python):
    """The folder of a run of the reference profile: open, since its caches were not cleared."""
    shown = python(0, "common.launch", "toy", "pytorch", "--profile=reference", "--seed=1",
                   f"--output_dir={elsewhere}/run")
    assert shown.startswith("RESULT,toy,pytorch,1,")
    assert shown.rstrip().endswith(",success")
    return elsewhere / "run"


def test_it_is_found_and_hides_nothing(elsewhere, monkeypatch):
    (elsewhere / "recommendation").mkdir()
    for name in ("benchmark.py", "config.py"):
        (elsewhere / "recommendation" / name).write_text("raise SystemExit")
    monkeypatch.setenv("PYTHONPATH", f"nowhere::{elsewhere}")
    found = benchmark.applications.__wrapped__()
    assert tuple(found) == tuple(sorted([*APPLICATIONS, "toy"]))
    assert found["toy"] == str(elsewhere / "toy")
    assert found["recommendation"] == str(ROOT / "recommendation")
    shutil.rmtree(elsewhere / "recommendation")


def test_it_runs_to_its_target(run_folder):
    result = json.loads((run_folder / "result.json").read_text())
    assert result["application"] == "toy"
    assert result["target"] == {"mean_squared_error": 0.001}
    assert 0 <= result["quality"]["mean_squared_error"] <= 0.001  # lower is better
    assert result["division"] == "open"


def test_its_own_rules_judge_it_in_the_closed_division_alone(run_folder, python, tmp_path):
    # Clearing them needs root: the log of a run that had it.
    log = (run_folder / "run.log").read_text().replace('"open"', '"closed"')
    log = log.replace('"cache_clear", "value": false', '"cache_clear", "value": true')
    (tmp_path / "run.log").write_text(log)
    shown = python(0, "common.check_log", tmp_path)
    assert "with our own common/rules/common.yaml, closed division: line" in shown
    assert "with our own toy/rules.yaml, closed division: line" in shown
    log = re.sub(r'"eval_accuracy", "value": [^,]+', '"eval_accuracy", "value": 0.5', log)
    (tmp_path / "missed.log").write_text(log)
    shown = python(2, "common.check_log", tmp_path / "missed.log")
    assert "FAIL  mlperf-logging" in shown and "eval_accuracy" in shown
    (tmp_path / "open.log").write_text(log.replace('"closed"', '"open"'))
    shown = python(0, "common.check_log", tmp_path / "open.log")
    assert "open division: line" in shown
    assert "toy/rules.yaml" not in shown


def test_its_runs_stand_in_the_table(run_folder, python):
    shown = python(0, "common.results", run_folder)
    assert "toy pytorch reference to mean_squared_error=0.001: needs 2 runs, has 1" in shown


def test_a_module_stands_in_for_it_in_parity(python):
    shown = python(0, "common.parity", "toy", "pytorch", "copy=toy.pytorch.train:pytorch",
                   "--precision=fp64")
    assert "copy against pytorch, quick, fp64" in shown
    assert shown.rstrip().endswith("AGREES")
