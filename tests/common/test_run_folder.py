"""Who may write a run folder, what is resumed and what is not, and disks that have no room."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from common import check_log, checkpoint, run_folder
from common.errors import UserError
from common.mllog import RunLog
from tests.common import fake


@contextlib.contextmanager
def unchanged(folder):
    """Asserts that the body changes no file of the folder."""

    def files():
        return {path: path.read_bytes() for path in folder.rglob("*")
                if path.is_file() and path.name != ".lock"}

    before = files()
    yield
    assert files() == before


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_one_run_at_a_time_writes_a_folder(tmp_path):
    held = run_folder.Lock(str(tmp_path))
    with pytest.raises(UserError, match="another run writes here now"):
        run_folder.Lock(str(tmp_path))
    held.release()
    run_folder.Lock(str(tmp_path)).release()


def test_the_kernel_frees_the_lock_of_a_killed_run(tmp_path):
    code = ("import sys, time; from common.run_folder import Lock; "
            f"lock = Lock({str(tmp_path)!r}); print('held', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run"):
            run_folder.Lock(str(tmp_path))
        other.send_signal(signal.SIGKILL)
        other.wait()
    run_folder.Lock(str(tmp_path)).release()


def test_a_second_run_leaves_the_first_one_alone(tmp_path):
    def interrupt(running):
        with unchanged(tmp_path), pytest.raises(UserError, match="another run writes here now"):
            fake.run(fake.config_of(tmp_path, resume=True), [0.95])

    fake.run(fake.config_of(tmp_path), [0.95], before_step=interrupt)
    assert result_of(tmp_path)["status"] == "success"


def test_leftovers_of_killed_writers_go(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    for name in ("result.json.17.tmp", "checkpoint/step_0000000004.safetensors.17.tmp"):
        (tmp_path / name).write_text("half")
    fake.run(fake.config_of(tmp_path), [0.95])
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("values", "changes", "words"),
    [
        ([0.5, 0.95], {}, "has reached its target; nothing to resume"),
        ([0.5, 0.6], {}, "is over: raise --max_epochs"),
        ([0.5, 0.6], {"num_epochs": 1}, "is over: raise --max_epochs"),
        ([0.5, 0.6], {"target": 0.7}, "is over: raise --max_epochs"),
    ],
)
def test_what_is_over_is_not_resumed(values, changes, words, tmp_path):
    config = {"num_epochs": 2, "target": 0.9}
    fake.run(fake.config_of(tmp_path, **config), values)
    with unchanged(tmp_path), pytest.raises(UserError, match=words):
        fake.run(fake.config_of(tmp_path, resume=True, **config | changes), values)


def test_a_lower_target_that_was_met_is_success_at_once(tmp_path):
    fake.run(fake.config_of(tmp_path, num_epochs=2), [0.5, 0.6])
    before = result_of(tmp_path)
    assert before["status"] == "aborted"
    fake.run(fake.config_of(tmp_path, num_epochs=2, target=0.55, resume=True), [])
    after = result_of(tmp_path)
    assert after["status"] == "success"
    for name in ("seconds_to_quality", "quality", "quality_curve"):
        assert after[name] == before[name]
    assert check_log.main([str(tmp_path)]) == 0


def test_a_higher_target_goes_on(tmp_path):
    fake.run(fake.config_of(tmp_path, target=0.5), [0.5])
    fake.run(fake.config_of(tmp_path, target=0.9, resume=True), [0.5, 0.95])
    curve = [entry["quality"]["top1_accuracy"] for entry in result_of(tmp_path)["quality_curve"]]
    assert curve == [0.5, 0.95]
    assert check_log.main([str(tmp_path)]) == 0


def test_more_epochs_go_on(tmp_path):
    fake.run(fake.config_of(tmp_path, num_epochs=1), [0.5])
    fake.run(fake.config_of(tmp_path, num_epochs=3, resume=True), [0.5, 0.6, 0.95])
    assert result_of(tmp_path)["status"] == "success"
    assert check_log.main([str(tmp_path)]) == 0


def test_a_run_killed_between_its_end_and_its_result_has_its_seconds(tmp_path):
    fake.run(fake.config_of(tmp_path), [0.95])
    before = result_of(tmp_path)
    (tmp_path / "result.json").unlink()
    fake.run(fake.config_of(tmp_path, resume=True), [])
    assert result_of(tmp_path)["seconds_to_quality"] == before["seconds_to_quality"]


def gone(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def a_file(folder):
    gone(folder)
    folder.write_text("no folder")


@pytest.mark.parametrize("loss", [gone, empty, a_file])
@pytest.mark.parametrize("values", [[0.95], [0.5, 0.5]], ids=["success", "aborted"])
def test_a_run_whose_checkpoints_are_lost_is_left_as_it_is(values, loss, tmp_path):
    fake.run(fake.config_of(tmp_path, num_epochs=2), values)
    loss(tmp_path / "checkpoint")
    with unchanged(tmp_path), pytest.raises((UserError, NotADirectoryError)):
        fake.run(fake.config_of(tmp_path, num_epochs=3, resume=True), values)


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path):
    log = RunLog(str(tmp_path / "run.log"), True)
    log.event("cache_clear", False)
    log.start("init_start")
    log.close()
    fake.run(fake.config_of(tmp_path, resume=True), [0.95])
    assert check_log.main([str(tmp_path)]) == 0


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        fake.run(fake.config_of(tmp_path), [0.95])
    finally:
        os.umask(before)
    files = [tmp_path / "result.json", *(tmp_path / "checkpoint").iterdir()]
    assert len(files) > 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_a_log_on_a_full_disk_is_one_line(tmp_path):
    log = RunLog(str(tmp_path / "run.log"), True)
    log.handler.stream.close()
    log.handler.stream = open("/dev/full", "a")  # noqa: SIM115, the log closes it
    with pytest.raises(UserError, match=r"run.log: cannot be written \(No space left on device\)"):
        log.event("cache_clear", False)


def test_a_result_on_a_full_disk_is_one_line_and_resumes(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.os, "replace", lambda *names: full(0))
        with pytest.raises(UserError, match=r"result.json: cannot be written \(No space left"):
            run_folder.write_result(str(tmp_path), {})
    run_folder.write_result(str(tmp_path), {"a": 1})
    assert result_of(tmp_path) == {"a": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epoch": "one"}, "header's epoch is none"),
        ({"curve": [5]}, "header's curve is none"),
        ({"curve": [{"epoch": 1, "seconds": 1.0, "quality": {"other": 1.0}}]}, "curve is none"),
        ({"curve": [{"epoch": 1, "seconds": None, "quality": {"top1_accuracy": 1}}]}, "curve is"),
        ({"log_position": None}, "header's log_position is none"),
        ({"config": []}, "says nothing of a run"),
        ({"log_position": 10**9}, "its checkpoint knew"),
        ({"log_position": -5}, "header's log_position is none"),
        ({"log_position": 0}, "header's log_position is none"),
        ({"log_position": 1}, "damaged"),
        ({"epoch": True}, "header's epoch is none"),
        ({"epoch": -1}, "header's epoch is none"),
        ({"epoch": 0}, "stands elsewhere"),
        ({"epoch_open": True}, "stands elsewhere"),
        ({"block_open": True}, "stands elsewhere"),
        ({"curve": []}, "stands elsewhere"),
        ({"run_start": None}, "stands elsewhere"),
        ({"run_start": 10**400}, "header's run_start is none"),
        ({"eval_seconds": float("nan")}, "header's eval_seconds is none"),
        ({"epoch_steps": -3}, "header's epoch_steps is none"),
        ({"resumed": 10**30}, "header's resumed is none"),
        ({"curve": [{"epoch": 1, "seconds": 1.0, "quality": {"top1_accuracy": 10**400}}]},
         "curve is none"),
        ({"config": {}}, "no seed"),
        ({"config": {"seed": -1}}, "no seed"),
        ({"config": {"seed": "1"}}, "no seed"),
    ],
)
def test_a_strangers_checkpoint_is_one_line(change, words, tmp_path):
    fake.run(fake.config_of(tmp_path, num_epochs=1), [0.5])
    newest = checkpoint.paths(str(tmp_path / "checkpoint"))[-1]
    position = checkpoint.read_position(newest) | change
    checkpoint.save(str(tmp_path / "checkpoint"), fake.Trainer().state(), position)
    with unchanged(tmp_path), pytest.raises(UserError, match=words):
        fake.run(fake.config_of(tmp_path, num_epochs=2, resume=True), [0.5, 0.5])


def test_what_the_user_keeps_beside_a_run_stays(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    mine = [tmp_path / "thesis.tmp", tmp_path / "checkpoint" / "mine.tmp"]
    for path in mine:
        path.write_text("precious")
    fake.run(fake.config_of(tmp_path), [0.95])
    assert [path.read_text() for path in mine] == ["precious", "precious"]


@pytest.mark.parametrize("name", ["run.log", ".lock"])
def test_no_link_leads_a_run_out_of_its_folder(name, tmp_path):
    folder, outside = tmp_path / "run", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("precious")
    (folder / "run.log").write_text("")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises((UserError, OSError), match="no regular file"):
        fake.run(fake.config_of(folder, resume=True), [0.95])
    assert outside.read_text() == "precious"


def test_a_checkpoint_of_another_model_leaves_the_log(tmp_path):
    fake.run(fake.config_of(tmp_path, num_epochs=1), [0.5])
    newest = checkpoint.paths(str(tmp_path / "checkpoint"))[-1]
    checkpoint.save(str(tmp_path / "checkpoint"), {}, checkpoint.read_position(newest))
    with unchanged(tmp_path), pytest.raises(UserError, match="holds another model"):
        fake.run(fake.config_of(tmp_path, num_epochs=2, resume=True), [0.5, 0.5])
