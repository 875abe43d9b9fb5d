"""Targets of one metric and of several, and when they are met."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.quality import logged
from tests.common.fake import quality

NAMES = ("bbox", "segm", "keypoints")
NUMBERS = st.floats(allow_nan=False)


@given(st.dictionaries(st.sampled_from(NAMES), NUMBERS, min_size=2), st.randoms())
def test_each_target_is_found_whatever_the_order(targets, random):
    shuffled = list(targets)
    random.shuffle(shuffled)
    text = ",".join(f"{name}={targets[name]}" for name in shuffled)
    found = quality(*targets).targets(text)
    assert found == targets
    assert list(found) == list(targets)  # in the metrics' order, as results show them


@given(NUMBERS)
def test_one_metrics_target_is_a_number_or_named(number):
    for target in (number, f"bbox={number}"):
        assert quality("bbox").targets(target) == {"bbox": number}


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (("bbox", "segm"), 0.3),
        (("bbox", "segm"), "bbox=0.377"),
        (("bbox", "segm"), "bbox=0.377,segm=0.339,segm=0.1"),
        (("bbox", "segm"), "bbox=0.377,mask=0.339"),
        (("bbox", "segm"), "bbox=0.377,segm=high"),
        (("bbox", "segm"), "bbox=0.377;segm=0.339"),
        (("bbox",), "accuracy=0.3"),
        (("bbox",), "high"),
        (("bbox",), ""),
    ],
)
def test_other_targets_are_refused_in_one_line(names, target):
    with pytest.raises(UserError) as caught:
        quality(*names).targets(target)
    wanted = ",".join(f"{name}=VALUE" for name in names)
    assert str(caught.value) == f"target={target}: expected {wanted}."


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=3))
def test_all_targets_must_be_met(pairs):
    values = {name: value for name, (value, _) in zip(NAMES, pairs)}
    targets = {name: target for name, (_, target) in zip(NAMES, pairs)}
    higher, lower = quality(*values), quality(*values, higher_is_better=False)
    assert higher.met(values, targets) == all(value >= target for value, target in pairs)
    assert lower.met(values, targets) == all(value <= target for value, target in pairs)
    assert higher.met(targets, targets) and lower.met(targets, targets)  # the target is enough
    for name in values:
        assert not higher.met(values | {name: math.nan}, targets)
        assert not lower.met(values | {name: math.nan}, targets)


def test_values_of_records():
    assert quality("bbox", "segm").values([[(1.0, 0.0)], [(0.0, 0.0), (0.5, 0.0)]]) == {
        "bbox": 1.0, "segm": 0.0,
    }  # fmt: skip
    with pytest.raises(ValueError):
        quality("bbox", "segm", "keypoints").values([[(1.0, 0.0)]])  # a value is missing


def test_a_log_has_a_number_or_upper_case_names():
    assert logged({"accuracy": 0.5}) == 0.5
    assert logged({"bbox": 0.25, "segm": 0.125}) == {"BBOX": 0.25, "SEGM": 0.125}


def test_where_the_target_itself_is_not_enough():
    strict = dataclasses.replace(quality("accuracy"), strictly=True)
    assert not strict.met({"accuracy": 0.906}, {"accuracy": 0.906})
    assert strict.met({"accuracy": 0.90604}, {"accuracy": 0.906})
    lower = dataclasses.replace(strict, higher_is_better=False)
    assert not lower.met({"accuracy": 0.2}, {"accuracy": 0.2})
    assert lower.met({"accuracy": 0.1}, {"accuracy": 0.2})
