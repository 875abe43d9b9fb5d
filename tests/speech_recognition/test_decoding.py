"""Greedy decoding by the reference's rules; beam search against all paths of a tiny alphabet."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_recognition.config import QUICK
from speech_recognition.decoding import beam_search, best_path, decode


def one_hot(paths, num_symbols=29):
    """Log-probabilities of which each path is the likeliest, [B, T, S]."""
    return np.log(np.eye(num_symbols)[np.array(paths)] * 0.9 + 0.01)


@pytest.mark.parametrize(
    ("path", "length", "heard"),
    [
        ([3, 3, 0, 3, 4, 4], 6, [3, 3, 4]),      # repeats are one, unless a blank parts them
        ([0, 0, 0, 0, 0, 0], 6, []),
        ([5, 6, 5, 6, 6, 5], 6, [5, 6, 5, 6, 5]),
        ([3, 3, 3, 4, 5, 6], 4, [3, 4]),         # what lies behind the end is not looked at
        ([28, 3, 28, 0, 28, 28], 6, [28, 3, 28, 28]),
    ],
)  # fmt: skip
def test_the_likeliest_symbols_without_repeats_and_blanks(path, length, heard):
    found, scores = best_path(one_hot([path]), np.array([length]))
    assert found.tolist() == [heard + [0] * (6 - len(heard))]
    assert scores[0] == pytest.approx(length * np.log(0.91))


def by_the_reference(path):
    """decoder.py's loop: a symbol counts unless it is blank or its direct predecessor's equal."""
    return [s for i, s in enumerate(path) if s and not (i and s == path[i - 1])]


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=5),
       st.data())
def test_a_batch_is_decoded_as_its_rows(paths, drawn):
    lengths = [drawn.draw(st.integers(0, 7)) for _ in paths]
    found, _ = best_path(one_hot(paths, 4), np.array(lengths))
    for row, path, length in zip(found, paths, lengths):
        heard = by_the_reference(path[:length])
        assert row.tolist() == heard + [0] * (7 - len(heard))


def by_all_paths(log_probabilities):
    """{symbols: probability}, from every path."""
    steps, num_symbols = log_probabilities.shape
    found = {}
    for path in itertools.product(range(num_symbols), repeat=steps):
        heard = tuple(by_the_reference(path))
        found[heard] = found.get(heard, 0.0) + np.exp(
            log_probabilities[np.arange(steps), path].sum())
    return found


@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.3, 1.0, 4.0]))
def test_a_wide_beam_finds_the_likeliest_of_all(seed, steps, loudness):
    rng = np.random.default_rng(seed)
    logits = loudness * rng.standard_normal((3, 5, 3))
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    lengths = np.array([steps, 5, 0])
    found, scores = beam_search(log_probabilities, lengths, 64)
    assert found.shape == (3, 5)
    for row, length in enumerate(lengths):
        everything = by_all_paths(log_probabilities[row, :length])
        heard = tuple(symbol for symbol in found[row].tolist() if symbol)
        assert found[row, : len(heard)].tolist() == list(heard)
        assert scores[row] == pytest.approx(np.log(max(everything.values())), abs=1e-9)
        assert everything[heard] == pytest.approx(max(everything.values()), rel=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_a_narrow_beam_counts_paths_to_what_it_finds_alone(seed, beam_size):
    """Its score is at most the sum of those paths, and no less than one of them."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((1, 5, 3))
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    found, scores = beam_search(log_probabilities, np.array([5]), beam_size)
    heard = tuple(symbol for symbol in found[0].tolist() if symbol)
    assert scores[0] <= np.log(by_all_paths(log_probabilities[0])[heard]) + 1e-9


def test_a_prefix_dropped_and_found_again_is_the_same():
    """Two beams: "A" falls out behind "B" and the empty prefix, and comes back; counted once."""
    probabilities = np.array([[0.5, 0.2, 0.3], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    found, scores = beam_search(np.log(probabilities)[None], np.array([3]), 9)
    everything = by_all_paths(np.log(probabilities))
    assert tuple(s for s in found[0].tolist() if s) == max(everything, key=everything.get)
    assert scores[0] == pytest.approx(np.log(max(everything.values())))


def test_the_config_chooses():
    """Two paths of one symbol are likelier together than the likeliest path, of blanks."""
    log_probabilities = np.log([[[0.6, 0.4], [0.6, 0.4]]])
    greedy = decode(QUICK, log_probabilities, np.array([2]))
    assert greedy[0].tolist() == [[0, 0]] and greedy[1][0] == pytest.approx(np.log(0.36))
    wide = decode(dataclasses.replace(QUICK, beam_size=4), log_probabilities, np.array([2]))
    assert wide[0].tolist() == [[1, 0]] and wide[1][0] == pytest.approx(np.log(0.64))
