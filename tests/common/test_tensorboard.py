"""A run's scalars: from its log and result, and as TensorBoard's own reader sees them."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common import benchmark, check_log, options, tensorboard
from tests.common import fake


@pytest.fixture
def folder(tmp_path):
    """A run of three epochs of four steps each, evaluated after each of them."""
    fake.run(fake.config_of(tmp_path / "run"), [0.25, 0.5, 0.95])
    return tmp_path / "run"


def read(folder):
    """{tag: [(step, value)]} of a folder of event files, and all times."""
    events = EventAccumulator(str(folder))
    events.Reload()
    found = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
    values = {tag: [(one.step, one.tensor_proto.float_val[0]) for one in entries]
              for tag, entries in found.items()}
    return values, [one.wall_time for entries in found.values() for one in entries]


def test_tensorboard_reads_a_run_folder(folder, capsys):
    assert tensorboard.main([str(folder)]) == 0
    values, times = read(folder / "tensorboard")
    assert values["loss"] == [(4, 0.25), (8, 0.125), (12, pytest.approx(1 / 12))]
    assert values["quality/top1_accuracy"] == [(4, 0.25), (8, 0.5), (12, pytest.approx(0.95))]
    assert [step for step, _ in values["target/top1_accuracy"]] == [4, 8, 12]
    assert [step for step, _ in values["examples_per_second"]] == [12]  # ten steps of warm-up
    config = json.loads((folder / "result.json").read_text())["config"]
    module = benchmark.module("image_classification", "config")
    config = options.from_json(module.Config, config)
    assert values["learning_rate"] == [
        (step, pytest.approx(module.learning_rate(config, step - 1), rel=1e-6))
        for step in (4, 8, 12)
    ]
    _, events = check_log.read(str(folder))
    stamps = {event["time_ms"] / 1000 for event in events}
    assert set(times) <= stamps  # when they were logged, not when they were written


def test_a_run_that_is_not_over_has_its_scalars_by_the_epoch(folder, capsys):
    (folder / "result.json").unlink()
    log = folder / "run.log"
    log.write_text("".join(line for line in log.read_text().splitlines(True)
                           if "run_stop" not in line))
    assert tensorboard.main([str(folder)]) == 0
    values, _ = read(folder / "tensorboard")
    assert [step for step, _ in values["loss"]] == [1, 2, 3]
    assert [step for step, _ in values["quality/value"]] == [1, 2, 3]
    assert "learning_rate" not in values


def test_epochs_without_an_evaluation_have_their_step(tmp_path, capsys):
    fake.run(fake.config_of(tmp_path, evaluate_first_epoch=2, evaluate_every_epochs=2,
                            num_epochs=4), [0.1, 0.2, 0.3, 0.4])  # fmt: skip
    assert tensorboard.main([str(tmp_path)]) == 0
    values, _ = read(tmp_path / "tensorboard")
    assert [step for step, _ in values["loss"]] == [4, 8, 12, 16]
    assert [step for step, _ in values["quality/top1_accuracy"]] == [8, 16]


def test_several_runs_go_to_a_folder_each(tmp_path, capsys):
    for seed in (1, 2):
        fake.run(fake.config_of(tmp_path / "runs" / str(seed), seed=seed), [0.95])
    assert tensorboard.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    for seed in ("1", "2"):
        assert read(tmp_path / "out" / seed)[0]["quality/top1_accuracy"]


def test_faults_are_a_line_each_and_the_others_are_written(folder, tmp_path, capsys):
    assert tensorboard.main([str(folder)]) == 0
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.log").write_text(":::MLLOG {")
    (tmp_path / "empty").mkdir()
    fake.run(fake.config_of(tmp_path / "good"), [0.95])
    capsys.readouterr()
    assert tensorboard.main([str(tmp_path), str(tmp_path / "empty")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)
    assert "damaged/run.log:1: no whole MLLOG line" in lines[0]
    assert "run/tensorboard: there already" in lines[1]
    assert "empty: no run.log here or below" in lines[2]
    assert (tmp_path / "good" / "tensorboard").exists()


def test_without_tensorboard_it_says_what_to_do(folder, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.summary", None)
    assert tensorboard.main([str(folder)]) == 1
    assert "tensorboard is missing here" in capsys.readouterr().err
    assert not (folder / "tensorboard").exists()


def test_no_words_are_told_how(capsys):
    assert tensorboard.main([]) == 1
    assert "usage: python -m common.tensorboard" in capsys.readouterr().err


def lines(*events):
    return "".join(f":::MLLOG {json.dumps({'time_ms': 1, 'metadata': {'epoch_num': 1}} | one)}\n"
                   for one in events)


@pytest.mark.parametrize(("event", "tags"), [
    ({"key": "eval_accuracy", "value": {"\ud800\n": 0.5}},
     {r"quality/\ud800\n", "target/top1_accuracy"}),
    ({"key": "epoch_stop", "value": None, "metadata": {"epoch_num": 1, "loss": 1e308}},
     {"learning_rate"}),
    ({"key": "epoch_stop", "value": None, "metadata": {"epoch_num": 10**9 - 1, "loss": 1}}, set()),
])  # fmt: skip
def test_what_its_files_cannot_hold(event, tags, folder, tmp_path, capsys, recwarn):
    result = json.loads((folder / "result.json").read_text())
    result["quality_curve"] = [result["quality_curve"][0] | {"step": 10**15}]
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "run.log").write_text(lines(event))
    assert tensorboard.main([str(folder)]) == (0 if tags else 1)
    assert (folder / "tensorboard").exists() == bool(tags)
    if tags:
        assert read(folder / "tensorboard")[0].keys() == tags
    else:
        assert "has no epoch yet" in capsys.readouterr().err
    assert not recwarn.list


def test_whole_or_not_at_all(folder, capsys, monkeypatch):
    from tensorboard.summary import Writer

    def interrupted(self, *_, **__):
        raise KeyboardInterrupt

    before = sorted(folder.iterdir())
    with monkeypatch.context() as changed:
        changed.setattr(Writer, "add_scalar", interrupted)
        assert tensorboard.main([str(folder)]) == 130
    assert sorted(folder.iterdir()) == before
    assert tensorboard.main([str(folder)]) == 0
