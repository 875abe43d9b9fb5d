"""The command that a user types first, in each framework, to the real target."""

import json
import os
import sys
import time

import pytest
from PIL import Image

from tests.conftest import FRAMEWORKS


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_quick_reaches_its_target_and_its_log_is_valid(framework_name, command, tmp_path):
    script = f"./image_classification/{framework_name}/run_and_time.sh"
    started = time.time()
    done = command(script, "--seed=1", f"--output_dir={tmp_path}/run")
    assert done.stderr == ""  # no framework greets where errors are told
    # What is there already is not made again: the first step comes soon.
    assert seconds_of(tmp_path / "run", "run_start") - started < 20
    line = done.stdout.strip().splitlines()[-1]
    assert line.startswith(f"RESULT,image_classification,{framework_name},1,")
    assert line.endswith(",success")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["value"] >= result["target"] == 0.9
    assert result["examples_per_second"] > 0
    assert [entry["epoch"] for entry in result["quality_curve"]] == list(
        range(1, len(result["quality_curve"]) + 1)
    )
    judged = command("python3", "-m", "common.check_log", tmp_path / "run",
                     environment=python_path())
    assert "PASS  mlperf-logging" in judged.stdout


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_two_processes_end_with_one_result(framework_name, command, tmp_path):
    script = f"./image_classification/{framework_name}/run_and_time.sh"
    command(script, "--seed=1", f"--output_dir={tmp_path}/run", "--processes=2", "--max_epochs=1",
            "--target=0", "--set", "batch_size=200", "--set", "eval_batch_size=200")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["num_processes"] == 2
    assert result["status"] == "success"
    judged = command("python3", "-m", "common.check_log", tmp_path / "run",
                     environment=python_path())
    assert "FAIL" not in judged.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sed=1"], "'sed'"),
        (["--set", "bach_size=3"], "Did you mean batch_size"),
        (["--set", "batch_size=big"], "expected int"),
        (["--data_dir=/nowhere"], "/nowhere"),
        (["--profile=reference"], "needs --data_dir=FOLDER"),
        (["--resume"], "--output_dir"),
        (["--resume", "--output_dir=/nowhere"], "no run to resume"),
        (["--nodes=2"], "--master"),
        (["--set", "image_size=30"], "multiple of 4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_fault_is_one_line(flags, words, error_line):
    assert words in error_line("./image_classification/pytorch/run_and_time.sh", *flags)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(workers, command, tmp_path):
    """By the reader's threads, and by its worker processes."""
    damaged = write_images(tmp_path, count=4)
    damaged.write_bytes(damaged.read_bytes()[:300])
    done = command("./image_classification/pytorch/run_and_time.sh", "--seed=1",
                   f"--data_dir={tmp_path}", f"--output_dir={tmp_path}/run",
                   f"--workers={workers}", "--set", "num_classes=2", "--set", "batch_size=8",
                   check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "n02_1.JPEG: damaged image" in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_a_users_fault_is_one_line_among_processes_too(framework_name, command, tmp_path):
    (tmp_path / "run.log").write_text("")
    script = f"./image_classification/{framework_name}/run_and_time.sh"
    done = command(script, "--processes=2", f"--output_dir={tmp_path}", check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "holds a run already" in done.stderr


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_an_aborted_run_among_processes_ends_with_its_code_alone(framework_name, command, tmp_path):
    script = f"./image_classification/{framework_name}/run_and_time.sh"
    done = command(script, "--processes=2", "--seed=1", "--max_epochs=1", "--set", "batch_size=400",
                   "--set", "image_size=32", f"--output_dir={tmp_path}/run", check=False)
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stdout.endswith(",aborted\n")
    assert done.stderr == ""


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_a_fault_on_the_way_is_told_among_processes(framework_name, command, tmp_path):
    """Whichever process meets it; the others may say that they lost it."""
    damaged = write_images(tmp_path / "images", count=2)
    damaged.write_bytes(damaged.read_bytes()[:300])
    script = f"./image_classification/{framework_name}/run_and_time.sh"
    done = command(script, "--processes=2", "--seed=1", f"--data_dir={tmp_path}/images",
                   f"--output_dir={tmp_path}/run", "--set", "num_classes=2",
                   "--set", "batch_size=4", "--set", "eval_batch_size=4", check=False)
    assert done.returncode == 1
    assert f"error: {damaged}: damaged image" in done.stderr
    assert done.stdout == ""


def test_an_interpreter_without_the_framework_is_told_what_it_lacks(command, python_of):
    done = command("./image_classification/pytorch/run_and_time.sh", check=False,
                   environment={"PYTHON": str(python_of("neutral"))})
    assert done.returncode == 1
    assert "lacks torch." in done.stderr


def write_images(folder, count):
    """Images of two classes, so many of each, in ImageNet's layout.  Returns one's path."""
    for split in ("train", "val"):
        for name in ("n01", "n02"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (40, 40), (60 * number, 9, 9))
                image.save(folder / split / name / f"{name}_{number}.JPEG", "JPEG")
    return folder / "train" / "n02" / "n02_1.JPEG"


def seconds_of(folder, key):
    """Seconds since 1970 of an event in a run's log."""
    lines = (folder / "run.log").read_text().splitlines()
    line = next(line for line in lines if f'"{key}"' in line)
    return json.loads(line.removeprefix(":::MLLOG "))["time_ms"] / 1000


def python_path():
    """python3 means the interpreter that runs the tests."""
    return {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
