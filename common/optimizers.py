"""The optimizers' formulas in numpy, for one tensor: what parity holds a port's own step against.

g is the loss's gradient, w the weight.  Arrays are float64, of any one shape.
"""

import numpy as np


def momentum(w, v, g, rate, share, nesterov=False):
    """v = share v + g, w = w - rate v; nesterov: w - rate (g + share v).  Returns (w, v)."""
    v = share * v + g
    return w - rate * (g + share * v if nesterov else v), v


def adam(w, m, v, g, rate, beta1, beta2, epsilon, step=None):
    """Kingma & Ba 2015, algorithm 1, t = step + 1:

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
    w = w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).

    step: None leaves the bias corrections out: the rate holds them.  Returns (w, m, v).
    """
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    first = second = 1.0
    if step is not None:
        first, second = 1.0 - beta1 ** (step + 1), 1.0 - beta2 ** (step + 1)
    return w - rate * (m / first) / (np.sqrt(v / second) + epsilon), m, v


def adam_step(config, state, gradients, rate, step=None):
    """{group: {name: array}} after a step of `adam` on every tensor of `gradients`.

    config: has adam_beta1, adam_beta2, adam_epsilon.  state: the same before it.
    """
    after = {"parameter": {}, "first_moment": {}, "second_moment": {}}
    for name, g in gradients.items():
        before = [state[group][name] for group in after]
        found = adam(*before, g, rate, config.adam_beta1, config.adam_beta2, config.adam_epsilon,
                     step)  # fmt: skip
        for group, array in zip(after, found):
            after[group][name] = array
    return after
