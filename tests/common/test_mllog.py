"""The order of a run's events: whatever Run can produce passes, and no change to it does."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.mllog import FOLLOWS, Order, RunLog, parse, written
from tests.common import fake


@st.composite
def runs(draw):
    """[(key, metadata)] of a run whose evaluations come after blocks of one to three epochs."""
    entries = [(key, {}) for key in ("cache_clear", "init_start", "seed", "init_stop", "run_start")]
    epoch = 0
    for size in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
        first = epoch + 1
        entries.append(("block_start", {"first_epoch_num": first, "epoch_count": size}))
        for _ in range(size):
            epoch += 1
            entries += [("epoch_start", {"epoch_num": epoch}), ("epoch_stop", {"epoch_num": epoch})]
        entries += [(key, {"epoch_num": epoch})
                    for key in ("eval_start", "eval_accuracy", "eval_stop")]
        entries.append(("block_stop", {"first_epoch_num": first}))
    return [*entries, ("run_stop", {"status": draw(st.sampled_from(["success", "aborted"]))})]


def faults(entries):
    order = Order()
    found = [fault for key, metadata in entries if (fault := order.take(key, metadata))]
    return found + ["ends early"] * (order.last != "run_stop")


@given(runs())
def test_what_a_run_produces_passes(entries):
    assert faults(entries) == []


@given(runs(), st.data())
def test_no_event_can_be_left_out(entries, data):
    place = data.draw(st.integers(0, len(entries) - 1))
    assert faults(entries[:place] + entries[place + 1 :])


@given(runs(), st.data())
def test_no_event_can_come_twice(entries, data):
    place = data.draw(st.integers(0, len(entries) - 1))
    assert faults(entries[: place + 1] + entries[place:])


@given(runs(), st.data())
def test_no_two_events_can_change_places(entries, data):
    place = data.draw(st.integers(0, len(entries) - 2))
    one, two = entries[place : place + 2]
    assert faults([*entries[:place], two, one, *entries[place + 2 :]])


@given(runs(), st.data())
def test_no_epoch_can_have_another_number(entries, data):
    numbered = [i for i, (_, m) in enumerate(entries) if "epoch_num" in m or "first_epoch_num" in m]
    place = data.draw(st.sampled_from(numbered))
    key, metadata = entries[place]
    name = "epoch_num" if "epoch_num" in metadata else "first_epoch_num"
    other = data.draw(st.integers(-1, 20).filter(lambda n: n != metadata[name]))
    assert faults([*entries[:place], (key, metadata | {name: other}), *entries[place + 1 :]])


def test_every_key_can_be_reached():
    assert set().union(*FOLLOWS.values()) == set(FOLLOWS) - {None}


def test_a_hyperparameter_belongs_into_init():
    order = Order()
    assert "expected before cache_clear" not in (order.take("submission_org", {}) or "")
    order.take("cache_clear", {})
    order.take("init_start", {})
    assert order.take("opt_name", {}) is None
    assert "expected before cache_clear" in order.take("submission_org", {})
    order.take("seed", {})
    assert order.take("opt_name", {}) is None
    order.take("init_stop", {})
    assert "expected before init_stop" in order.take("opt_name", {})


@settings(max_examples=20)
@given(
    value=st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
def test_a_line_can_be_read_back(value, tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "run.log"
    log = RunLog(str(path), True)
    log.event("submission_org", value, note="x")
    log.close()
    [line] = path.read_text().splitlines()
    event = parse(line)
    assert event == json.loads(line.removeprefix(":::MLLOG "))
    assert parse(written(event)) == event
    assert (event["key"], event["value"]) == ("submission_org", value)
    assert event["metadata"]["note"] == "x"
    assert event["event_type"] == "POINT_IN_TIME"
    assert event["metadata"]["file"].startswith("tests/common")  # of the caller, in the repository


def test_an_event_out_of_order_stops_the_program(tmp_path):
    log = RunLog(str(tmp_path / "run.log"), True)
    with pytest.raises(RuntimeError, match="init_start: expected cache_clear after the start"):
        log.start("init_start")


def test_other_ranks_check_and_write_nothing(tmp_path):
    log = RunLog(str(tmp_path / "run.log"), False)
    log.event("cache_clear", True)
    with pytest.raises(RuntimeError, match="run_start"):
        log.start("run_start")
    assert not list(tmp_path.iterdir())


def test_rank_1_of_a_run_leaves_no_file(tmp_path):
    (tmp_path / "run").mkdir()
    fake.run(fake.config_of(tmp_path / "run"), [0.95], fake.Framework(rank=1, processes=2))
    assert not list((tmp_path / "run").iterdir())


def test_a_resumed_log_is_cut_to_what_its_checkpoint_knew(tmp_path):
    path = tmp_path / "run.log"
    log = RunLog(str(path), True)
    log.event("cache_clear", True)
    position = log.position()
    log.start("init_start")
    log.close()
    again = RunLog(str(path), True, position)
    again.start("init_start")
    again.close()
    keys = [parse(line)["key"] for line in path.read_text().splitlines()]
    assert keys == ["cache_clear", "init_start"]
