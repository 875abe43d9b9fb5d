"""Decoding: beam search, its bookkeeping in numpy, once for all frameworks.

Wu et al. 2016, sec. 7, with the length penalty of eq. 14, as in the reference's beam_search.py.  A
framework extends all beams of all sentences by a piece at once; Python runs once a piece, not once
a sentence.  B sentences, K beams, L pieces at most.
"""

import numpy as np

END = 1  # the piece that ends a sentence


def length_penalty(length, alpha):
    """What a sentence's log-probability is divided by.  length: its pieces, the end included."""
    return ((5.0 + length) / 6.0) ** alpha


def decode(config, framework, sources, start, extend):
    """Translations, int64 [B, L], zeros after the end, and their scores, float [B].

    framework: an adapter.  sources: int32 [B, S].  start(sources) -> memories, mask, past and
    extend(beams, memories, mask, past) -> best ways on, past: a Trainer's, on its device.
    """
    num_sentences, length = sources.shape
    num_beams = config.beam_size
    memories, mask, past = start(framework.put({"sources": sources})["sources"])
    first_beams = np.arange(num_sentences)[:, None] * num_beams

    def extend_all(pieces, parents, scores):
        nonlocal past
        beams = framework.put({
            "pieces": pieces.astype(np.int32),
            "parents": (first_beams + parents).ravel(),  # counted over the batch
            "scores": scores,
        })  # fmt: skip
        best, past = extend(beams, memories, mask, past)
        return [framework.get(tensor) for tensor in best]

    limit = length + config.extra_decode_length
    return beam_search(extend_all, num_sentences, num_beams, config.alpha, limit)


def beam_search(extend, num_sentences, beam_size, alpha, limit):
    """The likeliest sentences: int64 [B, L], zeros after the end, and their scores, float [B].

    extend(pieces, parents, scores): each beam takes up `pieces` [B, K], its last piece (0 at the
    start), as what follows beam `parents` [B, K] of the call before; `scores` [B, K] are the beams'
    log-probabilities.  Returns the best 2 K of the K V ways on, best first: their scores, the beams
    that they follow and their pieces, each [B, 2 K].  With 2 K of them, K go on when K end.

    Stops after L pieces, or when no beam of any sentence can become better than its worst that has
    ended.  Where none has ended by then, the best beam counts, and its log-probability.
    """
    rows = np.arange(num_sentences)[:, None]
    alive = np.zeros((num_sentences, beam_size, limit), np.int64)
    alive_scores = np.full((num_sentences, beam_size), -np.inf)
    alive_scores[:, 0] = 0.0  # the beams are equal at the start: one of them may go on
    ended = np.zeros_like(alive)
    ended_scores = np.full_like(alive_scores, -np.inf)
    pieces = np.zeros((num_sentences, beam_size), np.int64)
    parents = np.tile(np.arange(beam_size), (num_sentences, 1))
    for length in range(1, limit + 1):
        scores, followed, pieces = extend(pieces, parents, alive_scores)
        longer = alive[rows, followed]  # [B, 2 K, L]
        longer[:, :, length - 1] = pieces
        ends = pieces == END

        ending_scores = np.where(ends, scores / length_penalty(length, alpha), -np.inf)
        all_scores = np.concatenate([ended_scores, ending_scores], axis=1)  # [B, 3 K]
        best = best_places(all_scores, beam_size)
        ended = np.concatenate([ended, longer], axis=1)[rows, best]
        ended_scores = all_scores[rows, best]

        going_scores = np.where(ends, -np.inf, scores)
        best = best_places(going_scores, beam_size)
        alive, alive_scores = longer[rows, best], going_scores[rows, best]
        parents, pieces = followed[rows, best], pieces[rows, best]

        reachable = alive_scores.max(axis=1) / length_penalty(limit, alpha)
        worst = np.where(np.isfinite(ended_scores), ended_scores, np.inf).min(axis=1)
        if np.all(np.isfinite(ended_scores[:, 0]) & (worst > reachable)):
            break
    any_ended = np.isfinite(ended_scores[:, 0])
    sentences = np.where(any_ended[:, None], ended[:, 0], alive[:, 0])
    return sentences, np.where(any_ended, ended_scores[:, 0], alive_scores[:, 0])


def best_places(scores, count):
    """int64 [B, count]: where the highest scores of each row lie, best first; of equals the first.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]
