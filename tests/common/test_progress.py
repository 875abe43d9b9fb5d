"""Throughput by a clock that the test turns, and the line that people read."""

import pytest

from common import progress
from common.progress import WARMUP_STEPS, Line, Meter, progress_text
from tests.common import fake


@pytest.fixture
def clock(monkeypatch):
    """Seconds, in a list of one number, that the test moves on."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_meter_counts_behind_the_warm_up_and_between_epochs_alone(clock):
    waits = []
    meter = Meter(lambda: waits.append(clock[0]))
    meter.start()
    for _ in range(WARMUP_STEPS):
        clock[0] += 7.0
        meter.step(32)
    assert waits == [170.0]  # so that the first step that counts starts on an idle device
    assert (meter.examples, meter.steps, meter.seconds()) == (0, 0, 0.0)
    for _ in range(5):
        clock[0] += 2.0
        meter.step(30)
    assert (meter.examples, meter.steps, meter.seconds()) == (150, 5, 10.0)
    assert meter.examples_per_second() is None  # no epoch is over
    meter.stop()
    assert meter.examples_per_second() == meter.epoch_rate == 15.0
    clock[0] += 1000.0  # an evaluation
    meter.start()
    clock[0] += 5.0
    meter.step(100)
    meter.stop()
    assert (meter.examples_per_second(), meter.epoch_rate) == (250 / 15, 20.0)
    assert waits == [170.0, 180.0, 1185.0]


def test_a_pause_counts_not_but_for_what_the_device_still_does(clock):
    busy = [0.0]

    def synchronize():
        clock[0] += busy[0]
        busy[0] = 0.0

    meter = Meter(synchronize)
    for _ in range(WARMUP_STEPS):
        meter.step(30)
    clock[0] += 2.0
    meter.step(30)
    busy[0] = 3.0
    with meter.paused():
        clock[0] += 50.0
    assert meter.seconds() == 5.0
    clock[0] += 5.0
    meter.step(30)
    meter.stop()
    assert meter.examples_per_second() == 6.0


def test_an_epoch_within_the_warm_up_counts_nothing(clock):
    meter = Meter(lambda: None)
    for _ in range(WARMUP_STEPS):
        meter.step(1)
    clock[0] += 1.0
    meter.stop()
    assert meter.examples_per_second() is None


def test_a_line_is_written_over_at_most_once_a_second(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = Line(enabled=True)
    assert line.due()
    line.show("one")
    clock[0] += 0.9
    assert not line.due()
    clock[0] += 0.2
    assert line.due()
    line.show("two")
    line.clear()
    assert capsys.readouterr().err == "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K"


@pytest.mark.parametrize(("enabled", "terminal"), [(False, True), (True, False)])
def test_there_is_no_line_but_on_rank_0s_terminal(enabled, terminal, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    line = Line(enabled)
    assert not line.due()
    line.clear()
    assert capsys.readouterr().err == ""


def test_text_by_hand():
    facts = {"epoch": 2, "num_epochs": 9, "step": 7, "num_steps": 63, "loss": 1.23456,
             "examples_per_second": 812.4, "seconds_left": 125.4}  # fmt: skip
    beginning = "epoch 2/9  step 7/63  loss 1.235  812 examples/s  "
    assert progress_text(**facts, values=None, targets={"accuracy": 0.9}) == (
        f"{beginning}accuracy none yet of 0.9  at most 2:05 left"
    )
    targets = {"bbox": 0.377, "segm": 0.339}
    assert progress_text(**facts, values={"bbox": 0.25, "segm": 0.125}, targets=targets) == (
        f"{beginning}bbox 0.250 of 0.377, segm 0.125 of 0.339  at most 2:05 left"
    )


def test_a_run_shows_it_on_terminals_alone(tmp_path, capsys, monkeypatch):
    fake.run(fake.config_of(tmp_path / "quiet"), [0.95])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fake.run(fake.config_of(tmp_path / "terminal"), [0.95])
    shown = capsys.readouterr().err
    assert "epoch 1/20  step 1/4  loss 1.000" in shown
    assert shown.endswith("\r\x1b[K")  # the result stands alone on its line
