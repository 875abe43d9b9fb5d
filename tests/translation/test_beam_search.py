"""Beam search against every sentence there is, greedy search, and its rules for ends."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from translation.beam_search import END, beam_search, length_penalty

VOCABULARY = 4  # 0 no piece, 1 the end, 2 and 3


def language(seed, spread=2.0):
    """log p(next piece | pieces so far), drawn for each sentence and each beginning."""

    def log_probabilities(sentence, pieces):
        rng = np.random.default_rng([seed, sentence, *pieces])
        logits = spread * rng.standard_normal(VOCABULARY)
        return logits - np.log(np.exp(logits).sum())

    return log_probabilities


def extender(log_probabilities, calls):
    """What a framework does in beam_search, with the beams' pieces kept in lists."""
    beams = None

    def extend(pieces, parents, scores):
        nonlocal beams
        count, width = pieces.shape
        calls.append(pieces.copy())
        if beams is None:
            assert not pieces.any()
            beams = [[() for _ in range(width)] for _ in range(count)]
        else:
            beams = [[(*beams[b][parents[b, k]], int(pieces[b, k])) for k in range(width)]
                     for b in range(count)]
        found = []
        for b in range(count):
            ways = np.array([log_probabilities(b, beams[b][k]) + scores[b, k]
                             for k in range(width)])
            best = np.argsort(-ways.ravel(), kind="stable")[: 2 * width]
            found.append((ways.ravel()[best], best // VOCABULARY, best % VOCABULARY))
        return [np.stack(part) for part in zip(*found)]

    return extend


def sentences(limit):
    """Every sentence that ends within `limit` pieces."""
    others = [piece for piece in range(VOCABULARY) if piece != END]
    for length in range(limit):
        for beginning in itertools.product(others, repeat=length):
            yield (*beginning, END)


def score(log_probabilities, number, sentence, alpha):
    total = sum(log_probabilities(number, sentence[:place])[piece]
                for place, piece in enumerate(sentence))
    return total / length_penalty(len(sentence), alpha)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_wide_beam_finds_the_best_of_all_sentences(seed, alpha):
    """So wide that nothing falls off: 3^4 beginnings of four pieces, none of them the end."""
    limit, num_sentences = 5, 3
    ways = language(seed)
    found, scores = beam_search(extender(ways, []), num_sentences, 81, alpha, limit)
    for number in range(num_sentences):
        ranked = sorted(sentences(limit), key=lambda s: -score(ways, number, s, alpha))
        expected = np.zeros(limit, int)
        expected[: len(ranked[0])] = ranked[0]
        assert found[number].tolist() == expected.tolist()
        assert np.isclose(scores[number], score(ways, number, ranked[0], alpha), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 7))
def test_score_is_the_sentences_own(seed, width, limit):
    ways = language(seed)
    found, scores = beam_search(extender(ways, []), 2, width, 0.6, limit)
    for number in range(2):
        pieces = found[number].tolist()
        if END in pieces:
            sentence = tuple(pieces[: pieces.index(END) + 1])
            assert not any(pieces[len(sentence):])
            assert np.isclose(scores[number], score(ways, number, sentence, 0.6))
        else:  # none ended in time: the likeliest beam, by its log-probability
            assert np.isclose(scores[number], score(ways, number, tuple(pieces), 0.0)
                              * length_penalty(limit, 0.0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_sentence_does_not_depend_on_its_batch(seed):
    """Sentences that are done wait for the others, and nothing can change them any more."""
    ways = language(seed)
    together, scores = beam_search(extender(ways, []), 4, 3, 0.6, 6)
    for number in range(4):
        alone, alone_scores = beam_search(
            extender(lambda _, pieces, number=number: ways(number, pieces), []), 1, 3, 0.6, 6
        )
        assert alone[0].tolist() == together[number].tolist()
        assert alone_scores[0] == scores[number]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_one_beam_is_greedy_as_long_as_the_end_is_not_second(seed):
    """With K = 1 two ways on are looked at, so that a sentence can end and still go on."""
    ways = language(seed, spread=6.0)
    found, _ = beam_search(extender(ways, []), 1, 1, 0.0, 6)
    pieces, greedy, seconds = (), [], []
    while len(greedy) < 6 and END not in greedy:
        order = np.argsort(-ways(0, pieces), kind="stable")
        greedy.append(int(order[0]))
        seconds.append(int(order[1]))
        pieces += (greedy[-1],)
    if END not in seconds:
        assert found[0][: len(greedy)].tolist() == greedy


def test_stops_when_no_beam_can_become_better():
    """The end is all but certain at once: further pieces are not asked for."""
    certain = np.log([0.0005, 0.998, 0.001, 0.0005])
    calls = []
    found, _ = beam_search(extender(lambda *_: certain, calls), 2, 2, 0.6, 50)
    assert found[:, 0].tolist() == [END, END]
    assert len(calls) < 6


def test_without_an_end_the_likeliest_beam_counts():
    never = np.log([1e-30, 1e-300, 0.6, 0.4])
    found, scores = beam_search(extender(lambda *_: never, []), 1, 2, 0.6, 5)
    # The end comes last of all: among 2 K = 4 ways from one beam, so it is seen, and is far worse.
    assert found[0].tolist() in ([2] * 5, [END, 0, 0, 0, 0])
    assert np.isfinite(scores[0])


def test_length_penalty_is_the_papers():
    """Wu et al. 2016, eq. 14."""
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(7, 1.0) == 2.0
    assert length_penalty(30, 0.0) == 1.0
