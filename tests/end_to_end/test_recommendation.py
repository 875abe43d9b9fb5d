"""NeuMF by the command a user types: quick to its target, real ratings, killed and resumed."""

import dataclasses
import tarfile

import numpy as np
import pytest

from common import check_log
from recommendation import data, quality
from recommendation.config import QUICK
from tests.conftest import FRAMEWORKS
from tests.end_to_end.runs import (
    assert_log_is_in_order,
    assert_same_bits,
    curve_of,
    kill_when,
    result_of,
    saved_step,
    script,
)

APPLICATION = "recommendation"
# An epoch has some 850 steps: within the first, the second and the third.
KILLED_AT = {"pytorch": 1200, "tensorflow": 400, "paddlepaddle": 2000}


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_quick_reaches_its_target_and_its_log_is_valid(framework_name, quick):
    folder = quick(framework_name)
    line = (folder / "stdout").read_text().strip().splitlines()[-1]
    assert line.startswith(f"RESULT,recommendation,{framework_name},1,")
    assert line.endswith(",success")
    result = result_of(folder)
    assert result["value"] >= result["target"] == 0.65
    assert result["seconds_to_quality"] < 90
    assert check_log.main([str(folder)]) == 0


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_two_processes_end_near_one(framework_name, quick, command, tmp_path):
    command(script(APPLICATION, framework_name), "--seed=1", "--max_epochs=1", "--target=0",
            f"--output_dir={tmp_path}", "--processes=2")
    assert result_of(tmp_path)["num_processes"] == 2
    values = curve_of(quick(framework_name))[0], result_of(tmp_path)["value"]
    assert abs(values[0] - values[1]) < 0.02, values


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_resumed_run_is_bitwise_the_uninterrupted_one(framework_name, quick, command, tmp_path):
    """Killed once, soon after a checkpoint; test_resume.py kills at other moments."""
    run = [script(APPLICATION, framework_name), "--seed=1", "--set", "checkpoint_every_steps=200",
           f"--output_dir={tmp_path}"]
    kill_when(run, saved_step(tmp_path, KILLED_AT[framework_name]))
    command(*run, "--resume")
    assert result_of(tmp_path)["resumed"] == 1
    assert_same_bits(quick(framework_name), tmp_path)
    assert_log_is_in_order(tmp_path)


def test_one_checkpoint_for_all_frameworks(relay):
    """Of the users with many ratings, to be quick."""
    gaps = relay("--set=batch_size=1024", "--set=min_ratings=100")
    print(f"largest gap {max(gaps.values()):.1e}")
    assert max(gaps.values()) < 1e-12, gaps  # 2e-15 was seen


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
    command(script(APPLICATION, framework_name), "--seed=1", f"--data_dir={movielens}",
            "--max_epochs=6", "--target=1", f"--output_dir={tmp_path}/run", check=False)
    curve = curve_of(tmp_path / "run")
    print(f"{framework_name}: {curve}, popularity {popularity:.3f}")
    assert curve[-1] > popularity + 0.06


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_the_reference_trains_on_real_ratings(framework_name, movielens, command, tmp_path):
    """The full network but for the number of rows, 999 negatives, the published rate."""
    command(script(APPLICATION, framework_name), "--seed=1", "--profile=reference",
            f"--data_dir={movielens}", "--set", "num_ratings=None", "--set", "num_users=None",
            "--set", "num_items=None", "--max_epochs=1", f"--output_dir={tmp_path}/run",
            check=False)
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
def test_a_users_fault_is_one_line(flags, words, error_line):
    assert words in error_line(script(APPLICATION, "pytorch"), *flags)
