"""Every kind of problem in each framework: the values are those of numpy, at a small size."""

import pytest

from kernels import measured, values
from tests.kernels.small import CASES, name_of

# Of the root mean square of an array; float32 has 1e-7 for each number, and sums of some hundred.
# CTC adds logarithms of sums, step after step.
TOLERANCE, CTC = 1e-5, 5e-5


def lacks(framework, problem):
    """What a framework has no kernel of, and one process none."""
    sparse = getattr(problem, "sparsity", 0.0) > 0.0
    return problem.kind == "all_reduce" or (framework.endswith("paddlepaddle") and sparse)


LAYOUTS = [(case, by_channels) for case in CASES for by_channels in (True, False)
           if by_channels or case[0].kind in ("convolution", "batch_norm", "pooling")]


@pytest.mark.parametrize(("case", "by_channels"), LAYOUTS,
                         ids=[f"{name_of(case)}, {'NHWC' * (not own)}" for case, own in LAYOUTS])
def test_values_are_numpys(framework, operations, case, by_channels):
    problem, direction = case
    reason = operations.missing(problem, direction, "fp32")
    assert bool(reason) == lacks(framework.__name__, problem), reason
    if reason:
        return
    problem = values.checked(problem)
    arrays = values.inputs(problem, direction)
    run = operations.make(problem, direction, operations.put(arrays, "fp32"), by_channels)
    # What an optimizer or a product changes in place is numpy's own memory too.
    arrays = values.inputs(problem, direction)
    found = operations.read(problem, run())
    expected = values.values(problem, direction, values.drawn(arrays, found))
    assert values.gap(values.without_draws(found), expected) < (
        CTC if problem.kind == "ctc" else TOLERANCE)


ROUNDED = ("gemm", "convolution", "recurrent", "attention")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("case", [case for case in CASES if case[0].kind in ROUNDED], ids=name_of)
def test_rounded_numbers_are_checked_as_such(framework, operations, case, precision):
    """numpy computes with the inputs as they were rounded."""
    problem, direction = case
    if operations.missing(problem, direction, precision):
        return
    setting = measured.Setting(operations, framework, "cpu", precision)
    arrays = values.inputs(problem, direction)
    difference, _ = measured.check(problem, direction, arrays, setting, True)
    assert 1e-6 < difference < measured.TOLERANCES[precision] / 2
