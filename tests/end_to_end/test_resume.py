"""Killed anywhere, a run resumes and ends as if nothing had happened."""

import os
import shutil

import pytest

from common import checkpoint, run_folder
from common.command import FRAMEWORKS
from tests.cells import CELLS, script
from tests.end_to_end.runs import (
    assert_same_bits,
    evaluating,
    in_order,
    judged,
    kill_when,
    resumable,
    saved,
    saving,
    tiny,
)


@pytest.mark.parametrize(("application", "framework_name"), CELLS)
def test_killed_in_an_epoch_a_run_ends_bitwise_alike(
    application, framework_name, ran, tiny_data, command, tmp_path
):
    whole = ran(application, framework_name, "whole")
    assert whole.code == 2, whole.stderr
    run = [*resumable(application, framework_name, tiny_data(application)),
           f"--output_dir={tmp_path}"]
    assert kill_when(run, saved(tmp_path, 4)), "ended before it could be killed"
    assert not (tmp_path / "result.json").exists()
    command(*run, "--resume", check=False)
    result = run_folder.read_result(tmp_path)
    assert result["resumed"] == 1
    assert [entry["step"] for entry in result["quality_curve"]] == [
        entry["step"] for entry in whole.result()["quality_curve"]
    ]
    assert_same_bits(whole.folder, tmp_path)
    assert in_order(tmp_path)


@pytest.mark.parametrize("application", ["image_classification"])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_so_it_does_killed_while_evaluating_and_while_saving(
    application, framework_name, ran, tiny_data, command, tmp_path
):
    """The moments are common/run.py's, the same in every application."""
    run = [*resumable(application, framework_name, tiny_data(application)),
           f"--output_dir={tmp_path}"]
    assert kill_when(run, evaluating(tmp_path))
    # A save can be over before it is seen: then the run has ended, resumed all the same.
    if kill_when([*run, "--resume"], saving(tmp_path, 8)):
        command(*run, "--resume", check=False)
    assert run_folder.read_result(tmp_path)["resumed"] >= 1
    assert_same_bits(ran(application, framework_name, "whole").folder, tmp_path)
    assert judged(tmp_path)


@pytest.mark.parametrize("phase", ["games/000001", "matches/000002", "games/000002"])
def test_killed_amid_its_games_a_run_plays_each_once(phase, ran, tiny_data, command, tmp_path):
    """The phases are reinforcement's own, the same in every framework."""
    whole = ran("reinforcement", "pytorch", "whole").folder
    run = [*resumable("reinforcement", "pytorch", tiny_data("reinforcement")),
           f"--output_dir={tmp_path}"]
    assert kill_when(run, lambda: any((tmp_path / phase).glob("*.sgf")))

    def times():
        return {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/*.sgf")}

    played = times()
    command(*run, "--resume", check=False)
    assert played.items() <= times().items()
    assert_same_bits(whole, tmp_path)
    texts = [{str(path.relative_to(folder)): path.read_text() for path in folder.glob("*/*/*.sgf")}
             for folder in (whole, tmp_path)]
    assert texts[0] == texts[1] and len(texts[0]) == 8 + 4 + 8


@pytest.mark.parametrize("application", ["image_classification"])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_two_processes_end_bitwise_alike_however_often_they_save(
    application, framework_name, tiny_data, command, tmp_path
):
    """Moving statistics and all: a checkpoint holds one set, and saving changes none."""
    run = [script(application, framework_name), *tiny(application, tiny_data(application)),
           "--processes=2", "--max_epochs=2"]
    command(*run, f"--output_dir={tmp_path}/whole", check=False)
    part = tmp_path / "part"
    run += [f"--output_dir={part}", "--set=checkpoint_every_steps=4"]
    assert kill_when(run, saved(part, 4)), "ended before it could be killed"
    command(*run, "--resume", check=False)
    assert run_folder.read_result(part)["resumed"] == 1
    assert_same_bits(tmp_path / "whole", part)


@pytest.mark.parametrize("application", ["recommendation"])
@pytest.mark.parametrize("framework_name", ["pytorch"])
def test_a_run_that_cannot_go_on_says_why(
    application, framework_name, ran, tiny_data, error_line, tmp_path
):
    run = [*resumable(application, framework_name, tiny_data(application)),
           f"--output_dir={tmp_path}"]
    shutil.copytree(ran(application, framework_name, "whole").folder, tmp_path, dirs_exist_ok=True)
    assert "holds a run already" in error_line(*run)
    other = error_line(*run, "--resume", "--max_epochs=3", "--set=mf_size=8")
    assert "mf_size was 16, now it is 8" in other
    newest = checkpoint.paths(run_folder.checkpoint_folder(str(tmp_path)))[-1]
    with open(newest, "r+b") as opened:
        opened.seek(-100, os.SEEK_END)
        opened.write(b"\0" * 50)
    assert "damaged" in error_line(*run, "--resume", "--max_epochs=3")
