"""One tensor against another by hand: how far apart, and why it cannot be compared."""

import numpy as np
import pytest

from common.parity.compare import difference, row

EXPECTED = np.array([[3.0, 0.0], [4.0, 0.0]])  # of norm 5
NOT_FINITE = np.array([[3.0, np.nan], [4.0, np.inf]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("expected", "found", "gap"),
    [
        (EXPECTED, EXPECTED, 0.0),
        (EXPECTED, EXPECTED + [[0.0, 0.5], [0.0, 0.0]], 0.1),
        (EXPECTED, np.zeros((2, 2)), 1.0),
        (np.zeros(2), np.array([0.3, 0.4]), 0.5),  # nothing to divide by
        (np.zeros(2), np.zeros(2), 0.0),
        (np.float32(2.0), np.float64(1.0), 0.5),  # a scalar
        (EXPECTED, EXPECTED[0], np.inf),
        (EXPECTED, NOT_FINITE, np.inf),
        (NOT_FINITE, NOT_FINITE, np.inf),  # equal, and yet nothing is proved
        (EXPECTED, np.full((2, 2), 1e200), np.inf),  # its square is not finite
        (np.array([True, False]), np.array([True, True]), 1.0),
        (np.zeros((0, 3)), np.zeros((0, 3)), 0.0),
    ],
)
def test_difference(expected, found, gap):
    assert difference(np.asarray(expected), np.asarray(found)) == pytest.approx(gap)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "missing"),
        (EXPECTED[:1], "shape [1, 2], expected [2, 2]"),
        (NOT_FINITE, "2 elements are not finite, the first at [0, 1]"),
        (EXPECTED.T, "agrees if transposed"),
        (np.array([[3, 0], [5, 0]]), "dtype int64, expected float64"),
        (2.0 * EXPECTED, ""),
    ],
)
def test_reasons(found, reason):
    verdict = row("step_0000", "gradient/stem.weight", EXPECTED, found, 0.01)
    assert verdict.beyond
    assert verdict.reason == reason
    assert (verdict.dump, verdict.name) == ("step_0000", "gradient/stem.weight")


def test_a_tensor_of_another_shape_that_is_the_transposed_one():
    wide = np.array([[3.0, 0.0, 4.0]])
    assert row("initial", "x", wide, wide.T, 0.1).reason == (
        "shape [3, 1], expected [1, 3]; agrees if transposed"
    )


def test_within_the_tolerance_there_is_no_reason():
    near = row("initial", "loss", EXPECTED, EXPECTED + [[0.0, 0.5], [0.0, 0.0]], 0.1000001)
    assert not near.beyond
    assert not near.reason
    assert row("initial", "loss", EXPECTED, np.array([[3, 0], [4, 0]]), 0.0).reason == ""
