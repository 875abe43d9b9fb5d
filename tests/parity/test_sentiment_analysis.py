"""Parity of the three Seq-CNNs, on reviews of one word, of two, of the longest; planted faults."""

import dataclasses

import pytest

from sentiment_analysis import config, data
from tests.parity.planted import (  # noqa: F401, collected here
    test_nothing_planted_agrees,
    test_planted_fault_is_found_and_named,
)
from tests.sentiment_analysis.packed import unpack

APPLICATION = "sentiment_analysis"

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/convolutions.1.weight"),
    "a pad word between reviews": ("step_0000", "activation/embedding"),
    "empty places in the maximum": ("step_0000", "activation/convolutions.0"),
    "relu for elu": ("step_0000", "activation/convolutions.0"),
    "window centred the other way": ("step_0000", "activation/convolutions.1"),
    "labels the other way": ("step_0000", "loss"),
    "equal maxima each take the gradient": ("step_0000", "gradient/embedding.weight"),
    "second moment's decay": ("step_0000", "second_moment/embedding.weight"),
    "epsilon beside the corrected root": ("step_0000", "parameter/embedding.weight"),
    "moments of words not in the batch": ("step_0001", "first_moment/embedding.weight"),
}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, agree):
    agree("--steps=5", f"--precision={precision}")


def test_three_frameworks_agree_on_the_full_network(agree):
    agree("--steps=1", "--profile=reference", "--set", "batch_size=4")


@pytest.mark.parametrize("profile", [config.QUICK, config.REFERENCE], ids=["quick", "reference"])
def test_the_batches_hold_the_shortest_and_the_longest(profile):
    counted, batches = data.parity_batches(dataclasses.replace(profile, seed=1), 2)
    for batch in batches:
        lengths = [len(review) for review in unpack(counted, batch)]
        assert {1, 2, 2500 if profile.profile == "reference" else 60} <= set(lengths)
    assert not all(batch["seen"].all() for batch in batches)
