"""The numbers of the benchmark: schedule and initial values by hand, the exact parameter count."""

import dataclasses
import math

import numpy as np
import pytest

from common.errors import UserError
from sentiment_analysis.benchmark import log_values
from sentiment_analysis.config import QUICK, REFERENCE, check, halo, learning_rate
from sentiment_analysis.parameters import initial_parameters, specification


def test_the_reference_has_12_616_706_parameters():
    counts = {n: math.prod(p.shape) for n, p in specification(REFERENCE).items()}
    assert counts == {
        "embedding.weight": 5_270_528,
        "convolutions.0.weight": 3_145_728,
        "convolutions.0.bias": 1_024,
        "convolutions.1.weight": 4_194_304,
        "convolutions.1.bias": 1_024,
        "classifier.weight": 4_096,
        "classifier.bias": 2,
    }
    assert sum(counts.values()) == 12_616_706


def test_initial_values_are_xaviers_uniform():
    found = initial_parameters(dataclasses.replace(REFERENCE, seed=3))
    limits = {
        "embedding.weight": 0.03118,
        "convolutions.0.weight": 0.03827,
        "convolutions.1.weight": 0.03423,
        "classifier.weight": 0.07647,
    }
    for name, array in found.items():
        if name not in limits:
            assert not array.any()
            continue
        assert np.abs(array).max() == pytest.approx(limits[name], rel=2e-3)
        assert array.std() == pytest.approx(limits[name] / math.sqrt(3), rel=2e-2)
        assert abs(array.mean()) < limits[name] / 20


def test_windows_of_three_and_four_see_two_words_before_and_one_after():
    assert halo(REFERENCE) == (2, 1)
    assert halo(dataclasses.replace(REFERENCE, windows=(3,))) == (1, 1)
    assert halo(dataclasses.replace(REFERENCE, windows=(1,))) == (0, 0)


def test_learning_rate_by_hand():
    """Adam's first step moves by the rate where the gradient is far above epsilon."""
    assert learning_rate(REFERENCE, 0) == pytest.approx(0.0005 * math.sqrt(0.001) / 0.1)
    assert learning_rate(REFERENCE, 1) == pytest.approx(0.0005 * math.sqrt(0.001999) / 0.19)
    assert learning_rate(REFERENCE, 10**6) == pytest.approx(0.0005)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stream_multiple": 12}, "multiple of block_size=8"),
        ({"num_classes": 5}, "expected 2"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UserError) as caught:
        check(dataclasses.replace(REFERENCE, **changes))
    assert words in str(caught.value)


@pytest.mark.parametrize("profile", [QUICK, REFERENCE], ids=["quick", "reference"])
def test_the_profiles_fit(profile):
    assert check(profile) is profile
    counted = dataclasses.replace(profile, num_train_reviews=10, num_eval_reviews=10)
    assert log_values(counted, 1)["opt_base_learning_rate"] == 0.0005
