"""What the three networks share and need no framework for: mask, positions, smoothed labels, and
whose dropout it is.
"""

import math

import numpy as np

MASKED = -1e9  # added to the score of a place that holds no piece


def positions(length, size):
    """float64 [length, size]: sines in the first half, cosines in the second.

    The paper's section 3.5 as the reference has it: wavelengths from 2 pi to 20,000 pi, the first
    and the last of them met exactly, sines and cosines behind each other.
    """
    scales = np.exp(-np.log(10_000.0) * np.arange(size // 2) / (size // 2 - 1))
    angles = np.arange(length)[:, None] * scales
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def smoothed_label(vocabulary_size, smoothing):
    """Label smoothing, sec. 5.4: each wrong piece's share of the label, and the label's entropy.

    The entropy is the least that a cross-entropy against the smoothed label can be; the reference
    takes it off each place's loss.
    """
    other = smoothing / (vocabulary_size - 1)
    entropy = -(1.0 - smoothing) * math.log(1.0 - smoothing)
    if smoothing:
        entropy -= smoothing * math.log(other)
    return other, entropy


class GivenMasks:
    """Dropout by given masks, one for each place in forward order.

    Each framework draws its own; on given ones they can be compared.
    """

    def __init__(self, masks, share):
        self.share = share
        self.next = iter(masks).__next__


def dropout_of(config, batch):
    """The share that training drops, or the GivenMasks of a batch that brings its own."""
    masks = [batch[name] for name in sorted(batch) if name.startswith("mask_")]
    return GivenMasks(masks, config.dropout) if masks else config.dropout
