"""Buckets: every kept example once, whatever the order, in the batches that one would fill."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.buckets import as_they_fill, bucket_of, filler, longest_first, longest_in


@st.composite
def epochs(draw):
    """(buckets, rows, order): the arguments of as_they_fill."""
    rows = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    buckets = draw(st.lists(st.integers(-1, len(rows) - 1), max_size=60))
    order = draw(st.permutations(range(len(buckets))))
    return np.array(buckets, np.int16), np.array(rows), np.array(order, np.int8)


def one_by_one(buckets, rows, order):
    """[[number]]: the batches as one example after another fills them."""
    waiting, found = [[] for _ in rows], []
    for number in order.tolist():
        bucket = buckets[number]
        if bucket >= 0:
            waiting[bucket].append(number)
            if len(waiting[bucket]) == rows[bucket]:
                found.append(waiting[bucket])
                waiting[bucket] = []
    for bucket, numbers in enumerate(waiting):
        if numbers:
            found.append(numbers + [-1 - bucket] * (rows[bucket] - len(numbers)))
    return found


@settings(deadline=None)
@given(epochs())
def test_batches_come_as_their_buckets_fill(epoch):
    batches = as_they_fill(*epoch)
    assert all(numbers.dtype == np.int64 for numbers in batches)
    assert [numbers.tolist() for numbers in batches] == one_by_one(*epoch)


@settings(deadline=None)
@given(epochs())
def test_each_kept_example_comes_once_in_its_buckets_shape(epoch):
    buckets, rows, _ = epoch
    members = []
    for numbers in as_they_fill(*epoch):
        kept = numbers[numbers >= 0]
        found = {*buckets[kept].tolist(), *filler(numbers[numbers < 0]).tolist()}
        assert len(found) == 1
        assert len(numbers) == rows[found.pop()]
        members += kept.tolist()
    assert sorted(members) == np.flatnonzero(buckets >= 0).tolist()


def test_an_epoch_by_hand():
    """Bucket 0 takes three, bucket 1 two; example 4 is left out."""
    buckets = np.array([1, 0, 0, 1, -1, 0, 1, 0])
    batches = as_they_fill(buckets, np.array([3, 2]), np.array([7, 0, 4, 1, 6, 2, 3, 5]))
    # 0 and 6 are the first two of bucket 1; then 2 completes 7 and 1.
    assert [numbers.tolist() for numbers in batches] == [[0, 6], [7, 1, 2], [5, -1, -1], [3, -2]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 7))
def test_an_evaluation_has_each_example_once_long_ones_first(buckets, batch_size):
    buckets = np.array(buckets)
    expected = []
    for bucket in range(5, -1, -1):
        members = np.flatnonzero(buckets == bucket).tolist()
        expected += [members[n : n + batch_size] for n in range(0, len(members), batch_size)]
    batches = longest_first(buckets, batch_size)
    assert [numbers.tolist() for numbers in batches] == expected
    assert all(numbers.dtype == np.int64 for numbers in batches)


@settings(deadline=None)
@given(epochs(), st.integers(-9, 9), st.integers(-9, 9))
def test_a_slice_is_that_of_the_list(epoch, start, stop):
    batches = as_they_fill(*epoch)
    whole = [numbers.tolist() for numbers in batches]
    assert len(batches) == len(whole)
    assert [numbers.tolist() for numbers in batches[start:]] == whole[start:]
    assert [numbers.tolist() for numbers in batches[start:stop][1:]] == whole[start:stop][1:]


def test_lengths_and_bounds_by_hand():
    bounds = np.array([8, 10, 15])
    assert bucket_of(bounds, np.array([1, 7, 8, 9, 10, 14, 15])).tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert longest_in(bounds, np.array([0, 2, 1])).tolist() == [7, 14, 9]


def test_a_filler_tells_its_bucket():
    assert [filler(bucket) for bucket in (0, 1, 5)] == [-1, -2, -6]
    assert [filler(number) for number in (-1, -2, -6)] == [0, 1, 5]
