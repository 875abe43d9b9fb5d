"""Deep Speech 2 by its definition, in numpy and float64: a batch without what is rounded up."""

import numpy as np

NORM = 1e-5


def convolution(x, weight, bias, stride):
    """x: [B, C, frequency, time].  weight: [out, C, height, width].  No padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    return np.einsum("bcftij,ocij->boft", windows, weight) + bias[:, None, None]


def batch_norm(x, parameters, name, axis, moved):
    """Over all axes but one.  moved: {name: statistic after the step}, filled; None: evaluation."""
    others = tuple(a for a in range(x.ndim) if a != axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    weight, bias, mean, var = (
        parameters[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    if moved is not None:
        count = x.size // x.shape[axis]
        old, (mean, var) = (mean, var), (x.mean(others), x.var(others))
        moved[f"{name}.running_mean"] = 0.9 * old[0] + 0.1 * mean
        moved[f"{name}.running_var"] = 0.9 * old[1] + 0.1 * var * count / (count - 1)
    mean, var, weight, bias = (v.reshape(shape) for v in (mean, var, weight, bias))
    return (x - mean) / np.sqrt(var + NORM) * weight + bias


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def recurrent(x, input_weight, input_bias, hidden_weight, hidden_bias):
    """One direction.  x: [T, B, in].  Returns [T, B, H]."""
    states, state = [], np.zeros((x.shape[1], hidden_weight.shape[1]))
    for now in x:
        r, z, n = np.split(now @ input_weight.T + input_bias, 3, axis=1)
        hr, hz, hn = np.split(state @ hidden_weight.T + hidden_bias, 3, axis=1)
        r, z = sigmoid(r + hr), sigmoid(z + hz)
        n = np.tanh(n + r * hn)
        state = (1.0 - z) * n + z * state
        states.append(state)
    return np.stack(states)


def network(config, parameters, batch, training=True):
    """({point: array}, {statistic: its value after the step}) of a batch."""
    steps = int(batch["steps"][0])
    frames = 2 * (steps + 10 - 1) + 11
    x = batch["spectrograms"][:, :frames].astype(np.float64).transpose(0, 2, 1)[:, None]
    moved, found = {} if training else None, {}
    for index, stride in enumerate([(2, 2), (2, 1)]):
        name = f"convolutions.{index}"
        x = convolution(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"], stride)
        x = np.clip(batch_norm(x, parameters, f"{name}.norm", 1, moved), 0.0, 20.0)
        found[name] = x
    assert x.shape[3] == steps
    batch_size, channels, frequencies, _ = x.shape
    x = x.reshape(batch_size, channels * frequencies, steps).transpose(2, 0, 1)
    for index in range(config.num_layers):
        name = f"layers.{index}"
        if index and config.norm_between:
            x = batch_norm(x, parameters, f"{name}.norm", 2, moved)
        own = [parameters[f"{name}.{part}"] for part in
               ("input_weight", "input_bias", "hidden_weight", "hidden_bias")]
        y = recurrent(x, *(tensor[0] for tensor in own))
        if config.bidirectional:
            y = y + recurrent(x[::-1], *(tensor[1] for tensor in own))[::-1]
        found[name] = x = y
    found["norm"] = x = batch_norm(x, parameters, "norm", 2, moved)
    found["logits"] = x @ parameters["output.weight"].T
    return found, moved


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def ctc_loss(log_probabilities, labels):
    """-log of the sum over all paths.  log_probabilities: [T, S].  labels: a list.  inf if none."""
    places = [0]
    for label in labels:
        places += [label, 0]
    alphas = np.full(len(places), -np.inf)
    alphas[0] = 0.0  # before the first step, of the first blank or of nothing
    for step, now in enumerate(log_probabilities):
        before, alphas = alphas, np.full(len(places), -np.inf)
        for place, symbol in enumerate(places):
            ways = [before[place]]
            if place:
                ways.append(before[place - 1])
            if place > 1 and symbol and symbol != places[place - 2]:
                ways.append(before[place - 2])
            if step == 0:
                ways = [0.0] if place < 2 else [-np.inf]
            alphas[place] = np.logaddexp.reduce(ways) + now[symbol]
    return -np.logaddexp.reduce(alphas[-2:])


def losses(logits, batch):
    """[loss of each utterance], inf where its labels do not fit.  logits: [T, B, S]."""
    return np.array([
        ctc_loss(log_softmax(logits[:length, row]), [label for label in labels if label])
        for row, (labels, length) in enumerate(zip(batch["labels"], batch["lengths"]))
    ])  # fmt: skip
