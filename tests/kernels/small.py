"""A small problem of every kind and every variant of it that lists hold."""

from common.kernels import (
    CHAINS,
    UPDATES,
    AllReduce,
    Attention,
    BatchNorm,
    Convolution,
    Ctc,
    Elementwise,
    EmbeddingLookup,
    Gemm,
    LayerNorm,
    OptimizerUpdate,
    Pooling,
    Recurrent,
    RoiAlign,
    SoftmaxCrossEntropy,
    Suppression,
    TopK,
)

PROBLEMS = (
    *(Gemm(5, 6, 7, a, b, 2) for a in (False, True) for b in (False, True)),
    Gemm(5, 6, 7, accumulates=True),
    Gemm(40, 50, 60, True, False, accumulates=True),
    Gemm(30, 40, 50, accumulates=True, sparsity=0.9),
    Convolution(3, 4, 9, 8, 5, 3, 2, 2, 1, 1, 0),
    Convolution(2, 3, 7, 7, 4, 1, 1, 2, 2, 3, 3),    # wider padding than its kernel, as DeepBench's
    Convolution(2, 3, 1, 12, 4, 1, 3, dimensions=1),
    *(Recurrent(cell, 5, 4, 6, 3, both) for cell in ("vanilla", "gru", "lstm")
      for both in (False, True)),
    *(Recurrent(cell, 5, 5, 11, 3, projects=False, relu=cell != "lstm")
      for cell in ("vanilla", "gru", "lstm")),
    Recurrent("gru", 5, 4, 12, 3, True),             # longer than what is checked of a large one
    Attention(2, 3, 5, 5, 4, causal=True),
    Attention(2, 3, 5, 7, 4, masked=True),
    Attention(2, 3, 5, 5, 4, masked=True, dropout=0.1),
    EmbeddingLookup(11, 3, 40),
    SoftmaxCrossEntropy(20, 7),
    SoftmaxCrossEntropy(20, 7, smoothed=True),
    Ctc(3, 12, 6, 4),
    BatchNorm(4, 3, 5, 2),
    BatchNorm(9, 4),
    LayerNorm(6, 8),
    Pooling(2, 3, 9, 9, 3, 3, 2, 2, 1, 1),
    Pooling(2, 3, 8, 8, 3, 3, 2, 2, 0, 1),
    Pooling(2, 3, 1, 12, 1, 4, 1, 4),
    Pooling(2, 3, 5, 5, 5, 5, 5, 5, greatest=False),
    RoiAlign(2, 3, ((8, 9), (4, 5)), 4, 3),
    Suppression(2, 30, 0.3),
    TopK(3, 20, 4),
    TopK(3, 20, 20),
    *(Elementwise(name, 500) for name in CHAINS),
    *(OptimizerUpdate(method, (6, 300, 1)) for method in UPDATES),
    AllReduce(100),
)  # fmt: skip
CASES = [(problem, direction) for problem in PROBLEMS for direction in problem.directions]


def name_of(case):
    """Of a pair in CASES, for pytest."""
    problem, direction = case
    return f"{problem.kind}, {problem.words()}, {direction}"
