"""Whether a cell became slower: a rank test over the seeds of two sets of runs.

Runs of a cell differ by their seed alone, and by a lot: one pair of runs says nothing.  The test is
Gehan's generalised Wilcoxon test (Biometrika 52, 1965), which without censored runs is Wilcoxon's
rank sum: each pair of a new and an old run votes for the faster one, and the votes' sum is held
against those of every other way to deal the runs into two sets.  A run that never reached its
target is censored: all that is known is that it takes longer than it had, so it loses to runs that
were over before, and nobody knows of the others.
"""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from common.errors import UserError

LEVEL = 0.05         # of error: a difference that is none is seen as often
POWER = 0.8          # with as many runs as are named, one that is as large is seen as often
ALL_DEALS = 200_000  # all ways to deal the runs are tried where there are no more: 10 and 10
SOME_DEALS = 20_000  # of more, so many at random, always the same ones


@dataclass(frozen=True)
class Verdict:
    """words: slower, faster or not told apart.  p: of the test.

    share: of the pairs of runs in which the new one is slower; a tie and what nobody knows: half.
    needed: runs in each set that it would take to tell them apart; None: no number would.
    """

    words: str
    p: float
    share: float
    needed: int | None


def compare(old, new):
    """The Verdict on two sets of runs: [(seconds, whether it reached its target)], none empty.

    Raises UserError where scipy is missing.
    """
    try:
        from scipy.stats import permutation_test  # nothing else here needs it
    except ImportError:
        raise UserError("--against: scipy is missing here. Say common/in_report.sh in place of "
                        "python.") from None
    share = float(0.5 + votes(new, old).mean() / 2)
    p = 1.0  # one run is no set
    if min(len(old), len(new)) > 1:
        scores = votes([*new, *old], [*new, *old]).sum(axis=1, dtype=float)
        every = math.comb(len(scores), len(new)) <= ALL_DEALS
        p = float(permutation_test(
            (scores[:len(new)], scores[len(new):]), lambda x, y, axis: x.sum(axis), vectorized=True,
            n_resamples=ALL_DEALS if every else SOME_DEALS, batch=max(1, 10**7 // len(scores)),
            rng=np.random.default_rng(0),
        ).pvalue)  # fmt: skip
    words = "not told apart"
    if p <= LEVEL:
        words = "slower" if share > 0.5 else "faster"
    return Verdict(words, p, share, needed_runs(share))


def votes(runs, others):
    """int8 [runs, others]: 1 where a run certainly takes longer than another, -1 where it is over
    sooner, 0 where nobody knows.
    """
    seconds, reached = (np.array(column)[:, None] for column in zip(*runs))
    other_seconds, other_reached = map(np.array, zip(*others))
    longer = other_reached & ((seconds > other_seconds) | ~reached & (seconds == other_seconds))
    sooner = reached & ((seconds < other_seconds) | ~other_reached & (seconds == other_seconds))
    return longer.astype(np.int8) - sooner.astype(np.int8)


def needed_runs(share):
    """Runs in each of two sets that tell them apart, if the new run is the slower one in such a
    share of the pairs; None: no number does.  Noether 1987, J. Am. Stat. Assoc. 82.
    """
    effect = abs(share - 0.5)
    if not effect:
        return None
    normal = statistics.NormalDist()
    spread = normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)
    return max(fewest(), math.ceil(spread**2 / (6 * effect**2)))


def fewest():
    """Runs in each of two sets of which the clearest difference is seen: it is one of all the ways
    to deal them, and the opposite one counts too.
    """
    runs = 2
    while 2 / math.comb(2 * runs, runs) > LEVEL:
        runs += 1
    return runs


def told(verdict, old, new):
    """The words of a comparison: medians, numbers of runs, the test, and how many it would take."""
    before, after = median(old), median(new)
    text = f"{verdict.words}: {shown(after)} of {counted(new)}, before {shown(before)} of "
    text += counted(old)
    if math.isfinite(before) and math.isfinite(after) and before:
        text += f" (x {after / before:.2f})"
    text += f", p {verdict.p:.2g}"
    missed = [sum(not reached for _, reached in runs) for runs in (new, old)]
    if any(missed):
        text += f"; missed the target: {missed[0]}, before {missed[1]}"
    if verdict.words == "not told apart":
        text += ("; no number of such runs tells them apart" if verdict.needed is None else
                 f"; so large a difference takes {verdict.needed} runs on each side")
    return text


def median(runs):
    """Seconds to the target of the middle run; inf where that one never reached it."""
    return statistics.median(seconds if reached else math.inf for seconds, reached in runs)


def shown(seconds):
    """Seconds as a cell."""
    return f"{seconds:.1f} s" if math.isfinite(seconds) else "no target reached"


def counted(runs):
    """How many runs, in words."""
    return f"{len(runs)} run{'s' * (len(runs) > 1)}"
