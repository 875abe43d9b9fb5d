"""The lists of problems that kernels are timed on: each application's step, and DeepBench's.

DeepBench, https://github.com/baidu-research/DeepBench, names its sizes as BLAS does, by columns:
C [M, N] = op(A) [M, K] op(B) [K, N] + C.  Ours lie by rows.  The same memory read by rows is the
transpose, so that same call is C^T [N, M] = op(B)^T [N, K] op(A)^T [K, M] + C^T: m is their N, n
their M; A is their B, B their A, and each keeps whether it is transposed.  Only a sparse A stays
A, for the other side is dense either way.
"""

import csv
import os
import pathlib
from dataclasses import dataclass

from common import benchmark, kernels
from common.kernels import FORWARD, AllReduce, Convolution, Gemm, Recurrent

FOLDER = pathlib.Path(__file__).parent / "deepbench"
DEEPBENCH = "deepbench"
LISTS = {"gemm": ("training", "server", "device"), "convolution": ("training", "server", "device"),
         "recurrent": ("training", "server", "device"), "sparse": ("server", "device"),
         "all_reduce": ("training",)}  # fmt: skip
# What keeps a row from being read beside DeepBench's own, which is exact in sizes and in sums.
DIFFERS = {
    ("recurrent", "backward"): "the gradients of inputs and of weights in one, DeepBench's in two",
    ("sparse", "forward"): "dense arrays lie by rows, DeepBench's by columns",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one line of a table times."""

    suite: str           # an application, or deepbench
    problem: object      # of common.kernels
    direction: str
    count: int           # how often one step of the application runs it; 0 of no step
    layers: tuple[str, ...]  # where; of DeepBench, its list and number and what it is of
    differs: str = ""    # from DeepBench's own row: why the two do not compare
    correction: str = ""  # of DeepBench's own list


def applications():
    """The names of those that have a list."""
    return tuple(name for name, folder in benchmark.applications().items()
                 if os.path.exists(os.path.join(folder, "kernels.py")))


def application(name, config, sizes=None):
    """[Row] of a step of an application, equal kernels in one row, in the order of the step.

    sizes: of a batch, as the application's kernels.py has them; None: of the reference's.
    """
    uses = benchmark.module(name, "kernels").problems(config, sizes)
    grouped = {}
    for use in uses:
        grouped.setdefault((use.problem, use.direction), []).append(use)
    return [Row(name, problem, direction, sum(use.count for use in own),
                tuple(dict.fromkeys(use.layer for use in own)))
            for (problem, direction), own in grouped.items()]


def deepbench():
    """[Row] of DeepBench's lists, all of them, in its order.  Inference has no gradients."""
    found = []
    for file, names in LISTS.items():
        entries = read(file)
        for name in names:
            for entry in entries:
                if entry["list"] == name:
                    found += _rows(file, name, entry)
    return found


def read(file):
    """[{column: text}] of a file of DeepBench's."""
    with open(FOLDER / f"{file}.csv", encoding="utf-8") as opened:
        return list(csv.DictReader(line for line in opened if not line.startswith("#")))


def _rows(file, name, entry):
    problem = PROBLEMS[file](entry)
    directions = problem.directions if name == "training" else (FORWARD,)
    words = f"{file} {name} {entry['number']}"
    layers = (words, entry["label"]) if entry.get("label") else (words,)
    return [Row(DEEPBENCH, problem, direction, 0, layers, DIFFERS.get((file, direction), ""),
                entry["correction"]) for direction in directions]


def _gemm(entry):
    return Gemm(int(entry["n"]), int(entry["m"]), int(entry["k"]), entry["b"] == "T",
                entry["a"] == "T", accumulates=True)


def _convolution(entry):
    number = {name: int(text) for name, text in entry.items() if text.isdecimal()}
    return Convolution(number["batch"], number["channels"], number["height"], number["width"],
                       number["filters"], number["filter_height"], number["filter_width"],
                       number["stride_height"], number["stride_width"], number["pad_height"],
                       number["pad_width"])


def _recurrent(entry):
    hidden, cell = int(entry["hidden"]), entry["cell"]
    # Its README: vanilla cells have a ReLU, and so has the GRU; the LSTM is the usual one.
    return Recurrent(cell, hidden, hidden, int(entry["steps"]), int(entry["batch"]),
                     projects=False, relu=cell != "lstm")


def _sparse(entry):
    return Gemm(int(entry["m"]), int(entry["n"]), int(entry["k"]), accumulates=True,
                sparsity=float(entry["sparsity"]))


def _all_reduce(entry):
    return AllReduce(int(entry["floats"]))


PROBLEMS = {"gemm": _gemm, "convolution": _convolution, "recurrent": _recurrent,
            "sparse": _sparse, "all_reduce": _all_reduce}  # fmt: skip


def kinds():
    """The names of all kinds of problems, in their order."""
    return tuple(one.kind for one in vars(kernels).values()
                 if isinstance(one, type) and hasattr(one, "kind"))
