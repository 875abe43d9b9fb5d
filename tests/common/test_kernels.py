"""The kernels of each application's step: their owners, and what a framework really runs."""

import collections
import dataclasses

import numpy as np
import pytest

from common import benchmark, kernels
from common.kernels import (
    Attention,
    Convolution,
    Gemm,
    Recurrent,
)
from tests import trainers
from tests.cells import APPLICATIONS

LISTED = tuple(name for name in APPLICATIONS if name != "reinforcement")
# Uses of a trained weight in a step, forward; of all others 1.
SHARED = {
    "translation": lambda config, name: 3 if name == "embedding.weight" else 1,
    "object_detection": lambda config, name: len(config.strides) if name.startswith("rpn.") else 1,
}
# Fields that make a step short, and keep every kind of it.
SHORT = {
    "image_classification": {"batch_size": 4},
    "object_detection": {"batch_size": 2},
    "speech_recognition": {"batch_size": 3},
    "translation": {"batch_tokens": 256, "num_layers": 2, "dropout": 0.1},
    "recommendation": {"batch_size": 64},
    "sentiment_analysis": {"batch_size": 4},
}


def test_flops_by_hand():
    assert Gemm(2, 3, 5).flops("forward") == 60
    assert Gemm(2, 3, 10, batch=4, sparsity=0.9).flops("forward") == 48
    assert Gemm(2, 3, 5, accumulates=True).bytes("forward", 4) == 4 * (10 + 15 + 12)
    # DeepBench's training table, rows 1 and 35 of its recurrent set, row 55 of convolutions.
    vanilla = Recurrent("vanilla", 1760, 1760, 50, 16, projects=False)
    assert vanilla.flops("forward") == pytest.approx(4.956e9, rel=1e-4)
    gru = Recurrent("gru", 2816, 2816, 1500, 32, projects=False)
    assert gru.flops("forward") == pytest.approx(2284e9, rel=1e-4)
    speaker = Convolution(16, 1, 161, 700, 64, 5, 5, 2, 2, 1, 1)
    assert (speaker.output_width(), speaker.output_height()) == (349, 80)
    assert speaker.flops("weights") == pytest.approx(1.43e9, rel=1e-3)
    assert Attention(1, 2, 3, 4, 5).flops("backward") == 2 * Attention(1, 2, 3, 4, 5).flops(
        "forward") == 2 * 2 * (2 * 2 * 3 * 4 * 5)


@pytest.mark.parametrize("profile", ["QUICK", "REFERENCE"])
@pytest.mark.parametrize("application", LISTED)
def test_each_trained_weight_has_one_owner(application, profile):
    config = getattr(benchmark.module(application, "config"), profile)
    if profile == "QUICK":  # its counts, from its data
        config = dataclasses.replace(config, application=application, seed=1)
        config, _ = benchmark.module(application, "parity").training(config, 1)
    uses = benchmark.module(application, "kernels").problems(config)
    trained = [n for n, one in benchmark.module(application, "parameters").specification(
        config).items() if one.trained]  # fmt: skip
    assert sorted(name for use in uses for name in use.owns) == sorted(trained)
    model = [use for use in uses if use.part != "update"]
    count = collections.Counter()
    for use in model:
        for name in use.owns + use.shares:
            count[name] += use.count
    expected = SHARED.get(application, lambda config, name: 1)
    assert count == {name: expected(config, name) for name in trained}
    update, = (use for use in uses if use.problem.kind == "optimizer")
    assert sorted(update.shares) == sorted(trained)
    assert all(use.direction in use.problem.directions for use in uses)
    assert all(use.problem.bytes(use.direction, 4) > 0 and use.problem.words() for use in uses)


def products_of(uses):
    """Counter of the products that a step's list asks for: see product, turned."""
    found = collections.Counter()
    for use in uses:
        one = use.problem
        if one.kind == "gemm":
            found[product(one.batch, one.m, one.n, one.k)] += use.count
        elif one.kind == "convolution":
            sizes = (one.batch, one.channels, one.height, one.width, one.filters,
                     one.kernel_height, one.kernel_width, one.stride_height, one.stride_width,
                     one.pad_height, one.pad_width)
            found["convolution", use.direction, *sizes] += use.count
        elif one.kind == "attention" and one.dropout:
            # With dropout PyTorch's kernel for the CPU is not there: it runs the parts.
            rows, (m, n, k) = one.batch * one.heads, (one.queries, one.keys, one.size)
            found[product(rows, m, n, k)] += use.count  # the scores, or the gradient of weights
            found[product(rows, m, k, n)] += use.count  # what is seen, or queries' gradient
            if use.direction == "backward":
                found[product(rows, n, k, m)] += 2 * use.count  # of keys and of values
        elif one.kind == "attention":
            found["attention", use.direction, one.batch, one.heads, one.queries, one.keys, one.size,
                  one.causal] += use.count
        elif one.kind == "recurrent":
            ways, gates = 1 + one.bidirectional, kernels.GATES[one.cell] * one.hidden
            rows = one.steps * one.batch
            if use.direction == "forward":
                found[product(ways, rows, gates, one.inputs)] += use.count
                found[product(ways, one.batch, gates, one.hidden)] += use.count * one.steps
            else:
                # The first step's state is zero and wants no gradient.
                found[product(ways, one.batch, one.hidden, gates)] += use.count * (one.steps - 1)
                found[product(ways, gates, one.hidden, rows)] += use.count
                found[product(ways, gates, one.inputs, rows)] += use.count
                found[product(ways, rows, one.inputs, gates)] += use.count
    return found


def product(batch, m, n, k):
    """A product's name, alike for its transpose."""
    return "gemm", batch, min(m, n), max(m, n), k


def short_step(application, framework):
    """(trainer, batch on the device, its list)."""
    config = dataclasses.replace(benchmark.module(application, "config").QUICK,
                                 application=application, seed=1, precision="fp32",
                                 **SHORT[application])  # fmt: skip
    config, (batch,) = benchmark.module(application, "parity").training(config, 1)
    trainer = trainers.started(application, framework, config)
    module = benchmark.module(application, "kernels")
    return trainer, batch, module.problems(config, module.batch_sizes(config, batch))


@pytest.mark.parametrize("application", LISTED)
def test_what_pytorch_runs_in_a_step_is_what_the_list_says(application, framework):
    """Every product of a step, with its sizes and its count; and FlopCounterMode's sum."""
    if not framework.__name__.endswith("pytorch"):
        pytest.skip("of PyTorch's dispatcher")
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    found = collections.Counter()

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            see(function.overloadpacket, arguments)
            return function(*arguments, **(named or {}))

    def see(packet, arguments):
        shapes = [tuple(a.shape) if isinstance(a, torch.Tensor) else a for a in arguments]
        if packet in (aten.addmm, aten.baddbmm):
            shapes = shapes[1:]
        if packet in (aten.mm, aten.addmm):
            (m, k), (_, n) = shapes[:2]
            found[product(1, m, n, k)] += 1
        elif packet in (aten.bmm, aten.baddbmm):
            (batch, m, k), (_, _, n) = shapes[:2]
            found[product(batch, m, n, k)] += 1
        elif packet is aten.convolution:
            convolve("forward", *shapes[:2], *shapes[3:5], shapes[6])
        elif packet is aten.convolution_backward:
            for direction, wanted in zip(("inputs", "weights"), shapes[10]):
                if wanted:
                    convolve(direction, *shapes[1:3], *shapes[4:6], shapes[7])
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu:
            attend("forward", *shapes[:2], shapes[4] if len(shapes) > 4 else False)
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu_backward:
            attend("backward", *shapes[1:3], shapes[7])

    def convolve(direction, images, weight, stride, padding, transposed):
        images, weight, stride, padding = map(plane, (images, weight, stride, padding),
                                              (4, 4, 2, 2), (None, None, 1, 0))
        batch, channels, height, width = images
        if transposed:  # the convolution that it turns round
            direction = {"forward": "inputs", "inputs": "forward", "weights": "weights"}[direction]
            filters, channels = weight[:2]
            height, width = (stride[i] * (images[2 + i] - 1) + weight[2 + i] for i in (0, 1))
        else:
            filters = weight[0]
        found["convolution", direction, batch, channels, height, width, filters, *weight[2:],
              *stride, *padding] += 1

    def attend(direction, queries, keys, causal):
        batch, heads, places, size = queries
        found["attention", direction, batch, heads, places, keys[2], size, causal] += 1

    trainer, batch, uses = short_step(application, framework)
    with Recorder():
        trainer.train_step(batch, 0)
    expected = products_of(uses)
    listed = sum(map(flops_of, expected.elements()))
    apart = {name: (found[name], expected[name]) for name in found | expected
             if found[name] != expected[name]}  # fmt: skip
    odd = {name: counts for name, counts in apart.items() if not is_exception(application, name)}
    assert not odd
    assert sum(flops_of(name) * abs(a - b) for name, (a, b) in apart.items()) <= 0.05 * listed

    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: attended(4),
        aten._scaled_dot_product_flash_attention_for_cpu_backward:
            lambda gradient, *shapes, **more: attended(8)(*shapes),
    }  # fmt: skip
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        trainer.train_step(batch, 1)
    excepted = sum(flops_of(name) * count for name, count in found.items()
                   if is_exception(application, name))  # fmt: skip
    total = kernels.total_flops(uses)
    assert counter.get_total_flops() - excepted == pytest.approx(total, rel=0.01)


def attended(times):
    """A counter's formula: PyTorch 2.13 has none of its own kernel for the CPU."""
    def formula(queries, keys, *more, **named):
        return times * int(np.prod(queries)) * keys[2]
    return formula


def plane(sizes, length, filler):
    """A 1-D convolution's sizes as a 2-D one's of height 1."""
    sizes = tuple(sizes)
    if len(sizes) == length:
        return sizes
    return (*sizes[:-1], 1, sizes[-1]) if filler is None else (filler, *sizes)


def flops_of(name):
    """FLOPs of a product by its name in a Counter."""
    kind, *sizes = name
    if kind == "gemm":
        return 2 * int(np.prod(sizes))
    if kind == "convolution":
        return Convolution(*sizes[1:]).flops(sizes[0])
    return Attention(*sizes[1:]).flops(sizes[0])


def is_exception(application, name):
    """Products of a step that the list leaves out.

    object_detection: suppression guesses until the guess stays, each a product of a row with all
    overlaps; how often depends on the boxes.
    """
    return application == "object_detection" and name[0] == "gemm" and name[2] == 1
