"""The order of the data: every example once an epoch, and the same for any number of readers."""

import functools
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data import batches as batches_module
from common.data.batches import Batches, Cuts, examples_at, in_order, mixed_epochs, permutation
from common.errors import UserError

sizes = st.tuples(st.integers(1, 60), st.integers(1, 40), st.integers(1, 5))


def read(numbers):
    if len(numbers) and numbers[0] == 666:
        raise UserError("number 666: damaged. Remove it.")
    return {"numbers": numbers, "squares": np.square(numbers)}


def numbers_of(stream):
    return [batch["numbers"].tolist() for batch in stream]


@given(sizes)
def test_batches_are_one_endless_stream_cut_into_equal_parts(drawn):
    num_examples, batch_size, num_epochs = drawn
    parts = [mixed_epochs(num_examples, batch_size, e) for e in range(1, num_epochs + 1)]
    stream = np.concatenate([batch for part in parts for batch in part] or [np.array([], int)])
    assert all(len(batch) == batch_size for part in parts for batch in part)
    assert stream.tolist() == list(range(len(stream)))
    # After epoch e, e N examples have been seen, and at most the rest of one batch more.
    seen = sum(len(part) for part in parts) * batch_size
    assert 0 <= seen - num_epochs * num_examples < batch_size


@given(sizes, st.integers(0, 3))
def test_each_epoch_of_the_stream_is_a_permutation(drawn, seed):
    num_examples, _, num_epochs = drawn
    epochs, examples = examples_at(np.arange(num_examples * num_epochs), num_examples, seed)
    for epoch in range(1, num_epochs + 1):
        here = examples[epochs == epoch]
        assert sorted(here) == list(range(num_examples))
        assert here.tolist() == permutation(num_examples, epoch, seed).tolist()


def test_orders_differ_between_epochs_and_seeds():
    orders = {tuple(permutation(50, epoch, seed)) for epoch in (1, 2) for seed in (0, 1)}
    assert len(orders) == 4


def test_two_orders_are_kept_and_a_known_one_waits_for_no_other():
    orders = [permutation(50, epoch, 9) for epoch in (1, 2)]
    assert [permutation(50, epoch, 9) is orders[epoch - 1] for epoch in (1, 2)] == [True, True]
    with batches_module._shuffling:  # as while another thread makes the third
        assert permutation(50, 2, 9) is orders[1]
    third = permutation(50, 3, 9)
    assert [id(order) for order in batches_module._orders.values()] == [id(orders[1]), id(third)]
    assert permutation(50, 1, 9).tolist() == orders[0].tolist()


def test_threads_that_want_one_order_make_it_once(monkeypatch):
    made, generator = [], np.random.default_rng

    def counted(seed):
        made.append(seed)
        time.sleep(0.05)
        return generator(seed)

    monkeypatch.setattr(np.random, "default_rng", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: permutation(60, 1, 77), range(4)))
    assert made == [[77, 1]] and all(order is found[0] for order in found)


def test_a_batch_across_the_boundary_has_both_epochs():
    # 5 examples, batches of 3: the second batch holds two of epoch 1 and one of epoch 2.
    assert [batch.tolist() for batch in mixed_epochs(5, 3, 1)] == [[0, 1, 2], [3, 4, 5]]
    assert [batch.tolist() for batch in mixed_epochs(5, 3, 2)] == [[6, 7, 8], [9, 10, 11]]
    epochs, examples = examples_at(np.array([3, 4, 5]), 5, seed=7)
    assert epochs.tolist() == [1, 1, 2]
    assert examples[2] == permutation(5, 2, 7)[0]


def test_in_order_ends_with_a_short_batch():
    assert [batch.tolist() for batch in in_order(5, 2)] == [[0, 1], [2, 3], [4]]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9), st.integers(-9, 9))
def test_cuts_behave_as_the_list_they_stand_for(first, count, size, start):
    cuts = Cuts(first, first + count, size)
    whole = [list(range(first + count))[i : i + size] for i in range(first, first + count, size)]
    assert [batch.tolist() for batch in cuts] == whole
    assert [batch.tolist() for batch in cuts[start:]] == whole[start:]
    assert [batch.tolist() for batch in cuts[start:][1:3]] == whole[start:][1:3]
    assert len(cuts) == len(whole)


@settings(deadline=None, max_examples=25)
@given(sizes, st.integers(1, 5), st.integers(0, 9), st.integers(1, 3))
def test_ranks_together_read_the_global_batch(drawn, world_size, first, threads):
    num_examples, batch_size, _ = drawn
    batches = Batches(in_order(num_examples, batch_size), read)
    first = min(first, len(batches))
    parts = [
        numbers_of(batches.stream(first, rank, world_size, threads=threads))
        for rank in range(world_size)
    ]
    joined = [[n for part in row for n in part] for row in zip(*parts, strict=True)]
    assert joined == [batch.tolist() for batch in batches.indices[first:]]


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_change_nothing(workers):
    batches = Batches(in_order(23, 4), read)
    for first, rank, world_size in ((0, 0, 1), (2, 1, 2)):
        expected = numbers_of(batches.stream(first, rank, world_size))
        assert numbers_of(batches.stream(first, rank, world_size, workers=workers)) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_of_the_user_keeps_its_line(workers):
    batches = Batches([np.array([1]), np.array([666])], read)
    with pytest.raises(UserError, match="number 666: damaged"):
        list(batches.stream(workers=workers))


def test_a_reader_may_stop_early():
    stream = Batches(in_order(1000, 1), read).stream(workers=1)
    assert next(stream)["squares"].tolist() == [0]
    stream.close()


def test_read_gets_whole_batches():
    calls = []
    batches = Batches(in_order(10, 4), functools.partial(_note, calls))
    list(batches.stream(threads=1))
    assert calls == [4, 4, 2]


def _note(calls, numbers):
    calls.append(len(numbers))
    return {"numbers": numbers}


def test_the_reader_says_nothing_on_the_screen():
    code = (
        "import numpy as np\n"
        "from common.data.batches import Batches, in_order\n"
        "list(Batches(in_order(9, 2), np.square).stream())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
