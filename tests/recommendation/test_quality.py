"""HR@10 held against its definition, item by item."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommendation import quality


def rank_by_hand(scores, items):
    """How many distinct other items score at least as high as the last one."""
    positive, own = items[-1], scores[-1]
    best = {}
    for item, score in zip(items, scores):
        if item != positive:
            best[item] = score
    return sum(not score < own for score in best.values())


@st.composite
def candidates(draw):
    """(scores [B, N + 1], items [B, N + 1]): few items and few scores, so repeats and ties."""
    num_users, num_candidates = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    num_items, num_scores = draw(st.integers(2, 60)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    by_item = rng.integers(0, num_scores, (num_users, num_items)).astype(np.float32)
    if draw(st.booleans()):
        by_item[rng.random(by_item.shape) < 0.1] = np.nan
    items = rng.integers(0, num_items, (num_users, num_candidates))
    return np.take_along_axis(by_item, items, axis=1), items


@given(candidates())
def test_hits_are_those_of_the_definition(drawn):
    scores, items = drawn
    found = quality.compare(scores, {"items": items})
    expected = np.array([rank_by_hand(*row) for row in zip(scores, items)])
    assert ((found < quality.TOP) == (expected < quality.TOP)).all()
    # A rank is exact beyond the first ten, and where nothing is drawn twice; it is never too small.
    assert (found[found >= quality.TOP] == expected[found >= quality.TOP]).all()
    assert (found >= expected).all()


@given(candidates(), st.integers(1, 5))
def test_the_score_does_not_depend_on_the_batches(drawn, size):
    scores, items = drawn
    parts = range(0, len(items), size)
    records = [quality.compare(scores[i : i + size], {"items": items[i : i + size]}) for i in parts]
    whole = [quality.compare(scores, {"items": items})]
    assert quality.score(records) == quality.score(whole)
    assert quality.count(records) == len(items)


def hit(scores, items):
    return quality.score([quality.compare(np.array([scores], float), {"items": np.array([items])})])


def test_by_hand():
    items = list(range(12))
    assert hit([9.0] * 9 + [0, 0] + [5.0], items) == 1.0   # nine are better: the tenth place
    assert hit([9.0] * 10 + [0] + [5.0], items) == 0.0     # ten are better
    # Ten better scores, but of nine items: one was drawn twice.
    assert hit([9.0] * 10 + [0] + [5.0], [0, 0, *range(1, 10), 11]) == 1.0
    # Ten places at the positive's own score, four of them the positive itself, drawn as a negative.
    assert hit([5.0] * 10 + [0] + [5.0], [11, 11, 11, 11, *range(6), 10, 11]) == 1.0


@pytest.mark.parametrize("constant", [0.0, np.nan, np.inf])
def test_a_model_that_says_the_same_of_all_hits_nothing(constant):
    assert hit([constant] * 12, list(range(12))) == 0.0


def test_a_score_that_is_no_number_helps_nobody():
    assert hit([1.0] * 11 + [np.nan], list(range(12))) == 0.0
    assert hit([np.nan] * 10 + [0.0] + [1.0], list(range(12))) == 0.0


def test_the_target_itself_is_enough():
    assert quality.QUALITY.met({"hr_at_10": 0.635}, {"hr_at_10": 0.635})
    assert not quality.QUALITY.met({"hr_at_10": float("nan")}, {"hr_at_10": 0.635})
