"""DeepBench's rows as problems: their FLOPs are those of its sheets; a step's rows lose nothing."""

import numpy as np
import pytest

from common import benchmark
from common.kernels import Gemm, Recurrent
from kernels import lists

DEEPBENCH = lists.deepbench()


def of(name, direction="forward"):
    return [row for row in DEEPBENCH
            if row.layers[0].startswith(name) and row.direction == direction]


# GFLOP of its training sheets' derived columns: the sum of all rows, and some of them by number.
SHEETS = {
    "gemm training": (26706.34, {1: 0.09912, 5: 43.37, 41: 44.19, 46: 1.042, 57: 239.4,
                                 61: 0.6291, 160: 0.03355}),
    "convolution training": (562.53, {1: 0.6896, 2: 1.379, 94: 1.644}),
    "recurrent training": (13727.46, {1: 4.956, 2: 9.912, 53: 604.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHEETS)
def test_flops_are_those_of_the_sheet(name):
    total, some = SHEETS[name]
    found = [row.problem.flops("forward") / 1e9 for row in of(name)]
    assert sum(found) == pytest.approx(total, rel=1e-4)  # the sheet has four digits
    for number, expected in some.items():
        assert found[number - 1] == pytest.approx(expected, rel=6e-4)


def test_a_product_by_columns_is_the_same_memory_by_rows():
    """Each pair of transposes: what BLAS computes by columns, our reading gives in that memory."""
    rng = np.random.default_rng(0)
    m, n, k = 2, 3, 4
    for a, b in ("NN", "TN", "NT", "TT"):
        problem = lists._gemm({"m": m, "n": n, "k": k, "a": a, "b": b})
        first = rng.standard_normal((m, k) if a == "N" else (k, m))
        second = rng.standard_normal((k, n) if b == "N" else (n, k))
        expected = (first if a == "N" else first.T) @ (second if b == "N" else second.T)
        memory = {"A": second.ravel("F"), "B": first.ravel("F")}
        own_a = memory["A"].reshape((problem.k, problem.m) if problem.transpose_a
                                    else (problem.m, problem.k))
        own_b = memory["B"].reshape((problem.n, problem.k) if problem.transpose_b
                                    else (problem.k, problem.n))
        own = (own_a.T if problem.transpose_a else own_a) @ (
            own_b.T if problem.transpose_b else own_b)
        np.testing.assert_allclose(own.ravel(), expected.ravel("F"))


def test_semantics_are_deepbenchs():
    assert all(row.problem.accumulates for row in of("gemm") + of("sparse"))
    cells = [row.problem for row in of("recurrent")]
    assert all(not cell.projects and cell.inputs == cell.hidden for cell in cells)
    assert {(cell.cell, cell.relu) for cell in cells} == {
        ("vanilla", True), ("gru", True), ("lstm", False)}
    assert isinstance(cells[0], Recurrent) and isinstance(of("sparse")[0].problem, Gemm)


def test_training_has_its_gradients_and_inference_none():
    counts = {name: [len(of(name, direction))
                     for direction in ("forward", "inputs", "weights", "backward")]
              for name in ("convolution training", "convolution server", "recurrent training",
                           "recurrent device", "gemm training", "sparse", "all_reduce")}
    assert counts == {
        "convolution training": [94, 94, 94, 0], "convolution server": [107, 0, 0, 0],
        "recurrent training": [53, 0, 0, 53], "recurrent device": [3, 0, 0, 0],
        "gemm training": [160, 0, 0, 0], "sparse": [32, 0, 0, 0], "all_reduce": [7, 0, 0, 0]}


def test_each_row_says_whether_it_compares():
    sparse = of("sparse server")
    assert sparse[0].correction == "" and "7860" in sparse[1].correction
    assert sparse[0].differs and not of("gemm training")[0].differs
    assert of("recurrent training", "backward")[0].differs
    assert not of("recurrent training")[0].differs


@pytest.mark.parametrize("application", lists.applications())
def test_rows_of_a_step_are_its_uses_each_once(application):
    config = benchmark.module(application, "config").REFERENCE
    uses = benchmark.module(application, "kernels").problems(config)
    rows = lists.application(application, config)
    assert len({(row.problem, row.direction) for row in rows}) == len(rows) <= len(uses)
    assert sum(row.count for row in rows) == sum(use.count for use in uses)
    assert sum(row.count * row.problem.flops(row.direction) for row in rows) == sum(
        use.count * use.problem.flops(use.direction) for use in uses)
    assert {name for row in rows for name in row.layers} == {use.layer for use in uses}


def test_kinds_are_all_that_lists_hold():
    assert {row.problem.kind for row in DEEPBENCH} < set(lists.kinds())
    assert len(lists.kinds()) == 16
