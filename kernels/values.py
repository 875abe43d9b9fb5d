"""What each kind of problem is given, and what it must give: numpy, in float64.

    arrays = inputs(problem, direction, seed)      {name: array}; floats are float32
    expected = values(problem, direction, arrays)  {name: array}, the direct way: for small sizes
    small, own, pick = part(problem, direction, arrays, seed)
        So much of a large one as numpy computes soon: values(small, direction, own) is pick(found).
    gap(found, expected)                           the largest difference, see there

Floats are standard normal numbers, scaled where sums would grow.  Of inputs, g is the gradient of
what forward gives.  Among outputs, a gradient has the name of what it is of.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from common.kernels import FORWARD, GATES, INPUTS, WEIGHTS

SMOOTHING = 0.1          # of the smoothed cross-entropy
EPSILON = 1e-5           # of both norms
CLIP = 20.0              # of the chain `clip`
MASKED = -1e4            # what a mask adds to the score of a key that is not there; fp16 holds it
RATE, SHARE, DECAY = 0.1, 0.9, 1e-4           # momentum, its share, decay of weights
BETAS, ADAM_EPSILON = (0.9, 0.98), 1e-9
TRUST, CLIP_NORM = 0.001, 10.0
DROPOUT = 0.1            # share of the chain `dropout`
FIRST_STEPS = 8          # of a recurrent layer, that numpy computes


def normal(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def distinct_neighbours(rng, count, length, symbols):
    """int64 [count, length] of 1..symbols - 1, no two neighbours alike: no blank is needed."""
    steps = rng.integers(1, symbols - 1, (count, length))
    return (np.cumsum(steps, axis=1) - 1) % (symbols - 1) + 1


# Inputs: of (problem, direction, rng).


def _gemm_inputs(p, direction, rng):
    a = (p.k, p.m) if p.transpose_a else (p.m, p.k)
    b = (p.n, p.k) if p.transpose_b else (p.k, p.n)
    found = {"a": normal(rng, p.batch, *a), "b": normal(rng, p.batch, *b)}
    if p.sparsity:
        found["a"] *= rng.random(found["a"].shape, dtype=np.float32) >= p.sparsity
    if p.accumulates:
        found["c"] = normal(rng, p.batch, p.m, p.n)
    return found


def _convolution_inputs(p, direction, rng):
    arrays = {"x": (p.batch, p.channels, p.height, p.width),
              "weight": (p.filters, p.channels, p.kernel_height, p.kernel_width),
              "g": (p.batch, p.filters, p.output_height(), p.output_width())}
    needed = {FORWARD: ("x", "weight"), INPUTS: ("weight", "g"), WEIGHTS: ("x", "g")}[direction]
    return {name: normal(rng, *arrays[name]) for name in needed}


def _recurrent_inputs(p, direction, rng):
    ways, rows = 1 + p.bidirectional, GATES[p.cell] * p.hidden
    scale = np.float32(0.5 / math.sqrt(p.hidden))
    found = {"x": normal(rng, p.steps, p.batch, p.inputs),
             "hidden_weight": scale * normal(rng, ways, rows, p.hidden)}
    if p.projects:
        found |= {"input_weight": scale * normal(rng, ways, rows, p.inputs),
                  "input_bias": scale * normal(rng, ways, rows),
                  "hidden_bias": scale * normal(rng, ways, rows)}
    if direction != FORWARD:
        found["g"] = normal(rng, p.steps, p.batch, ways * p.hidden)
    return found


def _attention_inputs(p, direction, rng):
    found = {"q": normal(rng, p.batch, p.heads, p.queries, p.size),
             "k": normal(rng, p.batch, p.heads, p.keys, p.size),
             "v": normal(rng, p.batch, p.heads, p.keys, p.size)}
    if p.masked:
        lengths = rng.integers((p.keys + 1) // 2, p.keys + 1, p.batch)
        there = np.arange(p.keys) < lengths[:, None]
        found["mask"] = np.where(there, 0.0, MASKED).astype(np.float32)[:, None, None]
    if direction != FORWARD:
        found["g"] = normal(rng, p.batch, p.heads, p.queries, p.size)
    return found


def _embedding_inputs(p, direction, rng):
    found = {"indices": rng.integers(0, p.rows, p.lookups)}
    if direction == FORWARD:
        return found | {"table": normal(rng, p.rows, p.size)}
    return found | {"g": normal(rng, p.lookups, p.size)}


def _softmax_inputs(p, direction, rng):
    return {"logits": normal(rng, p.rows, p.classes),
            "labels": rng.integers(0, p.classes, p.rows)}


def _ctc_inputs(p, direction, rng):
    return {"logits": normal(rng, p.steps, p.batch, p.symbols),
            "labels": distinct_neighbours(rng, p.batch, p.labels, p.symbols)}


def _batch_norm_inputs(p, direction, rng):
    return _norm_inputs((p.batch, p.channels, p.height, p.width), p.channels, direction, rng)


def _layer_norm_inputs(p, direction, rng):
    return _norm_inputs((p.rows, p.size), p.size, direction, rng)


def _norm_inputs(shape, features, direction, rng):
    found = {"x": normal(rng, *shape), "weight": normal(rng, features)}
    if direction == FORWARD:
        return found | {"bias": normal(rng, features)}
    return found | {"g": normal(rng, *shape)}


def _pooling_inputs(p, direction, rng):
    found = {"x": normal(rng, p.batch, p.channels, p.height, p.width)}
    if direction != FORWARD:
        found["g"] = normal(rng, p.batch, p.channels, p.output_height(), p.output_width())
    return found


def _roi_align_inputs(p, direction, rng):
    """cells: [cells of all maps, channels].  Each bin is the weighed sum of the corners around its
    points: places, rows of cells, and weights, both [bins, 4 samples^2]."""
    cells = p.batch * sum(height * width for height, width in p.maps)
    places = np.empty((p.batch, p.regions, p.bins, p.bins, p.samples, p.samples, 4), np.int64)
    weights = np.empty(places.shape, np.float32)
    starts = np.cumsum([0] + [p.batch * height * width for height, width in p.maps])
    for picture in range(p.batch):
        for region in range(p.regions):
            level = rng.integers(len(p.maps))
            height, width = p.maps[level]
            axes = []
            for size in (height, width):
                low, high = np.sort(rng.random(2)) * (size - 1)
                at = low + (np.arange(p.bins * p.samples) + 0.5) / (p.bins * p.samples) * (
                    high - low)
                first = np.floor(at).astype(np.int64)
                second = np.minimum(first + 1, size - 1)
                axes.append((np.stack([first, second], 1).reshape(p.bins, p.samples, 2),
                             np.stack([1 - (at - first), at - first], 1).reshape(
                                 p.bins, p.samples, 2)))
            (rows, down), (columns, across) = axes
            row = rows[:, None, :, None, :, None]          # [bins, 1, samples, 1, 2, 1]
            column = columns[None, :, None, :, None, :]
            start = starts[level] + picture * height * width
            shape = (*places.shape[2:6], 4)
            places[picture, region] = (start + row * width + column).reshape(shape)
            product = down[:, None, :, None, :, None] * across[None, :, None, :, None, :]
            weights[picture, region] = product.reshape(shape) / p.samples**2
    bins = p.batch * p.regions * p.bins**2
    found = {"places": places.reshape(bins, -1), "weights": weights.reshape(bins, -1)}
    if direction == FORWARD:
        return found | {"cells": normal(rng, cells, p.channels)}
    return found | {"g": normal(rng, bins, p.channels)}


def _suppression_inputs(p, direction, rng):
    """boxes: x1, y1, x2, y2, by falling score."""
    corners = 100.0 * rng.random((p.batch, p.boxes, 2), dtype=np.float32)
    sides = 20.0 * rng.random((p.batch, p.boxes, 2), dtype=np.float32) + 1.0
    scores = -np.sort(-rng.random((p.batch, p.boxes), dtype=np.float32), axis=1)
    return {"boxes": np.concatenate([corners, corners + sides], axis=2), "scores": scores}


def _top_k_inputs(p, direction, rng):
    return {"x": normal(rng, p.rows, p.columns)}


def _elementwise_inputs(p, direction, rng):
    names = {"add": "ab", "add_relu": "ab", "product": "ab"}.get(p.name, "x")
    found = {name: normal(rng, p.size) for name in names}
    if p.name == "clip":
        found["x"] *= np.float32(CLIP)
        found["x"][abs(found["x"] - CLIP) < CLIP / 50] += 1.0  # at the bound it has two slopes
    if p.name == "sigmoid_cross_entropy":
        found["labels"] = rng.integers(0, 2, p.size).astype(np.float32)
    elif direction != FORWARD:
        found["g"] = normal(rng, p.size)
        if p.name == "dropout":
            return {"g": found["g"], "mask": rng.random(p.size) >= DROPOUT}
    return found


def _optimizer_inputs(p, direction, rng):
    """Lists of tensors, flat.  first, second: the sums that the method keeps."""
    sums = ("first", "second") if p.method == "adam" else ("first",)
    found = {name: [normal(rng, size) for size in p.sizes]
             for name in ("weights", "gradients", *sums)}
    if "second" in found:
        found["second"] = [np.abs(array) for array in found["second"]]
    return found


def _all_reduce_inputs(p, direction, rng):
    return {"x": normal(rng, p.size)}


# Values: of (problem, direction, {name: float64 or int64 array}).


def _gemm_values(p, direction, x):
    a = x["a"].swapaxes(1, 2) if p.transpose_a else x["a"]
    b = x["b"].swapaxes(1, 2) if p.transpose_b else x["b"]
    return {"c": a @ b + x.get("c", 0.0)}


def _convolution_values(p, direction, x):
    height, width = p.output_height(), p.output_width()
    pads = ((0, 0), (0, 0), (p.pad_height, p.pad_height), (p.pad_width, p.pad_width))

    def seen(padded, row, column):
        """What a place of the kernel meets, a view: [batch, channels, height, width] of outputs."""
        return padded[:, :, row : row + (height - 1) * p.stride_height + 1 : p.stride_height,
                      column : column + (width - 1) * p.stride_width + 1 : p.stride_width]

    places = [(row, column) for row in range(p.kernel_height) for column in range(p.kernel_width)]
    if direction == FORWARD:
        padded = np.pad(x["x"], pads)
        found = sum(np.einsum("bchw,fc->bfhw", seen(padded, *at), x["weight"][:, :, *at],
                              optimize=True) for at in places)
        return {"y": found}
    if direction == WEIGHTS:
        padded = np.pad(x["x"], pads)
        found = np.empty((p.filters, p.channels, p.kernel_height, p.kernel_width))
        for at in places:
            found[:, :, *at] = np.einsum("bchw,bfhw->fc", seen(padded, *at), x["g"], optimize=True)
        return {"weight": found}
    padded = np.pad(np.zeros((p.batch, p.channels, p.height, p.width)), pads)
    for at in places:
        seen(padded, *at)[...] += np.einsum("bfhw,fc->bchw", x["g"], x["weight"][:, :, *at],
                                            optimize=True)
    return {"x": padded[:, :, p.pad_height : p.pad_height + p.height,
                        p.pad_width : p.pad_width + p.width]}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _recurrent_values(p, direction, x):
    """Gates as in PyTorch: reset, update, new; or input, forget, cell, output."""
    outputs, gradients = [], []
    for way in range(1 + p.bidirectional):
        flip = slice(None, None, -1) if way else slice(None)
        own = {name: array[way] for name, array in x.items() if name not in ("x", "g")}
        part = slice(way * p.hidden, (way + 1) * p.hidden)
        g = x["g"][flip, :, part] if "g" in x else None
        out, found = _one_way(p, own, x["x"][flip], g)
        outputs.append(out[flip])
        if found:
            found["x"] = found["x"][flip]
            gradients.append(found)
    if direction == FORWARD:
        return {"y": np.concatenate(outputs, axis=2)}
    return {name: sum(one["x"] for one in gradients) if name == "x"
            else np.stack([one[name] for one in gradients]) for name in gradients[0]}


def _one_way(p, own, x, g):
    """(outputs, {name: gradient}); g: None of no gradients."""
    gates, hidden = GATES[p.cell], p.hidden
    act, slope = np.tanh, lambda y: 1.0 - y * y
    if p.relu:
        act, slope = lambda y: np.maximum(y, 0.0), lambda y: (y > 0.0) * 1.0

    def split(array):
        return np.split(array, gates, axis=1)

    rows = np.zeros(gates * hidden)
    h, c, steps, outputs = (np.zeros((p.batch, hidden)), np.zeros((p.batch, hidden)), [], [])
    for t in range(p.steps):
        given = x[t] @ own["input_weight"].T + own["input_bias"] if p.projects else np.tile(
            x[t], gates)
        kept = h @ own["hidden_weight"].T + own.get("hidden_bias", rows)
        before = h, c
        if p.cell == "vanilla":
            h = new = act(given + kept)
            values = (new,)
        elif p.cell == "gru":
            reset, update = (sigmoid(i + k) for i, k in zip(split(given)[:2], split(kept)[:2]))
            last = split(kept)[2]
            new = act(split(given)[2] + reset * last)
            h = (1.0 - update) * new + update * h
            values = reset, update, new, last
        else:
            i, f, n, o = split(given + kept)
            i, f, n, o = sigmoid(i), sigmoid(f), np.tanh(n), sigmoid(o)
            c = f * c + i * n
            h = o * np.tanh(c)
            values = i, f, n, o, np.tanh(c)
        steps.append((before, values))
        outputs.append(h)
    if g is None:
        return np.stack(outputs), None
    found = {name: np.zeros_like(array) for name, array in own.items()} | {"x": np.zeros_like(x)}
    dh, dc = np.zeros((p.batch, hidden)), np.zeros((p.batch, hidden))
    for t in reversed(range(p.steps)):
        (h, c), values = steps[t]
        dh = dh + g[t]
        if p.cell == "vanilla":
            of_given = of_kept = dh * slope(values[0])
            dh = 0.0
        elif p.cell == "gru":
            reset, update, new, last = values
            of_new = dh * (1.0 - update) * slope(new)
            of_reset = of_new * last * reset * (1.0 - reset)
            of_update = dh * (h - new) * update * (1.0 - update)
            of_given = np.concatenate([of_reset, of_update, of_new], axis=1)
            of_kept = np.concatenate([of_reset, of_update, of_new * reset], axis=1)
            dh = dh * update
        else:
            i, f, n, o, act_c = values
            dc = dc + dh * o * (1.0 - act_c**2)
            of_given = of_kept = np.concatenate(
                [dc * n * i * (1.0 - i), dc * c * f * (1.0 - f), dc * i * (1.0 - n * n),
                 dh * act_c * o * (1.0 - o)], axis=1)
            dc, dh = dc * f, 0.0
        dh = dh + of_kept @ own["hidden_weight"]
        found["hidden_weight"] += of_kept.T @ h
        if p.projects:
            found["input_weight"] += of_given.T @ x[t]
            found["input_bias"] += of_given.sum(0)
            found["hidden_bias"] += of_kept.sum(0)
            found["x"][t] = of_given @ own["input_weight"]
        else:
            found["x"][t] = sum(split(of_given))
    return np.stack(outputs), found


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _attention_values(p, direction, x):
    scale = 1.0 / math.sqrt(p.size)
    scores = scale * x["q"] @ x["k"].swapaxes(2, 3) + x.get("mask", 0.0)
    if p.causal:
        scores = np.where(np.tri(p.queries, p.keys, dtype=bool), scores, -np.inf)
    weights = softmax(scores)
    if direction == FORWARD:
        return {"y": weights @ x["v"]}
    of_weights = x["g"] @ x["v"].swapaxes(2, 3)
    of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdims=True)) * scale
    return {"q": of_scores @ x["k"], "k": of_scores.swapaxes(2, 3) @ x["q"],
            "v": weights.swapaxes(2, 3) @ x["g"]}


def _embedding_values(p, direction, x):
    if direction == FORWARD:
        return {"y": x["table"][x["indices"]]}
    found = np.zeros((p.rows, p.size))
    np.add.at(found, x["indices"], x["g"])
    return {"table": found}


def _softmax_values(p, direction, x):
    aims = np.eye(p.classes)[x["labels"]]
    if p.smoothed:
        aims = (1.0 - SMOOTHING) * aims + SMOOTHING / p.classes
    if direction == FORWARD:
        return {"losses": -(aims * np.log(softmax(x["logits"]))).sum(1)}
    return {"logits": softmax(x["logits"]) - aims}  # of the sum of all losses


def _ctc_values(p, direction, x):
    """Graves et al. 2006, sec. 4: forward and backward sums over the labels with blanks between."""
    probabilities = softmax(x["logits"])                       # [T, B, S]
    logs = np.log(probabilities)
    states = np.zeros((p.batch, 2 * p.labels + 1), np.int64)   # the blank is 0
    states[:, 1::2] = x["labels"]
    each = np.arange(p.batch)[:, None]
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]

    def run(logs, states, skips):
        """Log sums of all ways from the start to each state, with the state's own: [T, B, 2 L + 1].
        """
        found = np.full((p.steps, *states.shape), -np.inf)
        found[0, :, :2] = logs[0, each, states][:, :2]
        for t in range(1, p.steps):
            before = found[t - 1]
            one, two = np.full_like(before, -np.inf), np.full_like(before, -np.inf)
            one[:, 1:], two[:, 2:] = before[:, :-1], before[:, :-2]
            two[~skips] = -np.inf
            found[t] = np.logaddexp(np.logaddexp(before, one), two) + logs[t, each, states]
        return found

    forward = run(logs, states, skips)
    total = np.logaddexp(forward[-1, :, -1], forward[-1, :, -2])    # [B]
    if direction == FORWARD:
        return {"losses": -total}
    turned = np.zeros_like(skips)  # from the other end: a skip to a state is one from it
    turned[:, 2:] = skips[:, ::-1][:, :-2]
    backward = run(logs[::-1], states[:, ::-1], turned)[::-1, :, ::-1]
    own = logs[:, each, states]                                      # [T, B, 2 L + 1]
    shares = np.exp(forward + backward - own - total[:, None])
    found = probabilities.copy()
    for state in range(states.shape[1]):
        found[:, each[:, 0], states[:, state]] -= shares[:, :, state]
    return {"logits": found}


def _batch_norm_values(p, direction, x):
    return _norm_values(x, (0, 2, 3), (1, p.channels, 1, 1), (0, 2, 3), direction)


def _layer_norm_values(p, direction, x):
    return _norm_values(x, (1,), (1, p.size), (0,), direction)


def _norm_values(x, axes, shape, shared, direction):
    """axes: of one mean.  shared: over which one weight is."""
    deviation = np.sqrt(x["x"].var(axis=axes, keepdims=True) + EPSILON)
    normed = (x["x"] - x["x"].mean(axis=axes, keepdims=True)) / deviation
    weight = x["weight"].reshape(shape)
    if direction == FORWARD:
        return {"y": normed * weight + x["bias"].reshape(shape)}
    g = x["g"] * weight
    found = g - g.mean(axis=axes, keepdims=True)
    found = found - normed * (g * normed).mean(axis=axes, keepdims=True)
    return {"x": found / deviation, "weight": (x["g"] * normed).sum(axis=shared),
            "bias": x["g"].sum(axis=shared)}


def _pooling_values(p, direction, x):
    pads = ((0, 0), (0, 0), (p.pad_before, p.pad_after), (p.pad_before, p.pad_after))
    padded = np.pad(x["x"], pads, constant_values=-np.inf if p.greatest else 0.0)
    height, width = p.output_height(), p.output_width()
    views = [(slice(row, row + (height - 1) * p.stride_height + 1, p.stride_height),
              slice(column, column + (width - 1) * p.stride_width + 1, p.stride_width))
             for row in range(p.kernel_height) for column in range(p.kernel_width)]
    windows = np.stack([padded[:, :, *view] for view in views])
    if direction == FORWARD:
        return {"y": windows.max(0) if p.greatest else windows.mean(0)}
    found, best = np.zeros_like(padded), windows.argmax(0)
    for index, view in enumerate(views):
        found[:, :, *view] += x["g"] * (best == index) if p.greatest else x["g"] / len(views)
    return {"x": found[:, :, p.pad_before : p.pad_before + p.height,
                       p.pad_before : p.pad_before + p.width]}


def _roi_align_values(p, direction, x):
    if direction == FORWARD:
        return {"y": np.einsum("bsc,bs->bc", x["cells"][x["places"]], x["weights"])}
    cells = p.batch * sum(height * width for height, width in p.maps)
    found = np.zeros((cells, x["g"].shape[1]))
    for corner in range(x["places"].shape[1]):
        np.add.at(found, x["places"][:, corner], x["weights"][:, corner, None] * x["g"])
    return {"cells": found}


def _suppression_values(p, direction, x):
    kept = np.zeros((p.batch, p.boxes), bool)
    for picture, boxes in enumerate(x["boxes"]):
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        for index, box in enumerate(boxes):
            before = np.flatnonzero(kept[picture, :index])
            sides = np.minimum(box[2:], boxes[before, 2:]) - np.maximum(box[:2], boxes[before, :2])
            shared = np.prod(np.maximum(sides, 0.0), axis=1)
            over = shared / (areas[index] + areas[before] - shared) > p.threshold
            kept[picture, index] = not over.any()
    return {"kept": kept}


def _top_k_values(p, direction, x):
    return {"y": -np.sort(-x["x"], axis=1)[:, : p.k]}


def _elementwise_values(p, direction, x):
    forward, backward = CHAINS[p.name]
    return forward(x) if direction == FORWARD else backward(x)


def _relu(x):
    return {"y": np.maximum(x, 0.0)}


# {name: (forward, backward)} of common.kernels.CHAINS.
CHAINS = {
    "relu": (lambda x: _relu(x["x"]), lambda x: {"x": x["g"] * (x["x"] > 0.0)}),
    "add": (lambda x: {"y": x["a"] + x["b"]}, lambda x: {"a": x["g"], "b": x["g"]}),
    "add_relu": (lambda x: _relu(x["a"] + x["b"]),
                 lambda x: {"a": x["g"] * (x["a"] + x["b"] > 0.0)}),  # and b's, the same
    "clip": (lambda x: {"y": np.clip(x["x"], 0.0, CLIP)},
             lambda x: {"x": x["g"] * ((x["x"] > 0.0) & (x["x"] < CLIP))}),
    "elu": (lambda x: {"y": np.where(x["x"] > 0.0, x["x"], np.expm1(x["x"]))},
            lambda x: {"x": x["g"] * np.where(x["x"] > 0.0, 1.0, np.exp(x["x"]))}),
    "product": (lambda x: {"y": x["a"] * x["b"]},
                lambda x: {"a": x["g"] * x["b"], "b": x["g"] * x["a"]}),
    # What is dropped is the kernel's own draw, which it gives beside.
    "dropout": (lambda x: {"y": x["x"] * x["mask"] / (1.0 - DROPOUT)},
                lambda x: {"x": x["g"] * x["mask"] / (1.0 - DROPOUT)}),
    "sigmoid_cross_entropy": (
        lambda x: {"y": np.logaddexp(0.0, x["x"]) - x["labels"] * x["x"]},
        lambda x: {"x": sigmoid(x["x"]) - x["labels"]}),
}  # fmt: skip


def _optimizer_values(p, direction, x):
    """The step is the first; rates and shares are constants above.  norms: of whole tensors."""
    norms = x["norms"]  # {name: [of each tensor]}
    total = math.sqrt(sum(norm**2 for norm in norms["gradients"]))
    found = {"weights": [], "first": []} | ({"second": []} if p.method == "adam" else {})
    for index, (w, g, v) in enumerate(zip(x["weights"], x["gradients"], x["first"])):
        if p.method == "adam":
            first = BETAS[0] * v + (1.0 - BETAS[0]) * g
            second = BETAS[1] * x["second"][index] + (1.0 - BETAS[1]) * g * g
            w = w - RATE * (first / (1.0 - BETAS[0])) / (
                np.sqrt(second / (1.0 - BETAS[1])) + ADAM_EPSILON)
            found["second"].append(second)
        elif p.method == "lars":
            trust = TRUST * norms["weights"][index] / (
                norms["gradients"][index] + DECAY * norms["weights"][index])
            first = SHARE * v + RATE * trust * (g + DECAY * w)
            w = w - first
        elif p.method == "nesterov":
            g = g * min(1.0, CLIP_NORM / (total + 1e-6))
            first = SHARE * v + g
            w = w - RATE * (g + SHARE * first)
        else:
            first = SHARE * v + g + DECAY * w
            w = w - RATE * first
        found["weights"].append(w)
        found["first"].append(first)
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def _all_reduce_values(p, direction, x):
    """Each process has the same numbers times its rank + 1."""
    return {"x": x["x"] * (p.processes * (p.processes + 1) / 2)}


# Parts: of (problem, direction, arrays, rng).  They return (problem, arrays, {output: index}).


def some(rng, count, most):
    """At most `most` of `count` places, sorted."""
    return np.sort(rng.choice(count, min(most, count), replace=False))


def _gemm_part(p, direction, x, rng):
    batch, rows, columns = rng.integers(p.batch), some(rng, p.m, 32), some(rng, p.n, 32)
    own = {"a": x["a"][batch][:, rows] if p.transpose_a else x["a"][batch][rows],
           "b": x["b"][batch][columns] if p.transpose_b else x["b"][batch][:, columns]}
    at = np.ix_([batch], rows, columns)
    if "c" in x:
        own["c"] = x["c"][at][0]
    small = replace(p, m=len(rows), n=len(columns), batch=1)
    return small, {name: array[None] for name, array in own.items()}, {"c": at}


def _convolution_part(p, direction, x, rng):
    """Of one picture, two channels or filters; a weight needs all pictures."""
    batch = slice(None) if direction == WEIGHTS else slice(at := rng.integers(p.batch), at + 1)
    channels = slice(None) if direction == FORWARD else some(rng, p.channels, 2)
    filters = slice(None) if direction == INPUTS else some(rng, p.filters, 2)
    own = {"x": lambda a: a[batch][:, channels], "weight": lambda a: a[filters][:, channels],
           "g": lambda a: a[batch][:, filters]}
    own = {name: own[name](array) for name, array in x.items()}
    picked = {"y": (batch, filters), "x": (batch, channels)}
    if direction == WEIGHTS:
        picked = {"weight": np.ix_(filters, channels)}
    small = replace(p, batch=len(range(p.batch)[batch]),
                    channels=p.channels if direction == FORWARD else len(channels),
                    filters=p.filters if direction == INPUTS else len(filters))
    return small, own, picked


def _recurrent_part(p, direction, x, rng):
    """The first steps of the first way.  Backward: see check_inputs; of two of the batch."""
    steps, two = min(FIRST_STEPS, p.steps), some(rng, p.batch, 2)
    every = slice(None) if direction != FORWARD else two
    own = {name: array[:1] for name, array in x.items() if name not in ("x", "g")}
    own["x"] = x["x"][:steps, every]
    if "g" in x:
        own["g"] = x["g"][:steps, :, : p.hidden]
    small = replace(p, steps=steps, batch=own["x"].shape[1], bidirectional=False)
    picked = {name: slice(0, 1) for name in own if name not in ("x", "g")}
    if direction == FORWARD:
        picked["y"] = (slice(0, steps), every, slice(0, p.hidden))
    else:
        picked["x"] = slice(0, steps)
    return small, own, picked


def _attention_part(p, direction, x, rng):
    batch, head = rng.integers(p.batch), rng.integers(p.heads)
    at = slice(batch, batch + 1), slice(head, head + 1)
    own = {name: array[at[0]] if name == "mask" else array[at] for name, array in x.items()}
    return replace(p, batch=1, heads=1), own, dict.fromkeys(("y", "q", "k", "v"), at)


def _embedding_part(p, direction, x, rng):
    if direction == FORWARD:
        at = some(rng, p.lookups, 1000)
        return replace(p, lookups=len(at)), x | {"indices": x["indices"][at]}, {"y": at}
    rows = np.unique(x["indices"][some(rng, p.lookups, 100)])
    at = np.flatnonzero(np.isin(x["indices"], rows))
    own = {"indices": np.searchsorted(rows, x["indices"][at]), "g": x["g"][at]}
    return replace(p, rows=len(rows), lookups=len(at)), own, {"table": rows}


def _softmax_part(p, direction, x, rng):
    at = some(rng, p.rows, 16)
    own = {name: array[at] for name, array in x.items()}
    return replace(p, rows=len(at)), own, {"losses": at, "logits": at}


def _ctc_part(p, direction, x, rng):
    at = some(rng, p.batch, 1)
    own = {"logits": x["logits"][:, at], "labels": x["labels"][at]}
    return replace(p, batch=1), own, {"losses": at, "logits": (slice(None), at)}


def _channels_part(p, direction, x, rng):
    at = some(rng, p.channels, 2)
    own = {name: array[at] if array.ndim == 1 else array[:, at] for name, array in x.items()}
    picked = {"y": (slice(None), at), "x": (slice(None), at), "weight": at, "bias": at}
    return replace(p, channels=len(at)), own, picked


def _pooling_part(p, direction, x, rng):
    batch, channels = some(rng, p.batch, 2), some(rng, p.channels, 2)
    at = np.ix_(batch, channels)
    own = {name: array[at] for name, array in x.items()}
    return replace(p, batch=len(batch), channels=len(channels)), own, {"y": at, "x": at}


def _roi_align_part(p, direction, x, rng):
    if direction == FORWARD:
        at = some(rng, len(x["places"]), 1000)
        return p, x | {"places": x["places"][at], "weights": x["weights"][at]}, {"y": at}
    at = some(rng, p.channels, 2)
    return p, x | {"g": x["g"][:, at]}, {"cells": (slice(None), at)}


def _suppression_part(p, direction, x, rng):
    at = some(rng, p.batch, 1)
    return replace(p, batch=1), {name: array[at] for name, array in x.items()}, {"kept": at}


def _top_k_part(p, direction, x, rng):
    at = some(rng, p.rows, 2)
    return replace(p, rows=len(at)), {"x": x["x"][at]}, {"y": at}


def _elementwise_part(p, direction, x, rng):
    at = some(rng, p.size, 10000) if p.size < 10**6 else rng.integers(0, p.size, 10000)
    own = {name: array[at] for name, array in x.items()}
    return replace(p, size=len(at)), own, dict.fromkeys(("x", "y", "a", "b", "mask"), at)


def _optimizer_part(p, direction, x, rng):
    """Some numbers of each tensor; found has all tensors, one after the other."""
    places = [some(rng, size, 100) for size in p.sizes]
    starts = np.cumsum([0, *p.sizes[:-1]])
    own = {name: [array[at] for array, at in zip(arrays, places)] for name, arrays in x.items()}
    own["norms"] = _norms(x)
    at = np.concatenate([start + place for start, place in zip(starts, places)])
    return p, own, dict.fromkeys(("weights", "first", "second"), at)


def _norms(x):
    return {name: [math.sqrt(np.square(array, dtype=np.float64).sum()) for array in x[name]]
            for name in ("weights", "gradients")}


def _whole(p, direction, x, rng):
    return p, x, {}


@dataclass(frozen=True)
class Kind:
    """The three functions of a kind of problems."""

    inputs: object
    values: object
    part: object


KINDS = {
    "gemm": Kind(_gemm_inputs, _gemm_values, _gemm_part),
    "convolution": Kind(_convolution_inputs, _convolution_values, _convolution_part),
    "recurrent": Kind(_recurrent_inputs, _recurrent_values, _recurrent_part),
    "attention": Kind(_attention_inputs, _attention_values, _attention_part),
    "embedding": Kind(_embedding_inputs, _embedding_values, _embedding_part),
    "softmax_cross_entropy": Kind(_softmax_inputs, _softmax_values, _softmax_part),
    "ctc": Kind(_ctc_inputs, _ctc_values, _ctc_part),
    "batch_norm": Kind(_batch_norm_inputs, _batch_norm_values, _channels_part),
    "layer_norm": Kind(_layer_norm_inputs, _layer_norm_values, _whole),
    "pooling": Kind(_pooling_inputs, _pooling_values, _pooling_part),
    "roi_align": Kind(_roi_align_inputs, _roi_align_values, _roi_align_part),
    "suppression": Kind(_suppression_inputs, _suppression_values, _suppression_part),
    "top_k": Kind(_top_k_inputs, _top_k_values, _top_k_part),
    "elementwise": Kind(_elementwise_inputs, _elementwise_values, _elementwise_part),
    "optimizer": Kind(_optimizer_inputs, _optimizer_values, _optimizer_part),
    "all_reduce": Kind(_all_reduce_inputs, _all_reduce_values, _whole),
}


def inputs(problem, direction, seed=0):
    """{name: array}, random; floats float32.  Of an optimizer, lists of arrays."""
    return KINDS[problem.kind].inputs(problem, direction, np.random.default_rng(seed))


def check_inputs(problem, direction, arrays):
    """The arrays that a large problem is checked on: all but a recurrent layer's g are the same.

    What its last steps do reaches the first ones, so all would have to be computed again in numpy.
    Where the gradient is 0 behind the first steps, and for the way back, only these have a share.
    """
    if problem.kind != "recurrent" or "g" not in arrays:
        return arrays
    g = np.zeros_like(arrays["g"])
    steps = min(FIRST_STEPS, problem.steps)
    g[:steps, :, : problem.hidden] = arrays["g"][:steps, :, : problem.hidden]
    return arrays | {"g": g}


def values(problem, direction, arrays):
    """{name: float64 array} that the problem must give."""
    if problem.kind == "optimizer" and "norms" not in arrays:
        arrays = arrays | {"norms": _norms(arrays)}
    return KINDS[problem.kind].values(problem, direction, _wide(arrays))


def _wide(value):
    if isinstance(value, dict):
        return {name: _wide(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_wide(one) for one in value]
    return value.astype(np.float64) if getattr(value, "dtype", None) == np.float32 else value


def part(problem, direction, arrays, seed=0):
    """(problem, arrays, pick): a part that numpy computes soon; pick(found) has its places."""
    rng = np.random.default_rng(seed)
    small, own, places = KINDS[problem.kind].part(problem, direction, arrays, rng)

    def pick(found):
        return {name: array[places[name]] if name in places else array
                for name, array in found.items()}

    return small, own, pick


def checked(problem):
    """The problem whose values are compared: without dropout within, which nobody sees."""
    return replace(problem, dropout=0.0) if getattr(problem, "dropout", 0.0) else problem


def drawn(arrays, found):
    """The inputs with what a kernel drew and gave beside: the mask of the chain `dropout`."""
    return arrays | {"mask": found["mask"]} if "mask" in found else arrays


def without_draws(found):
    """What a kernel gave without what it drew.  Raises ValueError for a draw of other shares."""
    if "mask" not in found:
        return found
    mask = found["mask"]
    if abs(mask.mean() - (1.0 - DROPOUT)) > 5.0 * math.sqrt(DROPOUT / mask.size):
        raise ValueError(f"dropout keeps {mask.mean():.4f} of its numbers")
    return {name: array for name, array in found.items() if name != "mask"}


def gap(found, expected):
    """The largest difference of a number, as a share of its array's root mean square.

    Infinite where a name, a shape or a number is missing, or is no number.
    """
    if found.keys() != expected.keys():
        return math.inf
    gaps = [0.0]
    for name, array in expected.items():
        if found[name].shape != array.shape or not np.isfinite(found[name]).all():
            return math.inf
        size = math.sqrt(np.square(array, dtype=np.float64).mean())
        difference = np.abs(found[name].astype(np.float64) - array).max()
        gaps.append(difference / size if size else math.inf * difference if difference else 0.0)
    return float(max(gaps))
