"""The published sizes and schedule, initial values, and what config.check refuses."""

import dataclasses

import numpy as np
import pytest

from common.errors import UserError
from speech_recognition import config
from speech_recognition.benchmark import BENCHMARK, infinite_losses, log_values
from speech_recognition.config import PROFILES, QUICK, REFERENCE, V05
from speech_recognition.parameters import initial_parameters, points, specification


def count(profile, prefix=""):
    found = specification(profile).items()
    return sum(int(np.prod(p.shape)) for name, p in found if p.trained and name.startswith(prefix))


def test_the_networks_have_the_published_numbers_of_parameters():
    assert count(REFERENCE) == 38_115_968
    assert count(V05) == 103_841_568
    assert count(QUICK) == 286_568


def test_counts_of_the_parts():
    parts = {
        "convolutions.0.": 32 * 451 + 32 + 64, "convolutions.1.": 32 * 32 * 231 + 32 + 64,
        "layers.0.": 2 * 2400 * (672 + 800 + 2), "layers.4.": 2 * 2400 * (800 + 800 + 2) + 1600,
        "norm.": 1600, "output.": 29 * 800,
    }  # fmt: skip
    assert {name: count(REFERENCE, name) for name in parts} == parts


def test_the_v05_network_has_three_layers_of_one_direction_and_no_norm_between():
    names = specification(V05)
    assert names["layers.2.hidden_weight"].shape == (1, 7680, 2560)
    assert "layers.1.norm.weight" not in names and "layers.3.input_weight" not in names
    assert V05 in PROFILES.values() and V05.profile == "v05" == next(
        name for name, profile in PROFILES.items() if profile is V05)


def test_initial_values_have_the_distributions_of_the_reference():
    values = initial_parameters(dataclasses.replace(REFERENCE, seed=1))
    limits = {
        "convolutions.0.weight": 0.0471, "convolutions.0.bias": 0.0471,
        "convolutions.1.weight": 0.01163, "convolutions.1.bias": 0.01163,
        "layers.0.input_weight": 0.03536, "layers.0.input_bias": 0.03536,
        "layers.4.hidden_weight": 0.03536, "layers.4.hidden_bias": 0.03536,
        "output.weight": 0.03536,
    }  # fmt: skip
    for name, limit in limits.items():
        largest = np.abs(values[name]).max()
        assert 0.8 * limit < largest <= limit * 1.001, name
        assert values[name].std() == pytest.approx(limit / np.sqrt(3), rel=0.35), name
    assert (values["layers.1.norm.weight"] == 1).all() and (values["norm.running_var"] == 1).all()
    assert not values["convolutions.0.norm.bias"].any() and not values["norm.running_mean"].any()
    assert all(array.dtype == np.float32 for array in values.values())


def test_values_depend_on_the_seed_alone():
    one, same, other = (initial_parameters(dataclasses.replace(QUICK, seed=s)) for s in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["layers.0.hidden_weight"], other["layers.0.hidden_weight"])


def test_the_points_of_parity_lie_in_forward_order():
    assert list(points(QUICK)) == [
        "convolutions.0", "convolutions.1", "layers.0", "layers.1", "norm", "logits",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "last_of_the_first", "rate"), [(REFERENCE, 56_248, 3e-4), (V05, 35_155, 1e-4)]
)
def test_the_rate_is_divided_after_each_epoch(profile, last_of_the_first, rate):
    steps = last_of_the_first + 1
    assert config.learning_rate(profile, 0) == rate == config.learning_rate(profile, steps - 1)
    assert config.learning_rate(profile, steps) == pytest.approx(rate / 1.1)
    assert config.learning_rate(profile, 9 * steps) == pytest.approx(rate / 1.1**9)


@pytest.mark.parametrize(
    ("profile", "numbers"),
    [(REFERENCE, (5, 3e-4, 200.0, 10, 23.0)), (V05, (8, 1e-4, 400.0, 10, 23.0))],
)
def test_numbers_of_the_reference(profile, numbers):
    """params.py of May 2018 and of the tag v0.5."""
    assert numbers == (profile.batch_size, profile.learning_rate, profile.clip_norm,
                       profile.num_epochs, profile.target)
    assert (profile.momentum, profile.anneal, profile.order) == (0.9, 1.1, "ascending")
    assert (profile.batch_norm_momentum, profile.batch_norm_epsilon) == (0.9, 1e-5)
    assert (profile.augment, profile.beam_size, profile.evaluate_every_epochs) == (True, 0, 1)


def test_the_log_has_the_hyperparameters():
    values = log_values(REFERENCE, 2)
    assert values["train_samples"] == 281_241 and values["eval_samples"] == 5_567
    assert values["opt_gradient_clip_norm"] == 200.0 and values["model_bn_span"] == 3


def test_the_kernel_is_a_gpus_unless_asked_for():
    on = {device: config.is_fused(dataclasses.replace(REFERENCE, device=device))
          for device in ("cpu", "cuda")}  # fmt: skip
    assert on == {"cpu": False, "cuda": True}
    assert config.is_fused(dataclasses.replace(REFERENCE, recurrence="fused"))
    assert not config.is_fused(dataclasses.replace(REFERENCE, recurrence="plain", device="cuda"))


@pytest.mark.parametrize(
    ("labels", "length", "infinite"),
    [([1, 2, 3], 3, 0), ([1, 2, 3], 2, 1), ([1, 1, 0], 3, 0), ([1, 1, 0], 2, 1),
     ([5, 5, 5], 5, 0), ([5, 5, 5], 4, 1), ([0, 0, 0], 0, 0)],
)  # fmt: skip
def test_losses_are_infinite_where_labels_and_blanks_between_equals_do_not_fit(
    labels, length, infinite
):
    batch = {"labels": np.array([labels], np.int32), "lengths": np.array([length], np.int32)}
    assert infinite_losses(batch) == infinite
    assert BENCHMARK.counts == {"infinite_losses": infinite_losses}


@pytest.mark.parametrize(
    ("change", "words"),
    [({"order": "random"}, "one of ascending, sortagrad"),
     ({"recurrence": "cudnn"}, "one of auto, plain, fused"),
     ({"tempo_low": 1.2}, "tempo_low=1.2: expected tempo_high=1.15 or less"),
     ({"gain_low": 9.0}, "gain_low=9.0: expected gain_high=8.0 or less"),
     ({"tempo_low": 0.4}, "expected 0.5 to 2"),
     ({"momentum": 0.0}, "momentum=0.0: expected above 0")],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        config.check(dataclasses.replace(QUICK, **change))
