"""The rules of a run: where it stands and goes on, its division, and what it refuses to score."""

import dataclasses
import functools
import multiprocessing
import os
import threading

import numpy as np
import pytest

from common import benchmark, check_log, checkpoint, machine, run_folder
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


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("num_epochs", [1, 3])
def test_nothing_is_read_beyond_the_last_epoch(num_epochs, resumed, tmp_path, monkeypatch):
    """Not even its order is made, which for NeuMF is a shuffle of a hundred million."""
    asked, read = [], []
    batches, plain = fake.batches, fake.read
    monkeypatch.setattr(fake, "batches", lambda epoch: (asked.append(epoch), batches(epoch))[1])
    monkeypatch.setattr(fake, "read", lambda numbers: (read.extend(numbers), plain(numbers))[1])
    config = fake.config_of(tmp_path, num_epochs=num_epochs, target=1.1, threads=1,
                            checkpoint_every_steps=1)
    if resumed:
        def killed(running):
            if running.steps == 2:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            fake.run(config, [0.1] * num_epochs, before_step=killed)
        config = dataclasses.replace(config, resume=True)
        asked.clear()
    fake.run(config, [0.1] * num_epochs)
    assert set(asked) == set(range(1, num_epochs + 1))
    assert max(read) == 16 * num_epochs - 1


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


def test_the_clock_stops_before_the_last_checkpoint(tmp_path, monkeypatch):
    """What a checkpoint holds is copied from the device by `state`, in this thread."""
    stopped, state = [], fake.Trainer.state
    monkeypatch.setattr(fake.Trainer, "state", lambda self: (
        stopped.append('"run_stop"' in (tmp_path / "run.log").read_text()), state(self))[1])
    fake.run(fake.config_of(tmp_path), [0.1, 0.95])
    assert stopped == [False, False, True]  # at the start, and after each epoch


@pytest.fixture
def clock(monkeypatch):
    """Seconds, in a list of one number, that the test moves on."""
    now = [1000.0]
    for name in ("monotonic", "perf_counter"):
        monkeypatch.setattr(f"time.{name}", lambda: now[0])
    return now


@pytest.fixture
def saved(monkeypatch):
    """The steps whose checkpoints were written."""
    steps, save = [], checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda folder, state, position: (
        steps.append(position["step"]), save(folder, state, position)))
    return steps


TEN_MINUTES = 601.0


@pytest.mark.parametrize(("minutes", "slow", "steps"), [
    (10.0, TEN_MINUTES / 2, [0, 2, 4, 4, 6, 8, 8]),
    (10.0, TEN_MINUTES / 3, [0, 3, 4, 7, 8]),  # ten minutes behind the one of the epoch
    (20.0, TEN_MINUTES / 2, [0, 4, 4, 8, 8]),
    (0.0, TEN_MINUTES, [0, 4, 8]),
])  # fmt: skip
def test_checkpoints_by_time(minutes, slow, steps, tmp_path, clock, saved):
    """Beside the one at the start and those after each of two epochs of four steps."""

    def before_step(running):
        clock[0] += slow

    config = fake.config_of(tmp_path, target=1.1, num_epochs=2, checkpoint_every_minutes=minutes)
    fake.run(config, [0.1, 0.2], before_step=before_step)
    assert saved == steps


def test_who_does_not_save_does_not_wait(tmp_path, clock, saved):
    """All processes hold what rank 0 saves; the others go on, and wait for the device no more often
    than a run without checkpoints does."""
    waits = []

    class Framework(fake.Framework):
        def synchronize(self):
            waits[-1] += 1

    def before_step(running):
        clock[0] += TEN_MINUTES

    for minutes in (0.0, 10.0):
        waits.append(0)
        config = fake.config_of(tmp_path, target=1.1, num_epochs=2,
                                checkpoint_every_minutes=minutes)
        fake.run(config, [0.1, 0.2], Framework(1, 2), before_step)
    assert saved == []
    assert waits[0] == waits[1] > 0


def test_saving_is_no_part_of_the_examples_per_second(tmp_path, clock, monkeypatch):
    """Four examples each second, and a thousand seconds for each checkpoint."""

    def before_step(running):
        clock[0] += 1.0

    state = fake.Trainer.state

    def slow(self):
        clock[0] += 1000.0
        return state(self)

    monkeypatch.setattr(fake.Trainer, "state", slow)
    config = fake.config_of(tmp_path, target=1.1, num_epochs=5, checkpoint_every_steps=3)
    running = fake.run(config, [0.1] * 5, before_step=before_step)
    assert running.meter.examples_per_second() == 4.0


@pytest.mark.parametrize(("processes", "span"), [(1, 4), (2, 2), (3, 2), (4, 1)])
def test_batch_norm_spans_a_processs_own_part(processes, span, tmp_path):
    framework = fake.Framework(0, processes)
    framework.gather = lambda value: [value]  # rank 0 evaluates the one batch
    fake.run(fake.config_of(tmp_path, eval_batch_size=8), [0.95], framework)
    _, events = check_log.read(str(tmp_path))
    assert [e["value"] for e in events if e["key"] == "model_bn_span"] == [span]


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
    config = reference(application, clear_caches=True)
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
        ("image_classification", {"clear_caches": False}, "open"),
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
    config = reference(application, **{"clear_caches": True} | changes)
    assert division(config, facts) == expected


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
        before_step=lambda run: run.note({"games": 3 + run.position.epoch}),
        beside=lambda records: {"other": 10.0 * records[0][0, 0]},
    )
    assert running.position.curve[1]["quality"] == {"top1_accuracy": 0.6}
    _, events = check_log.read(str(tmp_path))
    found = {key: [event["metadata"] for event in events if event["key"] == key]
             for key in ("epoch_stop", "eval_accuracy")}
    # Of a batch of 4, this process reads 2, and the other does alike.
    assert [(one["pictures"], one["zeros"]) for one in found["epoch_stop"]] == [(16, 0), (16, 0)]
    assert [one["games"] for one in found["epoch_stop"]] == [8, 10]
    assert [one["other"] for one in found["eval_accuracy"]] == [5.0, 6.0]


def test_an_epochs_last_loss_and_its_speed_are_in_the_log(tmp_path):
    fake.run(fake.config_of(tmp_path, target=1.1, num_epochs=3), [0.5, 0.6, 0.7])
    _, events = check_log.read(str(tmp_path))
    epochs = [event["metadata"] for event in events if event["key"] == "epoch_stop"]
    assert [one["loss"] for one in epochs] == [1 / 4, 1 / 8, 1 / 12]  # four steps an epoch
    # The first ten steps are a warm-up.
    assert [one["examples_per_second"] is None for one in epochs] == [True, True, False]


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


HOSTS = ["a", "b", "b", "a"]     # of four processes
SECONDS = [1.0, 2.0, 3.0, 8.0]   # that each of them uses


@pytest.fixture
def hosts(monkeypatch):
    """The processes of `run_together` are on these HOSTS."""
    monkeypatch.setattr(machine, "host", lambda: HOSTS[number()])


def number():
    """Of the process whose thread this is."""
    return int(threading.current_thread().name)


def cache_clear(folder):
    _, events = check_log.read(str(folder))
    return [event["value"] for event in events if event["key"] == "cache_clear"]


def test_one_process_of_each_host_clears_its_caches(tmp_path, hosts, monkeypatch):
    cleared = []
    monkeypatch.setattr(machine, "clear_caches", lambda: cleared.append(number()))
    ended = fake.run_together([fake.config_of(tmp_path, clear_caches=True)] * 4, [0.95])
    assert [running.status for running in ended] == ["success"] * 4
    assert sorted(cleared) == [0, 1]
    assert cache_clear(tmp_path) == [True]


def test_a_host_whose_caches_cannot_be_cleared_ends_the_run(tmp_path, hosts, monkeypatch):
    def fails_on_b():
        if HOSTS[number()] == "b":
            raise UserError("it needs root")

    monkeypatch.setattr(machine, "clear_caches", fails_on_b)
    ended = fake.run_together([fake.config_of(tmp_path, clear_caches=True)] * 4, [0.95])
    assert [str(error) for error in ended] == ["it needs root"] * 4
    assert "cache_clear" not in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize("clear", [False, True])
def test_caches_are_cleared_before_anything_is_timed(tmp_path, clear, monkeypatch):
    logs = []
    monkeypatch.setattr(machine, "clear_caches",
                        lambda: logs.append((tmp_path / "run.log").read_text()))
    fake.run(fake.config_of(tmp_path, clear_caches=clear), [0.95])
    assert len(logs) == clear
    assert all("submission_status" in log and "init_start" not in log for log in logs)
    assert cache_clear(tmp_path) == [clear]


def test_the_load_is_that_of_the_busiest_host(tmp_path, hosts, monkeypatch):
    asked = [0] * 4

    def own_seconds():
        asked[number()] += 1
        return 100.0 * number() + asked[number()] * SECONDS[number()]

    given = {}
    monkeypatch.setattr(machine, "own_seconds", own_seconds)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0 + number(), 0.0, 0.0))
    monkeypatch.setattr(machine.Load, "others", lambda self, own: (
        given.update({number(): own}), {"a": 0.125, "b": 0.25}[HOSTS[number()]])[1])
    fake.run_together([fake.config_of(tmp_path)] * 4, [0.95])
    assert given == {0: 9.0, 1: 5.0, 2: 5.0, 3: 9.0}
    assert run_folder.read_result(tmp_path)["load"] == {"before": 4.0, "others": 0.25}


@pytest.mark.parametrize("before", [False, True])
def test_a_resumed_run_keeps_its_division(before, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "clear_caches", lambda: None)
    changes = {"clear_caches": before, "target": 1.1}
    fake.run(fake.config_of(tmp_path, num_epochs=1, **changes), [0.1])
    changes = {"num_epochs": 2, "target": 1.1, "resume": True}
    with pytest.raises(UserError, match=f"clear_caches was {before}, now it is {not before}"):
        fake.run(fake.config_of(tmp_path, clear_caches=not before, **changes), [0.1, 0.1])
    fake.run(fake.config_of(tmp_path, clear_caches=before, **changes), [0.1, 0.1])
    assert cache_clear(tmp_path) == [before]


def test_a_batch_below_the_number_of_processes_is_refused_whoever_started_them(tmp_path):
    ended = fake.run_together([fake.config_of(tmp_path / "run", batch_size=3)] * 4, [0.95])
    assert {type(error) for error in ended} == {UserError}
    assert {str(error) for error in ended} == {
        "batch_size=3: expected an example or more for each of 4 processes."}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "values"), [("seed", (1, 2)), ("clear_caches", (True, False))])
def test_processes_of_other_flags_are_refused_whoever_started_them(name, values, tmp_path):
    configs = [fake.config_of(tmp_path / "run", **{name: value}) for value in values]
    ended = fake.run_together(configs, [0.95])
    assert {str(error) for error in ended} == {
        f"{name} is {values[1]} in process 1 and {values[0]} in process 0. Give all processes the "
        "same flags."}  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_processes_may_have_folders_and_data_processes_of_their_own(tmp_path):
    configs = [fake.config_of(tmp_path, threads=threads, data_dir=str(threads))
               for threads in (1, 2)]
    assert [running.status for running in fake.run_together(configs, [0.95])] == ["success"] * 2
