"""How PaddlePaddle computes each kind of problem.

    tensors = put(arrays, precision)               of kernels.values
    run = make(problem, direction, tensors, by_channels)
    run()                                          {name: tensor}, as kernels.values has them

Twins: the three operations.py have the same functions, in the same order.  What a run changes in
place, as an optimizer does, goes on from there the next time.
"""

import numpy as np

from common.frameworks import paddlepaddle as framework
from common.kernels import FORWARD, INPUTS
from kernels import values

import paddle  # isort: skip  # after the adapter, which sets what it reads
import paddle.nn.functional as F  # isort: skip
from paddle import distributed, nn  # isort: skip

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


def put(arrays, precision):
    """{name: tensor or list of them} on the device, floats in the precision."""

    def convert(array):
        tensor = paddle.to_tensor(array)
        return tensor.astype(DTYPES.get(precision, tensor.dtype)) if (
            tensor.is_floating_point()) else tensor

    return {n: list(map(convert, array)) if isinstance(array, list) else convert(array)
            for n, array in arrays.items()}


def missing(problem, direction, precision):
    """Why PaddlePaddle has no such kernel; None where it has one."""
    gpu = paddle.device.get_device().startswith("gpu")
    if precision in DTYPES and not gpu:
        return f"PaddlePaddle has {precision} on GPUs alone"
    if problem.kind == "recurrent" and problem.relu and problem.projects and problem.cell == "gru":
        return "PaddlePaddle's GRU has no ReLU"
    if problem.kind == "all_reduce" and framework.world_size() != problem.processes:
        return f"this run has {framework.world_size()} processes"
    if problem.kind == "gemm" and problem.sparsity and not gpu:
        return "PaddlePaddle multiplies sparse matrices on GPUs alone"
    if problem.kind in ("optimizer", "ctc") and precision not in ("fp32", "tf32"):
        return "computed in fp32 in training too"
    return None


def differs(problem):
    """Why a time says less of DeepBench's own; "" where the same is computed."""
    if problem.kind == "recurrent" and not problem.projects:
        return "each step is a product and a cell of several operations"
    if problem.kind == "gemm" and problem.accumulates and (
            problem.transpose_a or problem.transpose_b):
        return "what is there is added by an operation of its own"
    return ""


def make(problem, direction, tensors, by_channels):
    """A function without arguments that runs the kernel once: {name: tensor}.

    by_channels: pictures lie as [batch, channels, height, width]; else channels are innermost.
    """
    # PaddlePaddle's pictures lie by channels in the applications too.
    if problem.kind == "attention":  # its own has the heads behind the places
        tensors = {n: tensor if n == "mask" else tensor.transpose([0, 2, 1, 3])
                   for n, tensor in tensors.items()}
    return KINDS[problem.kind](problem, direction, tensors)


def gradients(forward, inputs, g):
    """A run that gives the gradients of inputs, {name: tensor}; forward is computed before it."""
    for tensor in inputs.values():
        tensor.stop_gradient = False
    found, names, tensors = forward(), tuple(inputs), list(inputs.values())

    def run():
        return dict(zip(names, paddle.grad([found], tensors, [g], retain_graph=True)))

    return run


def gemm(problem, direction, tensors):
    """Of one matrix, or of a batch of them."""
    a, b, c = tensors["a"], tensors["b"], tensors.get("c")
    turned = {"transpose_x": problem.transpose_a, "transpose_y": problem.transpose_b}
    if problem.batch > 1 and problem.accumulates:
        return lambda: {"c": paddle.matmul(a, b, **turned) + c}
    if problem.batch > 1:
        return lambda: {"c": paddle.matmul(a, b, **turned)}
    a, b = a[0], b[0]
    if problem.sparsity:
        rows = a.to_sparse_csr()
        return lambda: {"c": paddle.sparse.addmm(c[0], rows, b)[None]}
    if problem.accumulates and any(turned.values()):  # its addmm_ does not transpose
        return lambda: {"c": (paddle.matmul(a, b, **turned) + c[0])[None]}
    if problem.accumulates:
        c = c[0]
        return lambda: {"c": paddle.addmm_(c, a, b)[None]}
    return lambda: {"c": paddle.matmul(a, b, **turned)[None]}


def convolution(problem, direction, tensors):
    """One direction alone: no other gradient is computed beside."""
    more = {"stride": [problem.stride_height, problem.stride_width],
            "padding": [problem.pad_height, problem.pad_width]}
    x, weight, g = tensors.get("x"), tensors.get("weight"), tensors.get("g")
    if direction == FORWARD:
        return lambda: {"y": F.conv2d(x, weight, **more)}
    if direction == INPUTS:  # of the other it reads the shape alone
        x = paddle.zeros([problem.batch, problem.channels, problem.height, problem.width], g.dtype)
    else:
        weight = paddle.zeros([problem.filters, problem.channels, problem.kernel_height,
                               problem.kernel_width], g.dtype)
    needed = {"x": x} if direction == INPUTS else {"weight": weight}
    return gradients(lambda: F.conv2d(x, weight, **more), needed, g)


def recurrent(problem, direction, tensors):
    """One layer over all steps, both ways where it has two."""
    # The framework's layer; where inputs are added as they are, a product and a cell each step.
    x = tensors["x"]
    weights = {n: tensor for n, tensor in tensors.items() if n not in ("x", "g")}
    if problem.projects:
        layer = {"vanilla": nn.SimpleRNN, "gru": nn.GRU, "lstm": nn.LSTM}[problem.cell]
        more = {"activation": "relu"} if problem.relu else {}
        direct = "bidirect" if problem.bidirectional else "forward"
        layer = layer(problem.inputs, problem.hidden, direction=direct, time_major=True, **more)
        names = {"input_weight": "weight_ih", "hidden_weight": "weight_hh",
                 "input_bias": "bias_ih", "hidden_bias": "bias_hh"}
        parameters = dict(layer.named_parameters())
        own = {name: [parameters[f"{names[name]}_l0{suffix}"]
                      for suffix in ("", "_reverse")[: 1 + problem.bidirectional]]
               for name in weights}
        for name, several in own.items():
            for parameter, tensor in zip(several, weights[name]):
                parameter.set_value(tensor)
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
        zeros = paddle.zeros([problem.batch, problem.hidden], x.dtype)
        state = (zeros,) * (1 + (problem.cell == "lstm"))
        for given in x.unbind(0):
            state = cell(given, state, weight[0])
            outputs.append(state[0])
        return paddle.stack(outputs)

    if direction == FORWARD:
        return lambda: {"y": steps()}
    return gradients(steps, {"x": x, "hidden_weight": weight}, tensors["g"])


def _cell(problem):
    """A function of a step that gives the next state, of which the first is the output."""
    act = F.relu if problem.relu else paddle.tanh

    def kept(state, weight):
        return paddle.matmul(state[0], weight, transpose_y=True)

    def vanilla(given, state, weight):
        return (act(given + kept(state, weight)),)

    def gru(given, state, weight):
        reset, update, new = kept(state, weight).chunk(3, axis=1)
        reset, update = F.sigmoid(given + reset), F.sigmoid(given + update)
        new = act(given + reset * new)
        return (new + update * (state[0] - new),)

    def lstm(given, state, weight):
        i, f, n, o = (given.tile([1, 4]) + kept(state, weight)).chunk(4, axis=1)
        c = F.sigmoid(f) * state[1] + F.sigmoid(i) * paddle.tanh(n)
        return F.sigmoid(o) * paddle.tanh(c), c

    return {"vanilla": vanilla, "gru": gru, "lstm": lstm}[problem.cell]


def attention(problem, direction, tensors):
    """Whole, as the framework has it."""
    own = {n: tensors[n] for n in ("q", "k", "v")}
    mask = tensors.get("mask")

    def forward():
        return F.scaled_dot_product_attention(
            *own.values(), mask, dropout_p=problem.dropout, is_causal=problem.causal)

    if direction == FORWARD:
        for tensor in own.values():  # as in training, so that it keeps what backward needs
            tensor.stop_gradient = False
        return lambda: {"y": forward()}
    return gradients(forward, own, tensors["g"])


def embedding(problem, direction, tensors):
    """Rows of a table; the gradient is as large as the table."""
    indices = tensors["indices"]
    if direction == FORWARD:
        table = tensors["table"]
        return lambda: {"y": F.embedding(indices, table)}
    table = paddle.zeros([problem.rows, problem.size], tensors["g"].dtype)
    return gradients(lambda: F.embedding(indices, table), {"table": table}, tensors["g"])


def softmax_cross_entropy(problem, direction, tensors):
    """The loss of each row; backward of their sum."""
    logits, labels = tensors["logits"], tensors["labels"]
    smoothing = values.SMOOTHING if problem.smoothed else 0.0

    def forward():
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)

    if direction == FORWARD:
        return lambda: {"losses": forward().flatten()}
    return gradients(forward, {"logits": logits}, paddle.ones(forward().shape, logits.dtype))


def ctc(problem, direction, tensors):
    """From logits: the softmax is part of it."""
    logits, labels = tensors["logits"], tensors["labels"].astype("int32")
    steps = paddle.full([problem.batch], problem.steps, "int64")
    lengths = paddle.full([problem.batch], problem.labels, "int64")

    def forward():
        return F.ctc_loss(logits, labels, steps, lengths, blank=0, reduction="none").flatten()

    if direction == FORWARD:
        return lambda: {"losses": forward()}
    return gradients(forward, {"logits": logits}, paddle.ones([problem.batch]))


def batch_norm(problem, direction, tensors):
    """In training."""
    mean, variance = paddle.zeros([problem.channels]), paddle.ones([problem.channels])
    return _norm(direction, tensors, lambda x, weight, bias: F.batch_norm(
        x, mean, variance, weight, bias, training=True, epsilon=values.EPSILON))


def layer_norm(problem, direction, tensors):
    """Over the last axis."""
    return _norm(direction, tensors, lambda x, weight, bias: F.layer_norm(
        x, [problem.size], weight, bias, epsilon=values.EPSILON))


def _norm(direction, tensors, function):
    own = {"x": tensors["x"], "weight": tensors["weight"],
           "bias": tensors.get("bias", paddle.zeros_like(tensors["weight"]))}
    if direction == FORWARD:
        return lambda: {"y": function(**own)}
    return gradients(lambda: function(**own), own, tensors["g"])


def pooling(problem, direction, tensors):
    """The greatest or the mean of each window."""
    x = tensors["x"]
    kernel = [problem.kernel_height, problem.kernel_width]
    stride = [problem.stride_height, problem.stride_width]
    pads = [problem.pad_before, problem.pad_after] * 2

    def forward():
        if not problem.greatest:
            return F.avg_pool2d(x, kernel, stride, problem.pad_before)
        return F.max_pool2d(x, kernel, stride, pads)

    if direction == FORWARD:
        return lambda: {"y": forward()}
    return gradients(forward, {"x": x}, tensors["g"])


def roi_align(problem, direction, tensors):
    """Weighed sums of rows; where they lie is computed before."""
    # Rows, and a product with their weights, as in its application.
    places, weights = tensors["places"].flatten(), tensors["weights"][:, None]
    if direction == FORWARD:
        cells = tensors["cells"]
    else:
        rows = problem.batch * sum(height * width for height, width in problem.maps)
        cells = paddle.zeros([rows, problem.channels], tensors["g"].dtype)

    def forward():
        corners = F.embedding(places, cells).reshape([weights.shape[0], -1, problem.channels])
        return paddle.bmm(weights, corners)[:, 0]

    if direction == FORWARD:
        return lambda: {"y": forward()}
    return gradients(forward, {"cells": cells}, tensors["g"])


def suppression(problem, direction, tensors):
    """Which boxes are kept."""
    # Of each picture apart.
    boxes, scores = tensors["boxes"], tensors["scores"]

    def run():
        kept = []
        for own, order in zip(boxes, scores):
            places = paddle.vision.ops.nms(own, problem.threshold, order)
            kept.append(paddle.scatter(paddle.zeros([problem.boxes]), places,
                                       paddle.ones([places.shape[0]])) > 0.0)
        return {"kept": paddle.stack(kept)}

    return run


def top_k(problem, direction, tensors):
    """In order; all of them are a sort."""
    x = tensors["x"]
    if problem.k == problem.columns:
        return lambda: {"y": paddle.sort(x, axis=1, descending=True, stable=True)}
    return lambda: {"y": paddle.topk(x, problem.k, axis=1)[0]}


def elementwise(problem, direction, tensors):
    """As the framework's functions are called, one after the other."""
    name, g = problem.name, tensors.get("g")
    if name == "dropout":
        scale = 1.0 / (1.0 - values.DROPOUT)
        if direction == FORWARD:
            x = tensors["x"]

            def drop():
                mask = paddle.rand([problem.size]) >= values.DROPOUT
                return {"y": x * mask.astype(x.dtype) * scale, "mask": mask}

            return drop
        mask = tensors["mask"]
        return lambda: {"x": g * mask.astype(g.dtype) * scale}
    own = {n: tensors[n] for n in ("x", "a", "b") if n in tensors}
    labels = tensors.get("labels")
    chain = {
        "relu": F.relu,
        "add": paddle.add,
        "add_relu": lambda a, b: F.relu(a + b),
        "clip": lambda x: x.clip(0.0, values.CLIP),
        "elu": F.elu,
        "product": paddle.multiply,
        "sigmoid_cross_entropy": lambda x: F.binary_cross_entropy_with_logits(
            x, labels, reduction="none"),
    }[name]
    arguments = tuple(own.values())
    if direction == FORWARD:
        return lambda: {"y": chain(*arguments)}
    if name == "sigmoid_cross_entropy":
        g = paddle.ones_like(own["x"])
    # The gradient of a sum is that of each of its two: one array.
    needed = {"a": own["a"]} if name == "add_relu" else own
    return gradients(lambda: chain(*arguments), needed, g)


def optimizer(problem, direction, tensors):
    """The applications' own: fused where the framework has it.  Numbers change in place."""
    weights = [paddle.create_parameter(tensor.shape, tensor.dtype) for tensor in tensors["weights"]]
    named, grads = dict(enumerate(weights)), tensors["gradients"]
    if problem.method == "adam":
        method = paddle.optimizer.Adam(values.RATE, *values.BETAS, values.ADAM_EPSILON, weights)
        slots = {"first": "moment1", "second": "moment2"}
    else:
        rate = 1.0 if problem.method == "lars" else values.RATE
        method = paddle.optimizer.Momentum(
            rate, values.SHARE, weights, problem.method == "nesterov",
            values.DECAY if problem.method == "sgd" else None)
        slots = {"first": "velocity"}
    sums = framework.make_sums(method, named, slots)
    for name, several in {"weights": named, **sums}.items():
        for index, tensor in several.items():
            tensor.set_value(tensors[name][index])
    if problem.method == "adam":
        framework.set_step(method, named, 0)
    found = {"weights": weights, **{name: list(several.values()) for name, several in sums.items()}}

    @paddle.no_grad()
    def run():
        given = grads
        if problem.method == "nesterov":
            norm = paddle.stack([g.square().sum() for g in grads]).sum().sqrt()
            share = (values.CLIP_NORM / (norm + 1e-6)).clip(max=1.0)
            given = [g * share for g in grads]
        if problem.method == "lars":
            given = []
            for weight, g in zip(weights, grads):
                norm = weight.norm()
                trust = values.TRUST * norm / (g.norm() + values.DECAY * norm)
                given.append(values.RATE * trust * (g + values.DECAY * weight))
        for weight, g in zip(weights, given):
            weight.grad = g
        method.step()
        return found

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
    a, b = paddle.ones([numbers]), paddle.ones([numbers])
    return lambda: a.add_(b)


def read(problem, found):
    """{name: numpy array} of what a run gave.  Lists: of an optimizer joined, of ways stacked."""
    several = np.concatenate if problem.kind == "optimizer" else np.stack
    arrays = {name: several([framework.get(one) for one in value]) if isinstance(value, list)
              else framework.get(value) for name, value in found.items()}
    if problem.kind == "attention":
        arrays = {name: array.transpose(0, 2, 1, 3) for name, array in arrays.items()}
    return arrays
