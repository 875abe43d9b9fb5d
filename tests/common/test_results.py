"""The table of runs, what a result holds, and MLPerf's statistic by hand."""

import json

import pytest

from common import machine, processes, results
from tests.common import fake


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Other tests run beside: no word of theirs."""
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(machine.Load, "others", lambda self, own_seconds: 0.0)


def of(*seconds, converged=True):
    return [(second, converged) for second in seconds]


@pytest.mark.parametrize(
    ("needed", "runs", "words"),
    [
        (5, of(10, 20, 30, 40, 100), "30.0 s"),  # without 10 and 100
        (5, of(100, 40, 10, 30, 20, 30), "30.0 s"),
        (5, of(1, 2, 3, 4), "needs 5 runs, has 4"),
        (5, [], "needs 5 runs, has 0"),
        # One that missed the target counts as the slowest, and goes as such.
        (5, of(10, 20, 30, 40) + of(1, converged=False), "30.0 s"),
        (5, of(1, 2, 3) + of(4, 5, converged=False),
         "invalid: more than one run missed the target"),
        (10, of(*range(1, 11)), "5.5 s"),
        (10, of(*range(1, 10)), "needs 10 runs, has 9"),
    ],
)  # fmt: skip
def test_statistic(needed, runs, words):
    assert results.statistic(needed, runs) == words


def seed_runs(folder, count, **changes):
    for seed in range(count):
        fake.run(fake.config_of(folder / str(seed), seed=seed, **changes), [0.5, 0.91])


def test_a_table_of_real_runs(tmp_path, capsys):
    seed_runs(tmp_path / "first", 5)
    seed_runs(tmp_path / "other", 2, target=0.91)  # another target makes another group
    capsys.readouterr()
    assert results.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(results.COLUMNS)
    assert len({line.index("pytorch") for line in lines[1:8]}) == 1  # in columns
    assert all(" top1_accuracy=0.9100 " in line and line.endswith("success") for line in lines[1:8])
    assert lines[-2].startswith("image_classification pytorch quick to top1_accuracy=0.9: 0.")
    assert lines[-2].endswith(" s")
    assert lines[-1].endswith(" quick to top1_accuracy=0.91: needs 5 runs, has 2")


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        ("GOMP_SPINCOUNT", True),        # how long threads wait actively
        ("KMP_BLOCKTIME", True),
        ("NVIDIA_TF32_OVERRIDE", True),
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", True),
        ("TF_CONFIG", False),            # ports of a launcher, other ones in each run
    ],
)
def test_which_settings_tell_runs_apart(name, apart, monkeypatch):
    kept = []
    for value in ("1", "2"):
        monkeypatch.setenv(name, value)
        kept.append(processes.settings())
    assert (kept[0] != kept[1]) == apart


def test_what_a_result_holds(tmp_path, capsys):
    fake.run(fake.config_of(tmp_path), [0.25, 0.5, 0.95])
    line = capsys.readouterr().out.splitlines()[-1]
    result = json.loads((tmp_path / "result.json").read_text())
    assert line == (f"RESULT,image_classification,pytorch,1,{result['seconds_to_quality']:.1f},"
                    "top1_accuracy=0.9500,success")
    assert result["quality"] == {"top1_accuracy": 0.95}
    assert result["target"] == {"top1_accuracy": 0.9}
    curve = result["quality_curve"]
    assert [entry["quality"]["top1_accuracy"] for entry in curve] == [0.25, 0.5, 0.95]
    assert [entry["step"] for entry in curve] == [4, 8, 12]
    assert result["init_seconds"] > 0
    assert result["seed"] == 1
    assert result["commit"]
    assert result["system"]["cores"] >= 1
    assert result["versions"]["framework"] == "none"


def test_epochs_end_a_run_that_misses_its_target(tmp_path, capsys):
    running = fake.run(fake.config_of(tmp_path, num_epochs=2), [0.1, 0.2])
    assert running.status == "aborted"
    assert capsys.readouterr().out.rstrip().endswith("top1_accuracy=0.2000,aborted")


def test_two_metrics_in_a_line_a_result_and_a_table(tmp_path, capsys):
    config = fake.config_of(tmp_path, target="bbox=0.377,segm=0.339")
    fake.run(config, [(0.4, 0.3), (0.38, 0.34)], names=("bbox", "segm"))
    assert capsys.readouterr().out.rstrip().endswith(",bbox=0.3800;segm=0.3400,success")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["quality"] == {"bbox": 0.38, "segm": 0.34}
    assert result["target"] == {"bbox": 0.377, "segm": 0.339}
    # The first evaluation met one target of the two: not enough.
    assert [entry["epoch"] for entry in result["quality_curve"]] == [1, 2]
    assert results.main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert " bbox=0.3800;segm=0.3400  bbox=0.377;segm=0.339 " in shown[1]
    assert " to bbox=0.377;segm=0.339: needs 5 runs, has 1" in shown[-1]


def test_damaged_missing_and_foreign_results_are_named(tmp_path, capsys):
    seed_runs(tmp_path, 3)
    (tmp_path / "0" / "result.json").write_text('{"application": "image_cl')
    (tmp_path / "1" / "result.json").write_text("{}")
    foreign = json.loads((tmp_path / "2" / "result.json").read_text()) | {"application": "os"}
    (tmp_path / "2" / "result.json").write_text(json.dumps(foreign))
    assert results.main([str(tmp_path), str(tmp_path / "nowhere")]) == 1
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert len(lines) == 3
    assert "0/result.json: damaged" in lines[0]
    assert "1/result.json: damaged" in lines[1]
    assert "nowhere: no result.json here or below" in lines[2]
    assert told.out.rstrip().endswith(": of an unknown application")


@pytest.mark.parametrize(("load", "cells", "warnings"), [
    ({"before": 3.0, "others": 0.1}, ["3.0", "10%"], []),
    ({"before": 3.1, "others": 0.0}, ["3.1", "0%"], ["3.1 processes wanted the 2 cores before"]),
    ({"before": 0.04, "others": 0.11}, ["0.0", "11%"], ["others used 11% of the cores: no result"]),
    ({"before": 9, "others": 1}, ["9.0", "100%"], ["9.0 processes", "others used 100% of"]),
    ({"before": 0.5, "others": None}, ["0.5", "-"], []),
    ({"others": 0.2}, ["-", "20%"], ["others used 20%"]),
    (None, ["-", "-"], []),
])  # fmt: skip
def test_what_else_the_machine_did_stands_in_the_table(load, cells, warnings, tmp_path, capsys):
    fake.run(fake.config_of(tmp_path), [0.95])
    capsys.readouterr()
    path = tmp_path / "result.json"
    result = json.loads(path.read_text())
    del result["load"]
    result["system"]["cores"] = 2
    path.write_text(json.dumps(result | ({} if load is None else {"load": load})))
    assert results.main([str(tmp_path)]) == 0
    header, run, *rest = capsys.readouterr().out.splitlines()
    assert header.split()[-3:] == ["before", "others", "status"]
    assert run.split()[-3:-1] == cells
    told = [line for line in rest if line.startswith("warning: ")]
    assert len(told) == len(warnings)
    for line, words in zip(told, warnings):
        assert line.startswith("warning: image_classification pytorch, seed 1: ")
        assert words in line


@pytest.mark.parametrize("load", [7, [], {"before": "much"}, {"others": float("inf")},
                                  {"before": 10**400}, {"others": {}}])
def test_a_load_that_is_none_is_damage(load, tmp_path, capsys):
    fake.run(fake.config_of(tmp_path), [0.95])
    path = tmp_path / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"load": load}))
    assert results.main([str(tmp_path)]) == 1
    assert "damaged (load is missing, or is none of a run)" in capsys.readouterr().err
