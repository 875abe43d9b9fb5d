"""The schedule's published values, parameter counts, and what config.check refuses."""

import dataclasses
import math

import numpy as np
import pytest

from common.errors import UserError
from translation import config
from translation.formulas import positions, smoothed_label
from translation.parameters import initial_parameters, points, specification


def count(profile):
    return sum(math.prod(parameter.shape) for parameter in specification(profile).values())


def test_parameter_counts_are_the_references():
    assert count(config.REFERENCE) == 210_804_736
    assert count(config.BASE) == 61_362_176


def test_counts_of_the_parts():
    """Of the big network: embedding, encoder, decoder."""
    parts = {"embedding": 0, "encoder": 0, "decoder": 0}
    for name, parameter in specification(config.REFERENCE).items():
        part = name.split(".")[0].removesuffix("_norm")
        parts[part] += math.prod(parameter.shape)
    assert parts == {"embedding": 34_516_992, "encoder": 75_554_816, "decoder": 100_732_928}


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.0), (1_000, 3.0882e-5), (16_000, 4.9411e-4), (41_365, 3.0731e-4),
     (124_095, 1.7742e-4)],
)
def test_learning_rate_is_the_references(step, rate):
    assert math.isclose(config.learning_rate(config.REFERENCE, step), rate, rel_tol=5e-5)


def test_initial_values():
    """Each tensor by its rule; alike for a seed, unlike for another."""
    quick = dataclasses.replace(config.QUICK, seed=3)
    values = initial_parameters(quick)
    assert np.isclose(values["embedding.weight"].std(), 128**-0.5, rtol=0.02)
    for name in ("encoder.0.self_attention.query.weight", "decoder.1.feed_forward.hidden.weight"):
        limit = math.sqrt(6.0 / sum(values[name].shape))
        assert 0.98 * limit < np.abs(values[name]).max() <= limit
        assert np.isclose(values[name].std(), limit / math.sqrt(3), rtol=0.02)
    assert np.all(values["encoder_norm.weight"] == 1.0)
    assert not values["decoder.0.feed_forward.hidden.bias"].any()
    again = initial_parameters(quick)
    other = initial_parameters(dataclasses.replace(quick, seed=4))
    for name, value in values.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, again[name])
        if specification(quick)[name].initial in ("glorot", "normal"):
            assert not np.array_equal(value, other[name])


def test_points_are_all_sublayers_and_what_lies_around_them():
    assert len(points(config.REFERENCE)) == 6 * 2 + 6 * 3 + 5


def test_positions_are_the_references():
    """Sines then cosines; the wavelengths' scales from 1 to 1 / 10,000, both met."""
    table = positions(50, 8)
    assert table.shape == (50, 8)
    scales = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4]
    for place in (0, 1, 7, 49):
        expected = [math.sin(place * s) for s in scales] + [math.cos(place * s) for s in scales]
        np.testing.assert_allclose(table[place], expected, rtol=1e-12, atol=1e-12)


def test_smoothed_label_has_the_sheets_share_and_entropy():
    other, entropy = smoothed_label(33_708, 0.1)
    assert math.isclose(other, 2.96674e-6, rel_tol=1e-5)
    assert math.isclose(entropy, 1.367629, rel_tol=1e-6)
    assert smoothed_label(100, 0.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("hidden_size", 100, "expected a multiple of twice num_heads=4"),
        ("batch_tokens", 20, "so that the longest pair fits"),
        ("beam_size", 501, "expected twice beam_size"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(field, value, words):
    changed = dataclasses.replace(config.QUICK, **{field: value})
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        config.check(changed)
