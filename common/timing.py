"""One loop that times alternating candidates, and what their times say.

    seconds = alternate({"ours": step, "peer": other_step}, rounds=7, warmup=2)
    figures = report("pytorch", seconds, count=256, unit="images")
    write("speed.json", figures, benchmark="a network")

    measured = sample(kernel, budget=1.0, finish=synchronize)     # one candidate, as long as needed

A candidate is a function without arguments.  It does its work once and returns when that work is
done: where a device works on by itself, the caller synchronizes inside.  Work of less than some
ten microseconds is repeated inside, or the clock is what is measured.
"""

import importlib.metadata
import json
import math
import sys
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from common.machine import system_description
from common.run_folder import commit

# The range of n draws misses their true median with a probability of 2^(1 - n): 6 % where n is 5.
# With fewer rounds no resampling of them gives an interval of 95 %.
FEWEST_ROUNDS = 5
SHORTEST_SAMPLE = 2e-4   # seconds; shorter work is repeated within a sample
WARMUP_CALLS = 5
MOST_SAMPLES = 1000


def alternate(candidates, rounds, warmup=1):
    """Times candidates turn by turn.  Returns {name: float64 [rounds], seconds}.

    candidates: {name: function without arguments}.
    In each round every candidate runs once, in the order given, so that whatever else the machine
    does falls on all of them, and round r of one is paired with round r of another.
    warmup: rounds that run before and are not counted: graphs are built, memory is taken.
    """
    seconds = {name: np.empty(rounds) for name in candidates}
    for index in range(-warmup, rounds):
        for name, candidate in candidates.items():
            started = perf_counter()
            candidate()
            ended = perf_counter()
            if index >= 0:
                seconds[name][index] = ended - started
    return seconds


@dataclass(frozen=True)
class Sample:
    """What `sample` found of one candidate."""

    seconds: np.ndarray   # float64 [samples], of one call each
    repeats: int          # calls that a sample is the mean of
    narrow: bool          # whether the interval is as narrow as was asked; else time ran out

    def median(self):
        """Seconds of a call."""
        return float(np.median(self.seconds))

    def interval(self):
        """(low, high) of the median, see median_interval; None of too few samples."""
        return median_interval(self.seconds)


def sample(candidate, budget, width=0.02, between=None, finish=None):
    """Times one candidate until its median is known well, or the budget has passed: a Sample.

    candidate: a function without arguments.  budget: seconds, the warm-up among them; one call may
    pass it, for there are always a warm-up and a sample.  width: of the median's interval, as a
    share of the median: narrow enough to stop.
    between: called before each sample, its time not counted: it may empty the cache of the
    processor.  Each sample is one call then.  finish: waits until a device has done all; in the
    sample's time.
    The interval is looked at each time the samples have grown by a quarter: one that is looked at
    after each sample stops at a lucky few.  Simulated with 1 to 20 % of spread, 95 % of them hold
    the true median.
    """
    wait = finish or (lambda: None)
    started = perf_counter()

    def call(times):
        if between:
            between()
        wait()
        before = perf_counter()
        for _ in range(times):
            candidate()
        wait()
        return perf_counter() - before

    for _ in range(WARMUP_CALLS):
        once = call(1)
        if perf_counter() - started > budget / 4:
            break
    repeats = 1 if between else max(1, math.ceil(SHORTEST_SAMPLE / max(once, 1e-7)))
    seconds, look, narrow = [], FEWEST_ROUNDS + 1, False
    while not narrow and len(seconds) < MOST_SAMPLES:
        seconds.append(call(repeats) / repeats)
        if len(seconds) >= look:
            low, high = median_interval(seconds)
            narrow = high - low <= width * np.median(seconds)
            look = math.ceil(1.25 * len(seconds))
        if perf_counter() - started >= budget:
            break
    return Sample(np.array(seconds), repeats, bool(narrow))


def median_interval(seconds, level=0.95):
    """(low, high): two of the samples between which the true median lies; None of fewer than six.

    Whatever the distribution, each sample is below the true median with a probability of 1/2, so
    how many are is binomial.  The r-th from below and from above are taken, the largest r of which
    both sides together miss with at most 1 - level.
    """
    ordered = np.sort(seconds)
    number, missed, below = len(ordered), 0.0, 0
    while True:
        missed += 2.0 * math.comb(number, below) / 2**number
        if missed > 1.0 - level or 2 * below >= number:
            break
        below += 1
    if not below:
        return None
    return float(ordered[below - 1]), float(ordered[number - below])


def ratio(other, first):
    """How many times as long `other` takes as `first`: the ratio of their median seconds."""
    return float(np.median(other) / np.median(first))


def ratio_interval(other, first, level=0.95, resamples=2000):
    """(low, high): a bootstrap percentile interval of `ratio`; None of fewer than FEWEST_ROUNDS.

    Rounds are drawn with replacement and stay paired, so that what slows both does not widen it.
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.  The draws are seeded:
    the same seconds give the same interval.  The percentiles are rounded outwards, so that
    exchanging the two gives the reciprocal interval.
    Of few rounds the level is approximate: simulated, 90 % of 7 rounds' hold the true ratio, of 15
    rounds' 99 %.
    """
    if len(first) < FEWEST_ROUNDS:
        return None
    rows = np.random.default_rng(0).integers(0, len(first), (resamples, len(first)))
    ratios = np.median(other[rows], axis=1) / np.median(first[rows], axis=1)
    low = np.quantile(ratios, (1 - level) / 2, method="lower")
    high = np.quantile(ratios, (1 + level) / 2, method="higher")
    return float(low), float(high)


def summarize(label, seconds, count, unit):
    """What the times say: a dictionary for each candidate, in their order.

    seconds: as `alternate` gives.  count: how many units a candidate does each time it runs.
    Each has label, name, unit, the median's seconds, the range [lowest, highest], units a second at
    the median, all seconds; and against the first candidate ratio and interval, see ratio_interval.
    A ratio above 1: the first is faster.
    """
    first = next(iter(seconds.values()))
    return [
        {
            "label": label,
            "name": name,
            "median": float(np.median(times)),
            "range": [float(times.min()), float(times.max())],
            "unit": unit,
            "per_second": count / float(np.median(times)),
            "ratio": ratio(times, first),
            "interval": ratio_interval(times, first),
            "seconds": times.tolist(),
        }
        for name, times in seconds.items()
    ]


def report(label, seconds, count, unit):
    """Prints a line for each candidate and each ratio.  Returns the figures, see summarize."""
    figures = summarize(label, seconds, count, unit)
    for figure in figures:
        lowest, highest = map(duration, figure["range"])
        print(f"{label} {figure['name']}: {duration(figure['median'])}, "
              f"{figure['per_second']:,.1f} {unit}/s "
              f"(range {lowest} to {highest}, rounds: {len(figure['seconds'])})")
    for figure in figures[1:]:
        shown = f"no interval of fewer than {FEWEST_ROUNDS} rounds"
        if figure["interval"]:
            shown = "95 % interval {:.2f} to {:.2f}".format(*figure["interval"])
        print(f"{label} ratio {figure['name']} / {figures[0]['name']}: "
              f"{figure['ratio']:.2f} ({shown})")
    sys.stdout.flush()
    return figures


def duration(seconds):
    """Seconds as people read them, in three digits: 1.25 s, 31.6 ms, 407 us."""
    if seconds >= 1:
        value, unit = seconds, "s"
    elif seconds >= 1e-3:
        value, unit = seconds * 1e3, "ms"
    else:
        value, unit = seconds * 1e6, "us"
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f} {unit}"


def versions():
    """{package: version} of every installed package of which something is imported."""
    packages = importlib.metadata.packages_distributions()
    found = {name for module in sys.modules for name in packages.get(module, ())}
    return {name: importlib.metadata.version(name) for name in sorted(found)}


def write(path, figures, **facts):
    """Writes figures as JSON, with the machine, the commit, the versions and other facts."""
    result = {
        **facts,
        "system": system_description(),
        "commit": commit(),
        "versions": versions(),
        "figures": figures,
    }
    with open(path, "w") as opened:
        json.dump(result, opened, indent=2)
