"""Shares by hand."""

import numpy as np
import pytest

from reinforcement.benchmark import BENCHMARK
from reinforcement.config import QUICK, REFERENCE

METRIC = BENCHMARK.quality(REFERENCE)


def record(found, answers):
    return METRIC.compare(np.array(found), {"answers": np.array(answers)})


def test_hits_are_pooled_over_all_positions():
    """Not the mean of the batches' shares: 1 of 2 and 1 of 4 are 2 of 6."""
    records = [record([3, 5], [3, 4]), record([1, 2, 3, 81], [4, 2, 1, 80])]
    assert METRIC.count(records) == 6
    assert METRIC.score(records) == pytest.approx(2 / 6)


def test_the_quick_profile_counts_games():
    metric = BENCHMARK.quality(QUICK)
    assert metric.names == ("win_rate",) and METRIC.names == ("prediction_accuracy",)
    won, lost = np.array([1, -1, -1]), np.array([1, -1, 1])
    assert metric.score([metric.compare(won, {"answers": lost})]) == pytest.approx(2 / 3)


def test_the_target_is_met_by_what_is_as_good():
    targets = METRIC.targets(REFERENCE.target)
    assert METRIC.met({"prediction_accuracy": 0.4}, targets)
    assert not METRIC.met({"prediction_accuracy": 144 / 362}, targets)
    assert METRIC.met({"prediction_accuracy": 145 / 362}, targets)
