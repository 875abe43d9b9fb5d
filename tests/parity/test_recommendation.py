"""NeuMF's parity: no fault where there is none, and each of ten that are planted is named."""

import pytest

from tests.parity.planted import (  # noqa: F401, collected here
    test_nothing_planted_agrees,
    test_planted_fault_is_found_and_named,
)

APPLICATION = "recommendation"

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/mlp.1.weight"),
    "concatenation turned": ("step_0000", "activation/mlp_input"),
    "no ReLU after the last layer": ("step_0000", "activation/logits"),
    "labels turned": ("step_0000", "loss"),
    "sum instead of mean": ("step_0000", "loss"),
    "a repeated row counts once": ("step_0000", "gradient/mf_user.weight"),
    "second beta": ("step_0000", "second_moment/mf_user.weight"),
    "no bias correction": ("step_0000", "parameter/mf_user.weight"),
    "epsilon beside the uncorrected root": ("step_0000", "parameter/mf_user.weight"),
    "lazy Adam": ("step_0001", "parameter/mf_user.weight"),
}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, agree):
    agree("--steps=5", f"--precision={precision}")


def test_three_frameworks_agree_on_the_full_network(agree):
    agree("--steps=1", "--profile=reference")
