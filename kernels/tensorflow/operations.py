"""How TensorFlow computes each kind of problem.

    tensors = put(arrays, precision)               of kernels.values
    run = make(problem, direction, tensors, by_channels)
    run()                                          {name: tensor}, as kernels.values has them

Twins: the three operations.py have the same functions, in the same order.  What a run changes in
place, as an optimizer does, goes on from there the next time.
"""

import math

import numpy as np

from common.frameworks import tensorflow as framework
from common.kernels import FORWARD, INPUTS
from kernels import values

import tensorflow as tf  # isort: skip  # after the adapter, which silences its greetings

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
DTYPES = {"bf16": tf.bfloat16, "fp16": tf.float16}
tf.get_logger().setLevel("ERROR")  # it warns of many graphs of one function: each problem has one
PICTURES = ("convolution", "batch_norm", "pooling")


def put(arrays, precision):
    """{name: tensor or list of them} on the device, floats in the precision."""

    def convert(array):
        tensor = tf.constant(array)
        return tf.cast(tensor, DTYPES.get(precision, tensor.dtype)) if (
            tensor.dtype.is_floating) else tensor

    return {n: list(map(convert, array)) if isinstance(array, list) else convert(array)
            for n, array in arrays.items()}


def missing(problem, direction, precision):
    """Why TensorFlow has no such kernel; None where it has one."""
    if problem.kind == "all_reduce" and framework.world_size() != problem.processes:
        return f"this run has {framework.world_size()} processes"
    if problem.kind == "gemm" and problem.sparsity and precision not in ("fp32", "tf32"):
        return "TensorFlow's sparse products are in fp32"
    if problem.kind in ("optimizer", "ctc") and precision not in ("fp32", "tf32"):
        return "computed in fp32 in training too"
    return None


def differs(problem):
    """Why a time says less of DeepBench's own; "" where the same is computed."""
    if problem.kind == "recurrent":
        return "each step is a product and a cell of several operations"
    if problem.kind == "convolution":
        return "channels are innermost"
    if problem.kind == "gemm" and problem.accumulates:
        return "what is there is added by an operation of its own"
    return ""


def make(problem, direction, tensors, by_channels):
    """A function without arguments that runs the kernel once: {name: tensor}.

    by_channels: pictures lie as [batch, channels, height, width]; else channels are innermost.
    """
    # On a CPU TensorFlow has kernels for innermost channels alone, so pictures lie so either way.
    if problem.kind in PICTURES:
        tensors = {n: _turned(n, tensor) if tensor.shape.rank == 4 else tensor
                   for n, tensor in tensors.items()}
    return KINDS[problem.kind](problem, direction, tensors)


def _turned(name, tensor):
    return tf.transpose(tensor, [2, 3, 1, 0] if name == "weight" else [0, 2, 3, 1])


def gradients(forward, inputs, g):
    """A run that gives the gradients of inputs, {name: tensor}; forward is computed before it."""
    names, tensors = tuple(inputs), tuple(inputs.values())
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        found = forward()

    def run():
        slopes = tape.gradient(found, tensors, output_gradients=g)
        return dict(zip(names, map(tf.convert_to_tensor, slopes)))

    return run


def gemm(problem, direction, tensors):
    """Of one matrix, or of a batch of them."""
    a, b, c = tensors["a"], tensors["b"], tensors.get("c")
    turned = {"transpose_a": problem.transpose_a, "transpose_b": problem.transpose_b}
    if problem.batch > 1 and problem.accumulates:
        return lambda: {"c": tf.matmul(a, b, **turned) + c}
    if problem.batch > 1:
        return lambda: {"c": tf.matmul(a, b, **turned)}
    a, b = a[0], b[0]
    if problem.sparsity:
        sparse = tf.sparse.from_dense(a)
        rows = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=sparse.indices, values=sparse.values, dense_shape=sparse.dense_shape)
        return lambda: {"c": tf.raw_ops.SparseMatrixMatMul(a=rows, b=b)[None] + c}
    if problem.accumulates:  # its products do not add to what is there: that is an operation more
        return lambda: {"c": (tf.matmul(a, b, **turned) + c[0])[None]}
    return lambda: {"c": tf.matmul(a, b, **turned)[None]}


def convolution(problem, direction, tensors):
    """One direction alone: no other gradient is computed beside."""
    more = {
        "strides": [1, problem.stride_height, problem.stride_width, 1], "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, *[problem.pad_height] * 2, *[problem.pad_width] * 2, 0, 0],
    }  # fmt: skip
    x, weight, g = tensors.get("x"), tensors.get("weight"), tensors.get("g")
    if direction == FORWARD:
        return lambda: {"y": tf.raw_ops.Conv2D(input=x, filter=weight, **more)}
    if direction == INPUTS:  # of the other it reads the shape alone
        sizes = [problem.batch, problem.height, problem.width, problem.channels]
        return lambda: {"x": tf.raw_ops.Conv2DBackpropInput(
            input_sizes=sizes, filter=weight, out_backprop=g, **more)}
    sizes = [problem.kernel_height, problem.kernel_width, problem.channels, problem.filters]
    return lambda: {"weight": tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=sizes, out_backprop=g, **more)}


def recurrent(problem, direction, tensors):
    """One layer over all steps, both ways where it has two."""
    # A scan, as in its application; products of the inputs are one for all steps.
    x = tensors["x"]
    weights = {n: tensor for n, tensor in tensors.items() if n not in ("x", "g")}

    @tf.function(autograph=False)
    def layer(x, weights):
        outputs = []
        for way in range(1 + problem.bidirectional):
            own = {name: tensor[way] for name, tensor in weights.items()}
            given = tf.tile(x, [1, 1, 4]) if problem.cell == "lstm" else x
            if problem.projects:
                given = tf.matmul(x, own["input_weight"], transpose_b=True) + own["input_bias"]
            zeros = tf.zeros([problem.batch, problem.hidden], x.dtype)
            state = (zeros,) * (1 + (problem.cell == "lstm"))
            outputs.append(tf.scan(_scanned(problem, own), given, state, reverse=bool(way))[0])
        return tf.concat(outputs, axis=2)

    if direction == FORWARD:
        return lambda: {"y": layer(x, weights)}
    return gradients(lambda: layer(x, weights), {"x": x, **weights}, tensors["g"])


def _scanned(problem, own):
    """A function of a step that gives the next state, of which the first is the output."""
    act = tf.nn.relu if problem.relu else tf.tanh

    def kept(state):
        found = tf.matmul(state[0], own["hidden_weight"], transpose_b=True)
        return found + own["hidden_bias"] if problem.projects else found

    def vanilla(state, given):
        return (act(given + kept(state)),)

    def gru(state, given):
        # Where inputs are added as they are, they are those of every gate.
        parts = tf.split(given, 3, axis=1) if problem.projects else [given] * 3
        reset, update, new = tf.split(kept(state), 3, axis=1)
        reset, update = tf.sigmoid(parts[0] + reset), tf.sigmoid(parts[1] + update)
        new = act(parts[2] + reset * new)
        return (new + update * (state[0] - new),)

    def lstm(state, given):
        i, f, n, o = tf.split(given + kept(state), 4, axis=1)
        c = tf.sigmoid(f) * state[1] + tf.sigmoid(i) * tf.tanh(n)
        return tf.sigmoid(o) * tf.tanh(c), c

    return {"vanilla": vanilla, "gru": gru, "lstm": lstm}[problem.cell]


def attention(problem, direction, tensors):
    """Whole, as the framework has it."""
    # In its parts: TensorFlow has no kernel of the whole.
    own = {n: tensors[n] for n in ("q", "k", "v")}
    mask = tensors.get("mask")
    if problem.causal:
        seen = np.tri(problem.queries, problem.keys, dtype=bool)
        mask = tf.constant(np.where(seen, 0.0, values.MASKED), own["q"].dtype)

    @tf.function(autograph=False)
    def attend(q, k, v):
        scores = tf.matmul(q / math.sqrt(problem.size), k, transpose_b=True)
        weights = tf.nn.softmax(scores if mask is None else scores + mask)
        if problem.dropout:
            kept = _drawn(weights.shape) >= problem.dropout
            weights = tf.where(kept, weights / (1.0 - problem.dropout), 0.0)
        return tf.matmul(weights, v)

    if direction == FORWARD:
        return lambda: {"y": attend(**own)}
    return gradients(lambda: attend(**own), own, tensors["g"])


def embedding(problem, direction, tensors):
    """Rows of a table; the gradient is as large as the table."""
    indices = tensors["indices"]
    if direction == FORWARD:
        table = tensors["table"]
        return lambda: {"y": tf.gather(table, indices)}
    g = tensors["g"]
    return lambda: {"table": tf.math.unsorted_segment_sum(g, indices, problem.rows)}


def softmax_cross_entropy(problem, direction, tensors):
    """The loss of each row; backward of their sum."""
    logits, labels = tensors["logits"], tensors["labels"]
    share = values.SMOOTHING

    @tf.function(autograph=False)
    def smoothed(logits):
        aims = tf.one_hot(labels, problem.classes, 1.0 - share + share / problem.classes,
                          share / problem.classes, dtype=logits.dtype)
        return tf.nn.softmax_cross_entropy_with_logits(aims, logits)

    def forward():
        if problem.smoothed:
            return smoothed(logits)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    if direction == FORWARD:
        return lambda: {"losses": forward()}
    return gradients(forward, {"logits": logits}, tf.ones(problem.rows, logits.dtype))


def ctc(problem, direction, tensors):
    """From logits: the softmax is part of it."""
    logits, labels = tensors["logits"], tf.cast(tensors["labels"], tf.int32)
    steps = tf.fill([problem.batch], problem.steps)
    lengths = tf.fill([problem.batch], problem.labels)

    def forward():
        return tf.nn.ctc_loss(labels, logits, lengths, steps, logits_time_major=True,
                              blank_index=0)

    if direction == FORWARD:
        return lambda: {"losses": forward()}
    return gradients(forward, {"logits": logits}, tf.ones(problem.batch))


def batch_norm(problem, direction, tensors):
    """In training."""
    return _norm(direction, tensors, lambda x, weight, bias: tf.raw_ops.FusedBatchNormV3(
        x=x, scale=weight, offset=bias, mean=[], variance=[], epsilon=values.EPSILON).y)


def layer_norm(problem, direction, tensors):
    """Over the last axis."""

    @tf.function(autograph=False)
    def function(x, weight, bias):
        mean, variance = tf.nn.moments(x, [1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, bias, weight, values.EPSILON)

    return _norm(direction, tensors, function)


def _norm(direction, tensors, function):
    own = {"x": tensors["x"], "weight": tensors["weight"],
           "bias": tensors.get("bias", tf.zeros_like(tensors["weight"]))}
    if direction == FORWARD:
        return lambda: {"y": function(**own)}
    return gradients(lambda: function(**own), own, tensors["g"])


def pooling(problem, direction, tensors):
    """The greatest or the mean of each window."""
    x = tensors["x"]
    kernel = [problem.kernel_height, problem.kernel_width]
    stride = [problem.stride_height, problem.stride_width]
    pads = [problem.pad_before, problem.pad_after]

    def forward():
        if not problem.greatest:
            return tf.nn.avg_pool2d(x, kernel, stride, "VALID")
        padding = [[0, 0], pads, pads, [0, 0]] if any(pads) else "VALID"
        return tf.nn.max_pool2d(x, kernel, stride, padding)

    if direction == FORWARD:
        return lambda: {"y": forward()}
    return gradients(forward, {"x": x}, tensors["g"])


def roi_align(problem, direction, tensors):
    """Weighed sums of rows; where they lie is computed before."""
    # The product of a sparse matrix, in rows, as in its application.
    places, weights = tensors["places"].numpy(), tensors["weights"].numpy()
    cells = problem.batch * sum(height * width for height, width in problem.maps)
    bins, corners = places.shape
    at = np.stack([np.repeat(np.arange(bins), corners), places.ravel()], axis=1)
    order = np.lexsort((at[:, 1], at[:, 0]))
    at, first = np.unique(at[order], axis=0, return_index=True)
    numbers = np.add.reduceat(weights.ravel()[order], first)
    rows = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=at, values=numbers, dense_shape=[bins, cells])
    if direction == FORWARD:
        table = tensors["cells"]
        return lambda: {"y": tf.raw_ops.SparseMatrixMatMul(a=rows, b=table)}
    g = tensors["g"]
    return lambda: {"cells": tf.raw_ops.SparseMatrixMatMul(a=rows, b=g, transpose_a=True)}


def suppression(problem, direction, tensors):
    """Which boxes are kept."""
    # Of each picture apart.
    boxes, scores = tensors["boxes"], tensors["scores"]

    @tf.function(autograph=False)
    def suppress(boxes, scores):
        kept = []
        for own, order in zip(tf.unstack(boxes), tf.unstack(scores)):
            places = tf.image.non_max_suppression(own, order, problem.boxes, problem.threshold)
            kept.append(tf.scatter_nd(places[:, None], tf.ones_like(places), [problem.boxes]) > 0)
        return tf.stack(kept)

    return lambda: {"kept": suppress(boxes, scores)}


def top_k(problem, direction, tensors):
    """In order; all of them are a sort."""
    x = tensors["x"]
    if problem.k == problem.columns:
        return lambda: {"y": tf.sort(x, axis=1, direction="DESCENDING")}
    return lambda: {"y": tf.math.top_k(x, problem.k).values}


def _drawn(shape):
    # Its other random numbers want a seed each where operations are deterministic.
    return tf.random.get_global_generator().uniform(shape)


def elementwise(problem, direction, tensors):
    """As the framework's functions are called, one after the other."""
    name, g = problem.name, tensors.get("g")
    if name == "dropout":
        scale = 1.0 / (1.0 - values.DROPOUT)
        if direction == FORWARD:
            x = tensors["x"]

            @tf.function(autograph=False)
            def drop(x):
                mask = _drawn([problem.size]) >= values.DROPOUT
                return tf.where(mask, x * scale, 0.0), mask

            return lambda: dict(zip(("y", "mask"), drop(x)))
        mask = tensors["mask"]
        dropped = tf.function(lambda g: tf.where(mask, g * scale, 0.0), autograph=False)
        return lambda: {"x": dropped(g)}
    own = {n: tensors[n] for n in ("x", "a", "b") if n in tensors}
    labels = tensors.get("labels")
    chain = {
        "relu": tf.nn.relu,
        "add": tf.add,
        "add_relu": lambda a, b: tf.nn.relu(a + b),
        "clip": lambda x: tf.clip_by_value(x, 0.0, values.CLIP),
        "elu": tf.nn.elu,
        "product": tf.multiply,
        "sigmoid_cross_entropy": lambda x: tf.nn.sigmoid_cross_entropy_with_logits(labels, x),
    }[name]
    arguments = tuple(own.values())
    if direction == FORWARD:
        return lambda: {"y": chain(*arguments)}
    if name == "sigmoid_cross_entropy":
        g = tf.ones_like(own["x"])
    # The gradient of a sum is that of each of its two: one array.
    needed = {"a": own["a"]} if name == "add_relu" else own
    return gradients(lambda: chain(*arguments), needed, g)


def optimizer(problem, direction, tensors):
    """The applications' own: fused where the framework has it.  Numbers change in place."""
    own = {n: list(map(tf.Variable, tensors[n])) for n in ("weights", "first", "second")
           if n in tensors}
    names = list(map(str, range(len(problem.sizes))))
    weights, grads = dict(zip(names, own["weights"])), tensors["gradients"]
    if problem.method == "adam":
        method = framework.Adam(weights, *values.BETAS, values.ADAM_EPSILON)
        method.steps_done = tf.constant(0.0)
        method.sums = {"m": dict(zip(names, own["first"])), "v": dict(zip(names, own["second"]))}
    else:
        method = framework.Momentum(weights, values.SHARE, problem.method == "nesterov")
        method.sums = {"accum": dict(zip(names, own["first"]))}
    method.learning_rate = tf.constant(1.0 if problem.method == "lars" else values.RATE)

    @tf.function(autograph=False)
    def step(grads):
        if problem.method == "nesterov":
            norm = tf.linalg.global_norm(grads)
            grads = [tf.minimum(1.0, values.CLIP_NORM / (norm + 1e-6)) * g for g in grads]
        if problem.method == "lars":
            trusted = []
            for weight, g in zip(own["weights"], grads):
                norm = tf.norm(weight)
                trust = values.TRUST * norm / (tf.norm(g) + values.DECAY * norm)
                trusted.append(values.RATE * trust * (g + values.DECAY * weight))
            grads = trusted
        if problem.method == "sgd":
            grads = [g + values.DECAY * weight for weight, g in zip(own["weights"], grads)]
        method.step(dict(zip(names, grads)))

    def run():
        step(grads)
        return own

    return run


def all_reduce(problem, direction, tensors):
    """The sum over all processes."""
    x = tensors["x"]

    @tf.function(autograph=False)
    def run():
        context = tf.distribute.get_replica_context()
        return {"x": context.all_reduce(tf.distribute.ReduceOp.SUM, x)}

    return lambda: tf.distribute.get_strategy().run(run)


KINDS = {function.__name__: function for function in (
    gemm, convolution, recurrent, attention, embedding, softmax_cross_entropy, ctc, batch_norm,
    layer_norm, pooling, roi_align, suppression, top_k, elementwise, optimizer, all_reduce)}


def triad(numbers):
    """A run of a = a + b over arrays of as many numbers, in float32: nothing else is moved."""
    a, b = tf.Variable(tf.ones(numbers)), tf.ones(numbers)
    return lambda: a.assign_add(b)


def read(problem, found):
    """{name: numpy array} of what a run gave.  Lists: of an optimizer joined, of ways stacked."""
    several = np.concatenate if problem.kind == "optimizer" else np.stack
    arrays = {name: several([framework.get(one) for one in value]) if isinstance(value, list)
              else framework.get(value) for name, value in found.items()}
    if problem.kind in PICTURES:
        arrays = {name: array.transpose([3, 2, 0, 1] if name == "weight" else [0, 3, 1, 2])
                  if array.ndim == 4 else array for name, array in arrays.items()}
    return arrays
