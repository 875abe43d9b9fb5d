"""What every application's parameters.py is written with: a parameter's description, seeded values.

Layouts, the same for every framework.  A role says how an adapter turns them into its own:

    weight       [out, in, space...]: a convolution's, or a matrix [out, in]
    activation   [B, C, space...]
    plain        as it is: an embedding [rows, size], a vector, a sequence [B, T, size]
"""

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Parameter:
    """One tensor of a network."""

    shape: tuple[int, ...]
    role: str         # tells an adapter which axes to turn: weight or plain
    initial: str      # a word that the application's initial_value knows
    trained: bool     # False: a moving statistic
    decayed: bool     # weight decay applies


@dataclass(frozen=True)
class Point:
    """An activation that parity compares."""

    role: str         # activation or plain
    meaning: str      # for those who have no Python
    places: str = ""  # tensor of the batch, [B, T]: the activation counts where it is not 0


def ignore(name, activation):
    """The `record` of a network that trains: activations that nobody looks at are not kept."""


def keep(points):
    """A `record` that keeps copies in {name: activation}: what follows may write in place."""
    return lambda name, activation: points.__setitem__(name, activation + 0)


def draw(specification, seed, initial_value):
    """{name: float32 array}: the values that every framework starts from.

    specification: {name: Parameter}.  initial_value(parameter, rng): one parameter's values.
    Each tensor has a stream of its own, so a change to one leaves the others.
    """
    return {
        name: initial_value(parameter, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        for name, parameter in specification.items()
    }


def moved(specification, parameters, seed):
    """Parameters as if trained: each vector moved by a normal of 0.1, so that no scale is 1, no
    offset and no moving mean 0, and no moving variance 1.  {name: float32 array}.
    """
    noise = draw(specification, seed, lambda one, rng: rng.standard_normal(one.shape, np.float32))
    return {name: array + np.float32(0.1) * noise[name] if array.ndim == 1 else array
            for name, array in parameters.items()}


def turned(parameters, layer):
    """The same with a classifier that wants the opposite: an untrained network has one class for
    all examples, and with this one another.  layer: its name.
    """
    names = (f"{layer}.weight", f"{layer}.bias")
    return parameters | {name: -parameters[name] for name in names}


def step_seed(seed, step, rank):
    """The seed of what a process draws in an optimizer step: nothing to save, nothing to resume."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0] >> 1)


def truncated_normal(rng, shape):
    """float64 array of a unit normal, redrawn where it lies beyond two sigma."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(outside.sum())
    return values
