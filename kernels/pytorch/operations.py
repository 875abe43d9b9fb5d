"""How PyTorch computes each kind of problem.

    tensors = put(arrays, precision)               of kernels.values
    run = make(problem, direction, tensors, by_channels)
    run()                                          {name: tensor}, as kernels.values has them

Twins: the three operations.py have the same functions, in the same order.  What a run changes in
place, as an optimizer does, goes on from there the next time.
"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import distributed, nn

from common.frameworks import pytorch as framework
from common.kernels import FORWARD, INPUTS
from kernels import values

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def put(arrays, precision):
    """{name: tensor or list of them} on the device, floats in the precision."""

    def convert(tensor):
        return tensor.to(DTYPES.get(precision, tensor.dtype)) if tensor.is_floating_point() else (
            tensor)

    lists = {n: array for n, array in arrays.items() if isinstance(array, list)}
    found = framework.put({n: array for n, array in arrays.items() if n not in lists})
    found = {n: convert(tensor) for n, tensor in found.items()}
    for n, several in lists.items():
        put = framework.put({str(index): array for index, array in enumerate(several)})
        found[n] = [convert(tensor) for tensor in put.values()]
    return found


def missing(problem, direction, precision):
    """Why PyTorch has no such kernel; None where it has one."""
    if problem.kind == "recurrent" and problem.relu and problem.projects and problem.cell == "gru":
        return "PyTorch's GRU has no ReLU"
    if problem.kind == "all_reduce" and framework.world_size() != problem.processes:
        return f"this run has {framework.world_size()} processes"
    if problem.kind == "gemm" and problem.sparsity and precision not in ("fp32", "tf32"):
        return "PyTorch's sparse products are in fp32"
    if problem.kind in ("optimizer", "ctc") and precision not in ("fp32", "tf32"):
        return "computed in fp32 in training too"
    return None


def differs(problem):
    """Why a time says less of DeepBench's own; "" where the same is computed."""
    if problem.kind == "recurrent" and not problem.projects:
        return "each step is a product and a cell of several operations"
    return ""


def make(problem, direction, tensors, by_channels):
    """A function without arguments that runs the kernel once: {name: tensor}.

    by_channels: pictures lie as [batch, channels, height, width]; else channels are innermost.
    """
    if not by_channels:
        tensors = {n: tensor.contiguous(memory_format=torch.channels_last)
                   if problem.kind in ("convolution", "batch_norm", "pooling") and tensor.ndim == 4
                   else tensor for n, tensor in tensors.items()}
    return KINDS[problem.kind](problem, direction, tensors)


def gradients(forward, inputs, g):
    """A run that gives the gradients of inputs, {name: tensor}; forward is computed before it."""
    for tensor in inputs.values():
        tensor.requires_grad_()
    found, names, tensors = forward(), tuple(inputs), tuple(inputs.values())

    def run():
        return dict(zip(names, torch.autograd.grad(found, tensors, g, retain_graph=True)))

    return run


def gemm(problem, direction, tensors):
    """Of one matrix, or of a batch of them."""
    a, b, c = tensors["a"], tensors["b"], tensors.get("c")
    a = a.transpose(1, 2) if problem.transpose_a else a
    b = b.transpose(1, 2) if problem.transpose_b else b
    if problem.batch > 1 and problem.accumulates:
        return lambda: {"c": c.baddbmm_(a, b)}
    if problem.batch > 1:
        return lambda: {"c": torch.bmm(a, b)}
    a, b = a[0], b[0]
    if problem.sparsity:
        with warnings.catch_warnings(action="ignore"):  # that their support is new
            a = a.to_sparse_csr()
    if problem.accumulates:
        return lambda: {"c": c[0].addmm_(a, b)[None]}
    return lambda: {"c": torch.mm(a, b)[None]}


def convolution(problem, direction, tensors):
    """One direction alone: no other gradient is computed beside."""
    stride = [problem.stride_height, problem.stride_width]
    padding = [problem.pad_height, problem.pad_width]
    x, weight, g = tensors.get("x"), tensors.get("weight"), tensors.get("g")
    if direction == FORWARD:
        return lambda: {"y": F.conv2d(x, weight, stride=stride, padding=padding)}
    if direction == INPUTS:  # of the other it reads the shape alone
        x = g.new_empty(1).expand(problem.batch, problem.channels, problem.height, problem.width)
        x = torch.empty_like(x, memory_format=_lying(g))
    else:
        weight = g.new_empty(problem.filters, problem.channels, problem.kernel_height,
                             problem.kernel_width).contiguous(memory_format=_lying(g))
    mask = [direction == INPUTS, direction != INPUTS, False]
    name, place = ("x", 0) if direction == INPUTS else ("weight", 1)

    def run():
        found = torch.ops.aten.convolution_backward(
            g, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, mask)
        return {name: found[place]}

    return run


def _lying(tensor):
    last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def recurrent(problem, direction, tensors):
    """One layer over all steps, both ways where it has two."""
    # The framework's layer; where inputs are added as they are, a product and a cell each step.
    x = tensors["x"]
    weights = {n: tensor for n, tensor in tensors.items() if n not in ("x", "g")}
    if problem.projects:
        layer = {"vanilla": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[problem.cell]
        more = {"nonlinearity": "relu"} if problem.relu else {}
        layer = layer(problem.inputs, problem.hidden, bidirectional=problem.bidirectional,
                      dtype=x.dtype, device=x.device, **more)
        names = {"input_weight": "weight_ih", "hidden_weight": "weight_hh",
                 "input_bias": "bias_ih", "hidden_bias": "bias_hh"}
        own = {name: [getattr(layer, f"{names[name]}_l0{suffix}")
                      for suffix in ("", "_reverse")[: 1 + problem.bidirectional]]
               for name in weights}
        with torch.no_grad():
            for name, several in own.items():
                for parameter, tensor in zip(several, weights[name]):
                    parameter.copy_(tensor)
        flat = {f"{name} {way}": parameter for name, several in own.items()
                for way, parameter in enumerate(several)}
        if direction == FORWARD:
            return lambda: {"y": layer(x)[0]}
        found = gradients(lambda: layer(x)[0], {"x": x, **flat}, tensors["g"])

        def stacked():
            """Of each weight the gradients of both ways, not copied: the reader stacks them."""
            each = found()
            return {"x": each["x"]} | {
                name: [each[f"{name} {way}"] for way in range(len(several))]
                for name, several in own.items()}

        return stacked
    weight = weights["hidden_weight"]

    def steps():
        cell, outputs = _cell(problem), []
        state = (x.new_zeros(problem.batch, problem.hidden),) * (1 + (problem.cell == "lstm"))
        turned = weight[0].t()
        for given in x.unbind(0):
            state = cell(given, state, turned)
            outputs.append(state[0])
        return torch.stack(outputs)

    if direction == FORWARD:
        return lambda: {"y": steps()}
    return gradients(steps, {"x": x, "hidden_weight": weight}, tensors["g"])


def _cell(problem):
    """A function of a step that gives the next state, of which the first is the output."""
    act = F.relu if problem.relu else torch.tanh

    def vanilla(given, state, weight):
        return (act(torch.addmm(given, state[0], weight)),)

    def gru(given, state, weight):
        reset, update, new = torch.mm(state[0], weight).chunk(3, dim=1)
        reset, update = torch.sigmoid(given + reset), torch.sigmoid(given + update)
        new = act(torch.addcmul(given, reset, new))
        return (torch.lerp(new, state[0], update),)

    def lstm(given, state, weight):
        i, f, n, o = torch.addmm(given.repeat(1, 4), state[0], weight).chunk(4, dim=1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(n)
        return torch.sigmoid(o) * torch.tanh(c), c

    return {"vanilla": vanilla, "gru": gru, "lstm": lstm}[problem.cell]


def attention(problem, direction, tensors):
    """Whole, as the framework has it."""
    own = {n: tensors[n] for n in ("q", "k", "v")}
    mask = tensors.get("mask")

    def forward():
        return F.scaled_dot_product_attention(
            **{"query": own["q"], "key": own["k"], "value": own["v"]}, attn_mask=mask,
            dropout_p=problem.dropout, is_causal=problem.causal)

    if direction == FORWARD:
        for tensor in own.values():  # as in training, so that it keeps what backward needs
            tensor.requires_grad_()
        return lambda: {"y": forward()}
    return gradients(forward, own, tensors["g"])


def embedding(problem, direction, tensors):
    """Rows of a table; the gradient is as large as the table."""
    indices = tensors["indices"]
    if direction == FORWARD:
        table = tensors["table"]
        return lambda: {"y": F.embedding(indices, table)}
    g = tensors["g"]
    return lambda: {"table": torch.ops.aten.embedding_dense_backward(
        g, indices, problem.rows, -1, False)}


def softmax_cross_entropy(problem, direction, tensors):
    """The loss of each row; backward of their sum."""
    logits, labels = tensors["logits"], tensors["labels"]
    smoothing = values.SMOOTHING if problem.smoothed else 0.0

    def forward():
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)

    if direction == FORWARD:
        return lambda: {"losses": forward()}
    return gradients(forward, {"logits": logits}, logits.new_ones(problem.rows))


def ctc(problem, direction, tensors):
    """From logits: the softmax is part of it."""
    logits, labels = tensors["logits"], tensors["labels"]
    steps = torch.full((problem.batch,), problem.steps)
    lengths = torch.full((problem.batch,), problem.labels)

    def forward():
        logs = F.log_softmax(logits, dim=2)
        return F.ctc_loss(logs, labels, steps, lengths, blank=0, reduction="none")

    if direction == FORWARD:
        return lambda: {"losses": forward()}
    return gradients(forward, {"logits": logits}, logits.new_ones(problem.batch))


def batch_norm(problem, direction, tensors):
    """In training."""
    return _norm(direction, tensors, lambda x, weight, bias: F.batch_norm(
        x, None, None, weight, bias, training=True, eps=values.EPSILON))


def layer_norm(problem, direction, tensors):
    """Over the last axis."""
    return _norm(direction, tensors, lambda x, weight, bias: F.layer_norm(
        x, [problem.size], weight, bias, eps=values.EPSILON))


def _norm(direction, tensors, function):
    own = {"x": tensors["x"], "weight": tensors["weight"],
           "bias": tensors.get("bias", torch.zeros_like(tensors["weight"]))}
    if direction == FORWARD:
        return lambda: {"y": function(**own)}
    return gradients(lambda: function(**own), own, tensors["g"])


def pooling(problem, direction, tensors):
    """The greatest or the mean of each window."""
    # Padding of one side alone is a copy before.
    x = tensors["x"]
    kernel = [problem.kernel_height, problem.kernel_width]
    stride = [problem.stride_height, problem.stride_width]
    before, after = problem.pad_before, problem.pad_after

    def forward():
        if not problem.greatest:
            return F.avg_pool2d(x, kernel, stride, before)
        if before == after:
            return F.max_pool2d(x, kernel, stride, before)
        padded = F.pad(x, [before, after, before, after], value=-torch.inf)
        return F.max_pool2d(padded, kernel, stride)

    if direction == FORWARD:
        return lambda: {"y": forward()}
    return gradients(forward, {"x": x}, tensors["g"])


def roi_align(problem, direction, tensors):
    """Weighed sums of rows; where they lie is computed before."""
    # Each bin a bag of weighed rows.
    places, weights = tensors["places"], tensors["weights"]
    if direction == FORWARD:
        cells = tensors["cells"]
    else:
        rows = problem.batch * sum(height * width for height, width in problem.maps)
        cells = tensors["g"].new_zeros(rows, problem.channels)

    def forward():
        return F.embedding_bag(places, cells, mode="sum", per_sample_weights=weights)

    if direction == FORWARD:
        return lambda: {"y": forward()}
    return gradients(forward, {"cells": cells}, tensors["g"])


def suppression(problem, direction, tensors):
    """Which boxes are kept."""
    # By guesses, as its application does; a kernel is in torchvision, another package.  Whoever
    # guesses which are kept has the next guess, right one place further at least.
    boxes = tensors["boxes"]

    def run():
        low, high = boxes.split(2, dim=2)
        sides = (torch.minimum(high[:, :, None], high[:, None])
                 - torch.maximum(low[:, :, None], low[:, None])).clamp(min=0.0)
        areas, shared = (high - low).prod(dim=2), sides.prod(dim=3)
        over = shared / (areas[:, :, None] + areas[:, None] - shared) > problem.threshold
        over = over.to(boxes.dtype).triu(1)
        kept, before = boxes.new_ones(problem.batch, 1, problem.boxes), None
        while before is None or not torch.equal(before, kept):
            before, kept = kept, (kept @ over == 0.0).to(boxes.dtype)
        return {"kept": kept[:, 0] > 0.0}

    return run


def top_k(problem, direction, tensors):
    """In order; all of them are a sort."""
    x = tensors["x"]
    if problem.k == problem.columns:
        return lambda: {"y": x.sort(dim=1, descending=True, stable=True).values}
    return lambda: {"y": x.topk(problem.k, dim=1).values}


def elementwise(problem, direction, tensors):
    """As the framework's functions are called, one after the other."""
    name, g = problem.name, tensors.get("g")
    if name == "dropout":
        if direction == FORWARD:
            x = tensors["x"]
            return lambda: dict(zip(("y", "mask"), torch.native_dropout(x, values.DROPOUT, True)))
        mask, scale = tensors["mask"], 1.0 / (1.0 - values.DROPOUT)
        return lambda: {"x": torch.ops.aten.native_dropout_backward(g, mask, scale)}
    own = {n: tensors[n] for n in ("x", "a", "b") if n in tensors}
    labels = tensors.get("labels")
    chain = {
        "relu": F.relu,
        "add": torch.add,
        "add_relu": lambda a, b: F.relu(a + b),
        "clip": lambda x: x.clamp(0.0, values.CLIP),
        "elu": F.elu,
        "product": torch.mul,
        "sigmoid_cross_entropy": lambda x: F.binary_cross_entropy_with_logits(
            x, labels, reduction="none"),
    }[name]
    arguments = tuple(own.values())
    if direction == FORWARD:
        return lambda: {"y": chain(*arguments)}
    if name == "sigmoid_cross_entropy":
        g = torch.ones_like(own["x"])
    # The gradient of a sum is that of each of its two: one array.
    needed = {"a": own["a"]} if name == "add_relu" else own
    return gradients(lambda: chain(*arguments), needed, g)


def optimizer(problem, direction, tensors):
    """The applications' own: fused where the framework has it.  Numbers change in place."""
    weights = [nn.Parameter(tensor) for tensor in tensors["weights"]]
    first, grads = tensors["first"], tensors["gradients"]
    if problem.method == "adam":
        method = torch.optim.Adam(weights, lr=values.RATE, betas=values.BETAS,
                                  eps=values.ADAM_EPSILON, fused=True)
    else:
        decay = values.DECAY if problem.method == "sgd" else 0.0
        rate = 1.0 if problem.method == "lars" else values.RATE
        method = torch.optim.SGD(weights, lr=rate, momentum=values.SHARE, weight_decay=decay,
                                 nesterov=problem.method == "nesterov", fused=True)
    for index, weight in enumerate(weights):
        weight.grad = grads[index]
        if problem.method == "adam":
            step = torch.zeros([], device=weight.device)
            method.state[weight] = {"exp_avg": first[index], "step": step,
                                    "exp_avg_sq": tensors["second"][index]}
        else:
            method.state[weight] = {"momentum_buffer": first[index]}

    @torch.no_grad()
    def run():
        if problem.method == "nesterov":
            nn.utils.clip_grad_norm_(weights, values.CLIP_NORM, foreach=True)
        if problem.method == "lars":
            for weight, gradient in zip(weights, grads):
                norm = weight.norm()
                trust = values.TRUST * norm / (gradient.norm() + values.DECAY * norm)
                weight.grad = values.RATE * trust * (gradient + values.DECAY * weight)
        method.step()
        return {n: tensors[n] for n in ("weights", "first", "second") if n in tensors}

    return run


def all_reduce(problem, direction, tensors):
    """The sum over all processes."""
    x = tensors["x"]

    def run():
        distributed.all_reduce(x)
        return {"x": x}

    return run


KINDS = {function.__name__: function for function in (
    gemm, convolution, recurrent, attention, embedding, softmax_cross_entropy, ctc, batch_norm,
    layer_norm, pooling, roi_align, suppression, top_k, elementwise, optimizer, all_reduce)}


def triad(numbers):
    """A run of a = a + b over arrays of as many numbers, in float32: nothing else is moved."""
    a, b = framework.put({n: np.ones(numbers, np.float32) for n in "ab"}).values()
    return lambda: a.add_(b)


def read(problem, found):
    """{name: numpy array} of what a run gave.  Lists: of an optimizer joined, of ways stacked."""
    several = np.concatenate if problem.kind == "optimizer" else np.stack
    return {name: several([framework.get(one) for one in value]) if isinstance(value, list)
            else framework.get(value) for name, value in found.items()}
