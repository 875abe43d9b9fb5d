"""The table of runs, and MLPerf's statistic by hand."""

import json

import pytest

from common import results
from common.progress import progress_line
from tests.common import fake


def of(*seconds, converged=True):
    return [(second, converged) for second in seconds]


@pytest.mark.parametrize(
    ("application", "runs", "words"),
    [
        ("image_classification", of(10, 20, 30, 40, 100), "30.0 s"),  # without 10 and 100
        ("image_classification", of(100, 40, 10, 30, 20, 30), "30.0 s"),
        ("image_classification", of(1, 2, 3, 4), "needs 5 runs, has 4"),
        ("image_classification", [], "needs 5 runs, has 0"),
        # One that missed the target counts as the slowest, and goes as such.
        ("image_classification", of(10, 20, 30, 40) + of(1, converged=False), "30.0 s"),
        ("image_classification", of(1, 2, 3) + of(4, 5, converged=False),
         "invalid: more than one run missed the target"),
        ("recommendation", of(*range(1, 11)), "5.5 s"),
        ("recommendation", of(*range(1, 10)), "needs 10 runs, has 9"),
    ],
)  # fmt: skip
def test_statistic(application, runs, words):
    assert results.statistic(application, runs) == words


def seed_runs(folder, count):
    for seed in range(count):
        config = fake.config_of(folder / str(seed), seed=seed)
        fake.run(config, [0.5, 0.91])


def test_a_table_of_real_runs(tmp_path, capsys):
    seed_runs(tmp_path, 5)
    capsys.readouterr()
    assert results.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(results.COLUMNS)
    assert len({line.index("pytorch") for line in lines[1:6]}) == 1  # in columns
    assert all(" 0.9100 " in line and line.endswith("success") for line in lines[1:6])
    assert lines[-1].startswith("image_classification pytorch quick to 0.9: 0.")
    assert lines[-1].endswith(" s")


def test_what_a_result_holds(tmp_path, capsys):
    fake.run(fake.config_of(tmp_path), [0.25, 0.5, 0.95])
    line = capsys.readouterr().out.splitlines()[-1]
    result = json.loads((tmp_path / "result.json").read_text())
    assert line == (f"RESULT,image_classification,pytorch,1,{result['seconds_to_quality']:.1f},"
                    "top1_accuracy=0.9500,success")
    assert [entry["value"] for entry in result["quality_curve"]] == [0.25, 0.5, 0.95]
    assert [entry["step"] for entry in result["quality_curve"]] == [4, 8, 12]
    assert result["init_seconds"] > 0
    assert result["seed"] == 1
    assert result["commit"]
    assert result["system"]["cores"] >= 1
    assert result["versions"]["framework"] == "none"


def test_epochs_end_a_run_that_misses_its_target(tmp_path, capsys):
    running = fake.run(fake.config_of(tmp_path, num_epochs=2), [0.1, 0.2])
    assert running.status == "aborted"
    assert capsys.readouterr().out.rstrip().endswith("top1_accuracy=0.2000,aborted")


def test_damaged_and_missing_results_are_named(tmp_path, capsys):
    seed_runs(tmp_path, 2)
    (tmp_path / "0" / "result.json").write_text('{"application": "image_cl')
    (tmp_path / "1" / "result.json").write_text("{}")
    assert results.main([str(tmp_path), str(tmp_path / "nowhere")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert "0/result.json: damaged" in told[0]
    assert "1/result.json: damaged" in told[1]
    assert "nowhere: no result.json here or below" in told[2]


def test_progress_by_hand():
    line = progress_line(epoch=2, num_epochs=9, step=7, num_steps=63, loss=1.23456,
                         examples_per_second=812.4, quality=None, target=0.9,
                         metric="top1_accuracy", seconds_left=125.4)
    assert line == ("epoch 2/9  step 7/63  loss 1.235  812 examples/s  "
                    "top1_accuracy none yet of 0.9  at most 2:05 left")


def test_progress_shows_on_terminals_alone(tmp_path, capsys, monkeypatch):
    fake.run(fake.config_of(tmp_path / "quiet"), [0.95])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fake.run(fake.config_of(tmp_path / "terminal"), [0.95])
    shown = capsys.readouterr().err
    assert "epoch 1/20  step 1/4  loss 1.000" in shown
    assert shown.endswith("\r\x1b[K")  # the result stands alone on its line
