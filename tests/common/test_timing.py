"""The timing loop on a clock of the test's own; what its times say, by hand and by property."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import timing


class Clock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 100.0
        self.calls = []

    def candidate(self, name, durations):
        """Takes these seconds, one after the other."""
        remaining = iter(durations)

        def run():
            self.calls.append(name)
            self.now += next(remaining)

        return run


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)
    return clock


def test_candidates_take_turns_and_warmup_does_not_count(clock):
    candidates = {
        "ours": clock.candidate("ours", [9.0, 8.0, 1.0, 2.0, 3.0]),
        "peer": clock.candidate("peer", [7.0, 6.0, 4.0, 5.0, 0.5]),
    }
    seconds = timing.alternate(candidates, rounds=3, warmup=2)
    assert clock.calls == ["ours", "peer"] * 5
    assert {name: times.tolist() for name, times in seconds.items()} == {
        "ours": [1.0, 2.0, 3.0],
        "peer": [4.0, 5.0, 0.5],
    }


def test_without_warmup_the_first_round_counts(clock):
    seconds = timing.alternate({"one": clock.candidate("one", [5.0])}, rounds=1, warmup=0)
    assert seconds["one"].tolist() == [5.0]


def test_figures_by_hand():
    seconds = {"ours": np.array([1.0, 2.0, 4.0]), "peer": np.array([3.0, 9.0, 5.0])}
    ours, peer = timing.summarize("here", seconds, count=10, unit="images")
    assert (ours["name"], ours["median"], ours["range"]) == ("ours", 2.0, [1.0, 4.0])
    assert (ours["per_second"], ours["ratio"]) == (5.0, 1.0)
    assert (peer["median"], peer["per_second"], peer["ratio"]) == (5.0, 2.0, 2.5)
    assert peer["interval"] is None  # three rounds give none
    assert peer["seconds"] == [3.0, 9.0, 5.0]


def test_interval_of_five_rounds_by_hand():
    """The least of five is the median of 5.8 % of their resamples, so both ends are the range's."""
    first = np.ones(5)
    other = np.array([2.0, 3.0, 4.0, 5.0, 6.0])
    assert timing.ratio_interval(other, first) == (2.0, 6.0)
    assert timing.ratio_interval(other, first, level=0.5) == (3.0, 5.0)
    assert timing.ratio_interval(other[:4], first[:4]) is None


def test_rounds_stay_paired():
    """A machine that slows both by as much leaves no doubt of the ratio."""
    machine = np.random.default_rng(3).lognormal(0.0, 1.0, 15)
    low, high = timing.ratio_interval(1.5 * machine, machine)
    assert low == pytest.approx(1.5) and high == pytest.approx(1.5)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        machine = rng.lognormal(0.0, 0.2, 15)
        first = machine * rng.lognormal(0.0, 0.05, 15)
        other = 1.3 * machine * rng.lognormal(0.0, 0.05, 15)
        low, high = timing.ratio_interval(other, first, resamples=500)
        held += low <= 1.3 <= high
    assert held / 200 > 0.93


pairs = st.lists(
    st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=5, max_size=20
).map(lambda rows: np.array(rows).T)


@given(pairs, st.floats(1e-3, 1e3))
def test_interval_properties(times, factor):
    other, first = times
    low, high = timing.ratio_interval(other, first)
    assert low <= high
    # A median lies between its numbers, so no ratio of two leaves these.
    assert other.min() / first.max() * (1 - 1e-9) <= low
    assert high <= other.max() / first.min() * (1 + 1e-9)
    # Exchanged, the reciprocal; slower by a factor, that much more; asked again, the same.
    assert timing.ratio_interval(first, other) == pytest.approx((1 / high, 1 / low))
    scaled = timing.ratio_interval(factor * other, first)
    assert scaled == pytest.approx((factor * low, factor * high))
    assert timing.ratio_interval(other, first) == (low, high)
    # More certainty, no narrower.
    wide = timing.ratio_interval(other, first, level=0.99)
    assert wide[0] <= low and high <= wide[1]
    # One and the same: no doubt.
    assert timing.ratio_interval(first, first) == (1.0, 1.0)


def test_a_steady_candidate_is_sampled_until_its_median_is_known(clock):
    """Five to warm up, six samples: the fewest that give an interval."""
    durations = [9.0, 9.0, 1.0, 1.0, 1.0] + [2.0] * 6
    measured = timing.sample(clock.candidate("one", durations), budget=100.0)
    assert len(clock.calls) == 11 and measured.narrow and measured.repeats == 1
    assert measured.median() == 2.0 and measured.interval() == (2.0, 2.0)


def test_a_budget_ends_it_and_says_so(clock):
    """Warm-up ends at a quarter: two calls.  Samples are 1, 2, 1, 2, ...: nobody knows the median.
    """
    durations = [3.0, 3.0] + [1.0, 2.0] * 50
    measured = timing.sample(clock.candidate("one", durations), budget=21.0)
    assert measured.seconds.tolist() == [1.0, 2.0] * 5
    assert not measured.narrow and measured.median() == 1.5


def test_one_call_that_is_longer_than_the_budget_is_a_sample(clock):
    measured = timing.sample(clock.candidate("one", [50.0, 60.0]), budget=1.0)
    assert measured.seconds.tolist() == [60.0] and measured.interval() is None
    assert not measured.narrow


def test_short_work_is_repeated_within_a_sample(clock):
    """In a quarter of SHORTEST_SAMPLE: four calls a sample, and its seconds are those of one."""
    once = timing.SHORTEST_SAMPLE / 4 * (1 + 1e-6)
    measured = timing.sample(clock.candidate("one", [once] * 29), budget=1.0)
    assert measured.repeats == 4 and len(clock.calls) == 5 + 6 * 4
    assert measured.median() == pytest.approx(once)


def test_a_cold_cache_is_made_so_before_each_sample_and_off_the_clock(clock):
    """And a device's work is waited for: before the clock starts, and within its time."""
    empty = clock.candidate("empty", [5.0] * 50)
    wait = clock.candidate("wait", [0.0, 1.0] * 50)
    run = clock.candidate("run", [1e-6] * 50)
    measured = timing.sample(run, 1000.0, between=empty, finish=wait)
    assert clock.calls == ["empty", "wait", "run", "wait"] * 11
    assert measured.repeats == 1 and measured.median() == pytest.approx(1.0, rel=1e-5)


def test_median_interval_by_hand():
    """Of six: both ends miss with 2/64.  Of nine: the second from each end, 2 (1 + 9)/512."""
    assert timing.median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1.0, 6.0)
    assert timing.median_interval(range(9)) == (1.0, 7.0)
    assert timing.median_interval(range(8)) == (0.0, 7.0)
    assert timing.median_interval(range(5)) is None
    assert timing.median_interval(range(5), level=0.9) == (0.0, 4.0)
    low, high = timing.median_interval(range(1001))
    assert low == 1000 - high and 460 < low < 475  # 500 - 1.96 sqrt(1001) / 2 = 469


def test_samples_that_stop_when_narrow_hold_the_true_median(clock):
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        draws = iter(rng.lognormal(0.0, 0.05, 3000))
        measured = timing.sample(clock.candidate("one", draws), budget=1e9)
        low, high = measured.interval()
        assert measured.narrow and high - low <= 0.02 * measured.median()
        held += low <= 1.0 <= high
    assert held / 200 > 0.9


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1234.0, "1234 s"), (12.34, "12.3 s"), (1.0, "1.00 s"), (0.0316, "31.6 ms"), (4e-4, "400 us")],
)
def test_durations(seconds, words):
    assert timing.duration(seconds) == words


def test_what_is_printed_and_written(tmp_path, capsys):
    seconds = {"ours": np.full(5, 0.25), "peer": np.full(5, 0.5)}
    figures = timing.report("here", seconds, count=100, unit="pairs")
    timing.report("there", {"alone": np.full(4, 2.0)}, count=1, unit="files")
    timing.report("few", {"a": np.full(4, 2.0), "b": np.full(4, 1.0)}, count=1, unit="files")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "here ours: 250 ms, 400.0 pairs/s (range 250 ms to 250 ms, rounds: 5)",
        "here peer: 500 ms, 200.0 pairs/s (range 500 ms to 500 ms, rounds: 5)",
        "here ratio peer / ours: 2.00 (95 % interval 2.00 to 2.00)",
        "there alone: 2.00 s, 0.5 files/s (range 2.00 s to 2.00 s, rounds: 4)",
    ]
    assert lines[-1] == "few ratio b / a: 0.50 (no interval of fewer than 5 rounds)"
    timing.write(tmp_path / "speed.json", figures, benchmark="something")
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written["benchmark"] == "something"
    assert written["figures"][1]["ratio"] == 2.0
    assert written["versions"]["numpy"] == np.__version__
    assert written["system"]["cores"] >= 1
    assert "commit" in written
