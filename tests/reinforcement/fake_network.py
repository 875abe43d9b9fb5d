"""A network whose answer is drawn from what it is shown: alike for equal planes."""

import zlib

import numpy as np


def answer(planes):
    """(float32 [A], float) of one position, uint8 [S, S, 17]."""
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(planes, np.uint8).tobytes()))
    priors = rng.dirichlet(np.full(planes.shape[0] ** 2 + 1, 0.5)).astype(np.float32)
    return priors, np.round(rng.uniform(-0.9, 0.9) * 2**24) / 2**24


def evaluate(planes):
    """(priors [B, A], values [B]) of a batch."""
    priors, values = zip(*map(answer, planes))
    return np.array(priors), np.array(values)
