"""Spectrograms: by hand, against scipy's transform, and at the edges."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from speech_recognition import features
from tests.speech_recognition.sounds import noise


def by_hand(samples):
    """float64 [F, 161], sum by sum, with the window and the reflection written out."""
    window = [0.54 - 0.46 * np.cos(2 * np.pi * n / 319) for n in range(320)]
    last = len(samples) - 1
    rows = []
    for frame in range(1 + len(samples) // 160):
        places = [abs(frame * 160 - 160 + n) for n in range(320)]
        places = [2 * last - place if place > last else place for place in places]
        values = np.array([samples[place] * w for place, w in zip(places, window)])
        turns = np.exp(-2j * np.pi * np.outer(np.arange(161), np.arange(320)) / 320)
        rows.append(np.log(1 + np.abs(turns @ values)))
    rows = np.array(rows)
    centred = rows - rows.mean()
    return centred / np.sqrt((centred**2).sum() / (rows.size - 1))


@pytest.mark.parametrize("length", [4800, 4801, 5119, 5600])
def test_a_spectrogram_by_hand(length):
    samples = noise(0.5)[:length]
    found = features.spectrogram(samples)
    assert found.dtype == np.float32 and found.shape == (features.num_frames(length), 161)
    assert np.abs(found - by_hand(samples.astype(float))).max() < 1e-5


def test_a_spectrogram_by_scipy():
    """scipy's short-time transform, centred and reflected by its own rules."""
    samples = noise(2.0).astype(float)
    transform = scipy.signal.ShortTimeFFT(np.hamming(320), 160, 16000, mfft=320)
    assert np.abs(np.hamming(320) - np.hamming(320)[::-1]).max() < 1e-15  # symmetric
    padded = np.concatenate([samples[160:0:-1], samples, samples[-2:-162:-1]])
    magnitudes = np.abs(transform.stft(padded))
    first = 1 - transform.p_min  # scipy's slice whose middle is sample 160 of what is padded
    expected = np.log1p(magnitudes[:, first : first + 201].T)
    expected = (expected - expected.mean()) / expected.std(ddof=1)
    assert np.abs(features.spectrogram(samples) - expected).max() < 1e-5


def test_a_tone_is_where_it_should_be():
    tone = 10_000 * np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000)
    assert (features.spectrogram(tone)[2:-2].argmax(axis=1) == 40).all()  # 50 Hz a bin


def test_counts_of_the_reference():
    """The fact sheet's check values: 1 s, 16 s and 35 s."""
    frames = [int(features.num_frames(seconds * 16000)) for seconds in (1, 16, 35)]
    assert frames == [101, 1601, 3501]
    assert [features.num_steps(count) for count in frames] == [36, 786, 1736]


@given(st.integers(1, 5000))
def test_the_shortest_utterances_have_one_output_frame(length):
    samples = np.arange(length)
    found = features.spectrogram(samples)
    assert len(found) == features.num_frames(length) == 31 + max(0, length // 160 - 30)
    assert features.num_steps(len(found)) >= 1 > features.num_steps(features.MIN_FRAMES - 1)
    assert np.isfinite(found).all()


def test_each_utterance_is_normalised():
    found = features.spectrogram(noise(1.0)).astype(float)
    assert abs(found.mean()) < 1e-6 and found.std(ddof=1) == pytest.approx(1.0, abs=1e-6)
    louder = features.spectrogram(noise(1.0).astype(float) * 4).astype(float)
    assert 0 < np.abs(found - louder).max() < 0.5  # log1p, not log: loudness is seen a little


def test_silence_gives_zeros():
    assert not features.spectrogram(np.zeros(9000, np.int16)).any()
