"""The benchmark's numbers: parameter count and schedule."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from image_classification import config
from image_classification.config import QUICK, REFERENCE
from image_classification.parameters import initial_parameters, specification


def count(a_config):
    return sum(int(np.prod(p.shape)) for p in specification(a_config).values() if p.trained)


def test_parameter_count():
    """25,557,032: torchvision's, Keras's and the paper's ResNet-50 with 1,000 classes."""
    assert count(REFERENCE) == 25_557_032
    assert count(dataclasses.replace(REFERENCE, num_classes=1001)) == 25_557_032 + 2049
    convolutions = [n for n, p in specification(REFERENCE).items() if len(p.shape) == 4]
    assert len(convolutions) == 53


def at(step, **changes):
    return config.learning_rate(dataclasses.replace(REFERENCE, **changes), step)


def test_schedule_of_v05():
    """The example log of MLPerf v0.5: batch 64, steps 100 and 200."""
    assert at(100, batch_size=64) == pytest.approx(3.197e-5, rel=1e-3)
    assert at(200, batch_size=64) == pytest.approx(6.394e-5, rel=1e-3)
    steps_per_epoch = 1_281_167 / 1024
    warm = int(5 * steps_per_epoch)
    assert at(0, batch_size=1024) == 0.0
    assert at(warm, batch_size=1024) == pytest.approx(0.512)
    for number, boundary in enumerate((30, 60, 80, 90)):
        step = int(steps_per_epoch * boundary)
        # The old value still holds at the boundary.
        assert at(step, batch_size=1024) == pytest.approx(0.512 / 10**number)
        assert at(step + 1, batch_size=1024) == pytest.approx(0.512 / 10 ** (number + 1))


def test_schedule_of_v06():
    lars = {"batch_size": 4096, "schedule": "polynomial", "optimizer": "lars",
            "lars_rates": (10.0,)}  # fmt: skip
    steps_per_epoch = 1_281_167 / 4096
    warm, end = int(5 * steps_per_epoch), int(90 * steps_per_epoch)
    assert at(warm, **lars) == pytest.approx(10.0)
    assert at(warm // 2, **lars) == pytest.approx(10.0 * (warm // 2) / warm)
    assert at(end + 1, **lars) == pytest.approx(1e-4)
    assert at(end + 10_000, **lars) == pytest.approx(1e-4)
    middle = warm + (end - warm + 1) // 2
    assert at(middle, **lars) == pytest.approx(2.5, rel=0.01)  # (1 - 1/2) squared


@pytest.mark.parametrize(
    ("batch_size", "peak"),
    [(256, 5.0), (8191, 5.0), (8192, 10.0), (16383, 10.0), (16384, 25.0), (32768, 32.0)],
)
def test_peaks_of_lars_are_those_of_the_rounds_table(batch_size, peak):
    lars = dataclasses.replace(config.LARS, batch_size=batch_size)
    warm = int(5 * 1_281_167 / batch_size)
    assert config.learning_rate(lars, warm) == peak == config.peak_learning_rate(lars)


@given(step=st.integers(0, 500_000), schedule=st.sampled_from(["step", "polynomial"]))
def test_the_rate_rises_and_falls_but_once(step, schedule):
    warm = int(5 * 1_281_167 / 256)
    now, after = (at(s, schedule=schedule) for s in (step, step + 1))
    assert 0 <= now <= 0.128 + 1e-9
    assert (after >= now) if step + 1 <= warm else (after <= now)


def test_initial_values():
    """Truncated normal of variance 1 / fan-in; classifier normal(0, 0.01); ones in every norm."""
    parameters = initial_parameters(dataclasses.replace(REFERENCE, seed=1))
    weight = parameters["blocks.3.convolution2.weight"]
    assert weight.shape == (128, 128, 3, 3)
    assert weight.var() == pytest.approx(1 / (128 * 9), rel=0.02)
    assert np.abs(weight).max() <= 2 / 0.8796 / np.sqrt(128 * 9) * 1.001
    assert parameters["classifier.weight"].std() == pytest.approx(0.01, rel=0.02)
    assert (parameters["blocks.15.norm3.weight"] == 1).all()
    again = initial_parameters(dataclasses.replace(QUICK, seed=1))
    other = initial_parameters(dataclasses.replace(QUICK, seed=2))
    assert not np.array_equal(again["stem.weight"], other["stem.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [({"image_size": 30}, "multiple of 4"), ({"blocks": (1, 1)}, "as many of each"),
     ({"optimizer": "adam"}, "one of sgd, lars"), ({"schedule": "cosine"}, "one of step")],
)
def test_numbers_that_do_not_fit(change, words):
    with pytest.raises(UserError, match=words):
        config.check(dataclasses.replace(QUICK, **change))
