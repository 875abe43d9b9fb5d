"""Spectrograms of utterances, as the reference's: log1p of magnitudes, normalised.

N samples, F frames of 161 frequencies.  librosa's stft of that time: centred windows, the ends
reflected.
"""

import numpy as np

WINDOW = 320             # samples, 20 ms
HOP = 160                # samples, 10 ms
NUM_BINS = WINDOW // 2 + 1
MIN_FRAMES = 31          # of which the convolutions make one output frame, see num_steps
MIN_SAMPLES = (MIN_FRAMES - 1) * HOP

HAMMING = np.hamming(WINDOW)  # symmetric, as scipy's function that the reference calls


def num_frames(num_samples):
    """F of N samples; int, or an array of them.  None has fewer than MIN_FRAMES."""
    return 1 + np.maximum(num_samples, MIN_SAMPLES) // HOP


def num_steps(num_frames):
    """T, the output frames of F frames: two convolutions without padding, 11 wide, strides 2, 1."""
    return (num_frames - 11) // 2 + 1 - 10


def spectrogram(samples):
    """float32 [F, 161]: log1p of the magnitudes, minus their mean, over their deviation.

    samples: [N] on the 16-bit scale, -32,768 to 32,767.  F = num_frames(N).
    Mean and deviation (unbiased) are over all frames and frequencies of the utterance.  A silent
    utterance, which has no deviation, gives zeros.  Silence follows one of fewer than MIN_SAMPLES,
    which the reference's network could not take.
    """
    samples = np.asarray(samples, np.float64)
    if len(samples) < MIN_SAMPLES:
        samples = np.pad(samples, (0, MIN_SAMPLES - len(samples)))
    samples = np.pad(samples, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]  # [F, 320]
    logarithms = np.log1p(np.abs(np.fft.rfft(windows * HAMMING)))  # [F, 161]
    logarithms -= logarithms.mean()
    deviation = logarithms.std(ddof=1)
    if deviation > 0:
        logarithms /= deviation
    return logarithms.astype(np.float32)
