"""The rules of a run: where it stands and goes on, its division, and what it refuses to score."""

import dataclasses
import functools
import multiprocessing
import threading

import numpy as np
import pytest

from common import benchmark, check_log
from common.errors import UserError
from common.options import FREE_FIELDS
from common.run import Position, Run, division
from tests.cells import APPLICATIONS
from tests.common import fake

CURVE = [{"epoch": 1, "step": 7, "seconds": 1.5, "quality": {"top1_accuracy": 0.95}}]
OTHER = {int: 7, float: 2.5, bool: True, list: CURVE, str: "success", type(None): 1.5}


def test_no_field_of_a_position_is_forgotten(tmp_path, monkeypatch):
    """Each has a value that is not its default, goes through a checkpoint's header, and is back."""
    monkeypatch.setattr("common.run.log_stands_at", lambda *given: True)  # no log has these
    defaults = vars(Position())
    position = Position(**{name: OTHER[type(default)] for name, default in defaults.items()})
    for name, default in defaults.items():
        assert getattr(position, name) != default
    facts = benchmark.benchmark_of("image_classification")
    with (
        pytest.raises(InterruptedError),
        Run(fake.config_of(tmp_path), facts, fake.Framework()) as running,
    ):
        running.restore(fake.Trainer())
        running.position = position
        running._save()
        raise InterruptedError
    again = Run(fake.config_of(tmp_path, resume=True), facts, fake.Framework())
    with pytest.raises(InterruptedError), again:
        again.restore(fake.Trainer())
        raise InterruptedError
    assert again.position == dataclasses.replace(position, resumed=position.resumed + 1)
    assert (again.steps, again.status) == (7, "success")


def test_a_run_killed_while_it_evaluates_resumes_behind_the_epochs_last_step(tmp_path):
    """The last step of the epoch was saved, so the resumed process evaluates before any step."""
    changes = {"checkpoint_every_steps": 4, "target": 1.1, "num_epochs": 2}
    with pytest.raises(IndexError):
        fake.run(fake.config_of(tmp_path, **changes), [])  # no score: dies in the evaluation
    steps = []
    running = fake.run(fake.config_of(tmp_path, resume=True, **changes), [0.1, 0.2],
                       before_step=lambda running: steps.append(running.steps))
    assert steps == [4, 5, 6, 7]
    curve = [(entry["step"], entry["quality"]["top1_accuracy"]) for entry in
             running.position.curve]
    assert curve == [(4, 0.1), (8, 0.2)]


def test_the_next_epoch_is_read_while_this_one_is_evaluated(tmp_path, monkeypatch):
    read, begun = fake.read, threading.Event()

    def noted(numbers):
        if numbers[0] == 16:  # the first of epoch 2
            begun.set()
        return read(numbers)

    monkeypatch.setattr(fake, "read", noted)
    compare = fake.quality("top1_accuracy").compare

    def waits(predictions, batch):
        assert begun.wait(30)
        return compare(predictions, batch)

    quality = fake.quality
    monkeypatch.setattr(fake, "quality", lambda *names, **more: dataclasses.replace(
        quality(*names, **more), compare=waits))
    fake.run(fake.config_of(tmp_path, num_epochs=2, target=1.1), [0.1, 0.2])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_resumed_in_an_epoch_sees_the_batches_that_were_left(tmp_path, workers, monkeypatch):
    changes = {"checkpoint_every_steps": 3, "target": 1.1, "num_epochs": 3, "workers": workers}
    seen = []
    step = fake.Trainer.train_step
    monkeypatch.setattr(fake.Trainer, "train_step", lambda self, batch, number: (
        seen.append((number, batch["numbers"].tolist())), step(self, batch, number))[1])
    values = [0.1, 0.2, 0.3]
    whole = fake.run(fake.config_of(tmp_path / "whole", **changes), values)
    expected = seen.copy()
    assert [numbers for _, numbers in expected] == np.arange(48.0).reshape(12, 4).tolist()

    def killed(running):
        if running.steps == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fake.run(fake.config_of(tmp_path / "killed", **changes), values, before_step=killed)
    seen.clear()
    again = fake.run(fake.config_of(tmp_path / "killed", resume=True, **changes), values)
    assert seen == expected[6:]  # the checkpoint of step 6, in epoch 2
    assert again.trainer.numbers.tolist() == whole.trainer.numbers.tolist()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
    assert not multiprocessing.active_children()


def test_batches_that_do_not_follow_are_a_fault_of_the_program(tmp_path, monkeypatch):
    batches = fake.batches
    monkeypatch.setattr(fake, "batches", lambda epoch: dataclasses.replace(
        batches(epoch), following=functools.partial(batches, epoch + 2)))
    with pytest.raises(RuntimeError, match="not what followed"):
        fake.run(fake.config_of(tmp_path, target=1.1), [0.1, 0.2])


def reference(application, **changes):
    config = benchmark.module(application, "config").REFERENCE
    return dataclasses.replace(config, application=application, framework="pytorch", **changes)


def other(config, name):
    """Another value of a field, of its type."""
    value = getattr(config, name)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return value[1:] if isinstance(value, tuple) and len(value) > 1 else "another"


@pytest.mark.parametrize("application", APPLICATIONS)
def test_closed_is_the_reference_but_for_its_free_fields(application):
    facts = benchmark.benchmark_of(application)
    config = reference(application)
    closed = "closed" if facts.closed else "open"
    assert division(config, facts) == closed
    free = {*FREE_FIELDS, *facts.free_fields}
    assert facts.free_fields and not set(FREE_FIELDS) & set(facts.free_fields)
    names = {field.name for field in dataclasses.fields(config)} - {"application"}
    for name in names:
        changed = dataclasses.replace(config, **{name: other(config, name)})
        assert changed != config
        assert division(changed, facts) == (closed if name in free else "open"), name
    quick = benchmark.module(application, "config").QUICK
    assert division(dataclasses.replace(quick, application=application), facts) == "open"


@pytest.mark.parametrize(
    ("application", "changes", "expected"),
    [
        ("image_classification", {"batch_size": 4096, "learning_rate_per_256": 1.0}, "closed"),
        ("image_classification", {"seed": 3, "device": "cuda", "workers": 9}, "closed"),
        ("image_classification", {"stem_width": 8}, "open"),
        ("image_classification", {"target": 0.1}, "open"),
        ("image_classification", {"evaluate_every_epochs": 1}, "open"),
        ("image_classification", {"profile": "quick"}, "open"),
        ("recommendation", {"adam_beta1": 0.8}, "closed"),
        ("recommendation", {"adam_epsilon": 1e-7}, "open"),
        ("sentiment_analysis", {"num_filters": 8}, "open"),
        ("translation", {}, "open"),  # its vocabulary is learnt otherwise
        ("translation", {"batch_tokens": 8192}, "open"),
    ],
)
def test_divisions_by_hand(application, changes, expected):
    facts = benchmark.benchmark_of(application)
    assert division(reference(application, **changes), facts) == expected


def test_a_run_logs_and_keeps_its_division(tmp_path):
    fake.run(fake.config_of(tmp_path, "reference"), [0.8] * 4)  # its counts are no ImageNet's
    _, events = check_log.read(str(tmp_path))
    assert (events[1]["key"], events[1]["value"]) == ("submission_division", "open")


def test_a_run_logs_how_many_data_processes_it_has(tmp_path):
    fake.run(fake.config_of(tmp_path, workers=1), [0.95])
    _, events = check_log.read(str(tmp_path))
    assert [e["value"]["workers"] for e in events if e["key"] == "framework"] == [1]


def test_several_metrics_stand_in_the_log_by_upper_case_names(tmp_path):
    config = fake.config_of(tmp_path, target="bbox=0.5,segm=0.25")
    running = fake.run(config, [(0.75, 0.125), (0.5, 0.25)], names=("bbox", "segm"))
    assert running.status == "success"
    _, events = check_log.read(str(tmp_path))
    values = [event["value"] for event in events if event["key"] == "eval_accuracy"]
    assert values == [{"BBOX": 0.75, "SEGM": 0.125}, {"BBOX": 0.5, "SEGM": 0.25}]


def test_what_stands_beside_the_metric_and_what_is_counted_is_in_the_log(tmp_path):
    """Each epoch's sum over its four batches, and over the processes."""
    counts = {"pictures": lambda batch: len(batch["numbers"]), "zeros": lambda batch: 0}
    running = fake.run(
        fake.config_of(tmp_path, target=1.1, num_epochs=2), [0.5, 0.6],
        fake.Framework(processes=2), counts=counts,
        beside=lambda records: {"other": 10.0 * records[0][0, 0]},
    )
    assert running.position.curve[1]["quality"] == {"top1_accuracy": 0.6}
    _, events = check_log.read(str(tmp_path))
    found = {key: [event["metadata"] for event in events if event["key"] == key]
             for key in ("epoch_stop", "eval_accuracy")}
    # Of a batch of 4, this process reads 2, and the other does alike.
    assert [(one["pictures"], one["zeros"]) for one in found["epoch_stop"]] == [(16, 0), (16, 0)]
    assert [one["other"] for one in found["eval_accuracy"]] == [5.0, 6.0]


def test_lower_may_be_better(tmp_path):
    config = fake.config_of(tmp_path, target=0.23)
    running = fake.run(config, [0.5, 0.24, 0.22], names=("wer",), higher_is_better=False)
    assert (running.status, running.position.epoch) == ("success", 3)


def test_a_loss_that_is_no_number_ends_a_run_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fake.Trainer, "train_step", lambda self, batch, step: np.float32("nan"))
    with pytest.raises(UserError, match="the loss is nan after step 4: training diverged"):
        fake.run(fake.config_of(tmp_path), [0.95])


def test_an_evaluation_that_misses_examples_is_a_fault_of_the_program(tmp_path):
    framework = fake.Framework()
    framework.gather = lambda value: [value, value]
    with pytest.raises(RuntimeError, match="evaluated 16 examples, the set has 8"):
        fake.run(fake.config_of(tmp_path), [0.95], framework)
