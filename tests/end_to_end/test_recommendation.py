"""NeuMF by the command a user types: quick to its target, real ratings, killed and resumed."""

import dataclasses
import json
import os
import tarfile

import numpy as np
import pytest

from common import check_log
from recommendation import data, quality
from recommendation.config import QUICK
from tests.conftest import FRAMEWORKS
from tests.end_to_end.test_resume import kill_when, last_state, moments

SHORT = ["--seed=1", "--max_epochs=2", "--target=1.1", "--set", "checkpoint_every_steps=300"]


def script(framework):
    return f"./recommendation/{framework}/run_and_time.sh"


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def assert_log_is_in_order(folder):
    _, events = check_log.read(str(folder))
    assert check_log.order_faults(events) == []


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_quick_reaches_its_target_and_its_log_is_valid(framework_name, command, tmp_path):
    done = command(script(framework_name), "--seed=1", f"--output_dir={tmp_path}/run")
    line = done.stdout.strip().splitlines()[-1]
    assert line.startswith(f"RESULT,recommendation,{framework_name},1,")
    assert line.endswith(",success")
    result = result_of(tmp_path / "run")
    assert result["value"] >= result["target"] == 0.65
    assert result["seconds_to_quality"] < 90
    assert check_log.main([str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_two_processes_end_near_one(framework_name, command, tmp_path):
    flags = ["--seed=1", "--max_epochs=1", "--target=0"]
    values = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        command(script(framework_name), *flags, f"--output_dir={folder}",
                f"--processes={processes}")
        assert result_of(folder)["num_processes"] == processes
        values.append(result_of(folder)["value"])
    assert abs(values[0] - values[1]) < 0.02, values


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_resumed_run_is_bitwise_the_uninterrupted_one(framework_name, command, tmp_path):
    run = [script(framework_name), *SHORT]
    command(*run, f"--output_dir={tmp_path}/whole", check=False)
    folder = tmp_path / "killed"
    run.append(f"--output_dir={folder}")
    saved = folder / "checkpoint" / "step_0000000600.safetensors"
    kill_when(run, saved.exists)
    kill_when([*run, "--resume"], moments(folder)["while evaluating"])
    command(*run, "--resume", check=False)
    whole, resumed = last_state(tmp_path / "whole"), last_state(folder)
    assert whole.keys() == resumed.keys()
    for name, array in whole.items():
        assert array.tobytes() == resumed[name].tobytes(), name
    assert_log_is_in_order(folder)


def test_one_checkpoint_for_all_frameworks(command, tmp_path):
    """pytorch, then tensorflow, then paddlepaddle meet the curve of pytorch alone, in float64."""

    def go(framework, folder, epochs, *more):
        command(script(framework), "--seed=1", "--target=1.1", "--precision=fp64",
                "--set", "batch_size=4096", f"--output_dir={folder}", f"--max_epochs={epochs}",
                *more, check=False)

    go("pytorch", tmp_path / "alone", 3)
    go("pytorch", tmp_path / "relay", 1)
    go("tensorflow", tmp_path / "relay", 2, "--resume")
    go("paddlepaddle", tmp_path / "relay", 3, "--resume")
    alone, relay = last_state(tmp_path / "alone"), last_state(tmp_path / "relay")
    assert alone.keys() == relay.keys()
    gaps = {n: np.linalg.norm(a - relay[n]) / np.linalg.norm(a) for n, a in alone.items()}
    print(f"largest gap {max(gaps.values()):.1e}")
    assert max(gaps.values()) < 1e-12, gaps  # 2e-15 was seen
    curves = [
        [entry["value"] for entry in result_of(tmp_path / folder)["quality_curve"]]
        for folder in ("alone", "relay")
    ]
    assert len(curves[0]) == 3
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def movielens(real_data, tmp_path_factory):
    """The folder of the real sample's ratings.csv."""
    folder = tmp_path_factory.mktemp("movielens")
    with tarfile.open(real_data / "recommendation" / "recommendation.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "recommendation" / "ml-latest-small"


@pytest.fixture(scope="module")
def popularity(movielens):
    """HR@10 of the films' counts on the real sample, by our own split and negatives."""
    config = data.prepare(dataclasses.replace(QUICK, seed=1, data_dir=str(movielens)))
    assert (config.num_ratings, config.num_users, config.num_items) == (64_156, 400, 8_336)
    counts = np.bincount(data.load(config.data_dir, config.min_ratings).items, minlength=8_336)
    return quality.score([
        quality.compare(counts[batch["items"]].astype(float), batch)
        for batch in data.batches(config, "test").stream()
    ])


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_real_ratings_beat_popularity(framework_name, movielens, popularity, command, tmp_path):
    command(script(framework_name), "--seed=1", f"--data_dir={movielens}", "--max_epochs=6",
            "--target=1", f"--output_dir={tmp_path}/run", check=False)
    curve = [entry["value"] for entry in result_of(tmp_path / "run")["quality_curve"]]
    print(f"{framework_name}: {curve}, popularity {popularity:.3f}")
    assert curve[-1] > popularity + 0.06


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_the_reference_trains_on_real_ratings(framework_name, movielens, command, tmp_path):
    """The full network but for the number of rows, 999 negatives, the published rate."""
    command(script(framework_name), "--seed=1", "--profile=reference", f"--data_dir={movielens}",
            "--set", "num_ratings=None", "--set", "num_users=None", "--set", "num_items=None",
            "--max_epochs=1", f"--output_dir={tmp_path}/run", check=False)
    result = result_of(tmp_path / "run")
    assert result["status"] == "aborted"
    assert (result["target"], result["config"]["eval_negatives"]) == (0.635, 999)
    assert result["value"] > 0.05  # chance: 0.01
    assert_log_is_in_order(tmp_path / "run")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data_dir=/nowhere"], "/nowhere/ratings.csv"),
        (["--profile=reference"], "needs --data_dir=FOLDER"),
        (["--set", "mlp_sizes=15,8"], "even first size"),
        (["--set", "min_ratings=100000"], "no user has 100000 ratings"),
        (["--set", "num_users=12"], "expected num_users 12, found 3,000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_fault_is_one_line(flags, words, command):
    done = command(script("pytorch"), *flags, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    assert words in errors[0]


def test_an_interpreter_without_the_framework_is_told_what_it_lacks(command, python_of):
    done = command(script("pytorch"), check=False,
                   environment={"PYTHON": os.fspath(python_of("neutral"))})
    assert done.returncode == 1
    assert "lacks torch." in done.stderr
