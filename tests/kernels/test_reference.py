"""The reference values: gradients are those of what forward gives, and parts are parts."""

from dataclasses import replace

import numpy as np
import pytest

from common.kernels import CHAINS, Ctc, SoftmaxCrossEntropy
from kernels import lists, values
from tests.kernels.small import CASES, PROBLEMS, name_of

GRADIENTS = [case for case in CASES if case[1] != "forward"]


def arrays_of(problem, direction):
    found = values.inputs(problem, direction)
    if getattr(problem, "name", "") == "dropout" and direction == "forward":
        found["mask"] = np.random.default_rng(1).random(problem.size) >= values.DROPOUT
    return found


def test_every_kind_is_here():
    assert {problem.kind for problem in PROBLEMS} == set(lists.kinds()) == set(values.KINDS)
    assert set(values.CHAINS) == set(CHAINS)


@pytest.mark.parametrize("case", GRADIENTS, ids=name_of)
def test_gradients_are_slopes(case):
    """Along a random line through each input: a difference quotient of sum(forward g)."""
    problem, direction = case
    arrays = values._wide(arrays_of(problem, direction))
    gradients = values.values(problem, direction, arrays)
    whole = values._wide(arrays_of(problem, "forward")) | arrays
    if "bias" in gradients:
        whole["bias"] = np.zeros_like(gradients["bias"])
    rng = np.random.default_rng(2)

    def height(name, line, at):
        moved = whole | {name: whole[name] + at * line}
        (found,) = values.values(problem, "forward", moved).values()
        return np.sum(found * whole.get("g", 1.0))

    for name, gradient in gradients.items():
        assert gradient.shape == whole[name].shape
        line = rng.standard_normal(gradient.shape)
        slope = (height(name, line, 1e-6) - height(name, line, -1e-6)) / 2e-6
        assert np.sum(gradient * line) == pytest.approx(slope, rel=2e-4, abs=2e-4), name


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_parts_are_parts(case):
    problem, direction = case
    arrays = values.check_inputs(problem, direction, arrays_of(problem, direction))
    whole = values.values(problem, direction, arrays)
    for seed in range(3):
        small, own, pick = values.part(problem, direction, arrays, seed)
        expected = values.values(small, direction, own)
        assert values.gap(pick(whole), expected) < 1e-12
        assert values.gap({n: 1.01 * array for n, array in pick(whole).items()}, expected) > 1e-3


def test_sums_by_hand():
    """A path of one label in two steps: a-, -a, aa."""
    logits = np.log(np.array([[[0.5, 0.5]], [[0.25, 0.75]]]))
    found = values.values(Ctc(1, 2, 2, 1), "forward", {"logits": logits, "labels": np.array([[1]])})
    assert np.exp(-found["losses"][0]) == pytest.approx(0.5 * 0.25 + 0.5 * 0.75 + 0.5 * 0.75)
    problem = SoftmaxCrossEntropy(1, 2)
    found = values.values(problem, "forward", {"logits": logits[1], "labels": np.array([1])})
    assert found["losses"][0] == pytest.approx(-np.log(0.75))
    smoothed = values.values(replace(problem, smoothed=True), "forward",
                             {"logits": logits[1], "labels": np.array([1])})
    expected = -0.95 * np.log(0.75) - 0.05 * np.log(0.25)
    assert smoothed["losses"][0] == pytest.approx(expected)


def test_a_gap_is_seen():
    expected = {"y": np.array([3.0, 4.0])}  # their root mean square is 3.54
    assert values.gap({"y": np.array([3.0, 4.5])}, expected) == pytest.approx(0.5 / 12.5**0.5)
    for wrong in ({"y": np.array([3.0, np.nan])}, {"y": np.array([3.0])}, {"x": expected["y"]}):
        assert values.gap(wrong, expected) == np.inf
    assert values.gap({"y": np.zeros(2)}, {"y": np.zeros(2)}) == 0.0
    assert values.gap({"y": np.array([0.0, 1e-9])}, {"y": np.zeros(2)}) == np.inf
