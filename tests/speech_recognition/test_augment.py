"""Tempo and gain: lengths, pitch, identity, clipping; SoX itself where it is installed."""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from speech_recognition import augment, quick_data
from speech_recognition.config import REFERENCE
from tests.speech_recognition.sounds import noise

CONFIG = dataclasses.replace(REFERENCE, seed=3)
tempos = st.integers(850, 1150).map(lambda tempo: tempo / 1000)


@pytest.fixture(scope="module")
def speech():
    """int16: some seconds of generated speech."""
    return np.concatenate([next(quick_data.utterances(split))[3] for split in ("train", "test")])


def peaks(samples):
    """Hz of the strongest frequency, between samples of the spectrum."""
    window = np.hanning(len(samples))
    powers = np.abs(np.fft.rfft(samples * window, 8 * len(samples)))
    return powers.argmax() * 16000 / (8 * len(samples))


@settings(max_examples=40)
@given(st.integers(1, 9000), tempos)
def test_the_length_follows(length, tempo):
    found = augment.change_tempo(noise(0.6)[:length], tempo)
    assert len(found) == int(length / tempo + 0.5) == augment.num_samples(length, tempo)
    assert np.isfinite(found).all() and np.abs(found).max() <= 32768


@settings(max_examples=20)
@given(st.integers(100, 3000), tempos)
def test_the_pitch_stays(hertz, tempo):
    tone = (9000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
    found = augment.change_tempo(tone, tempo)
    # The last segment may lack what follows it.
    assert peaks(found[: len(found) - augment.SEGMENT]) == pytest.approx(hertz, abs=4)


def test_what_comes_when_follows_the_tempo():
    """A click every 0.2 s: WSOLA moves each by its tempo, give or take the search."""
    samples = (noise(2.0) // 100).astype(np.int16)
    clicks = np.arange(1600, 32000, 3200)
    samples[clicks] = 20000
    for tempo in (0.85, 1.15):
        found = augment.change_tempo(samples, tempo)
        heard = np.flatnonzero(found > 9000)
        gaps = np.abs(heard[:, None] - clicks / tempo)
        assert len(heard) and gaps.min(axis=1).max() < 0.15 * augment.SEGMENT + augment.SEARCH / 2


@settings(max_examples=20)
@given(st.integers(1, 5000))
def test_a_tempo_of_one_changes_nothing(length):
    samples = noise(0.4)[:length]
    assert np.array_equal(augment.change_tempo(samples, 1.0), samples)
    # Segment by segment, which tempo 1 leaves out, the best place is where the speech went on.
    padded = np.pad(samples.astype(float), (117, 3000))
    starts = np.arange(-(-length // 1120)) * 1120
    assert np.array_equal(augment.segment_places(padded, starts), starts + 117)


def test_the_best_place_is_the_earliest_of_equal_ones():
    silence = np.zeros(9000)
    starts = np.arange(4) * 1000
    assert augment.segment_places(silence, starts).tolist() == [117, 1000, 2000, 3000]


def plain_tempo(samples, tempo):
    """change_tempo as tempo.c goes about it, sample by sample."""
    queue = [0.0] * 117 + samples.tolist() + [0.0] * 9000
    out, behind, skipped, count = [], None, 0, 0
    while len(out) < int(len(samples) / tempo + 0.5):
        if behind is None:
            place = 117
            out += queue[place : place + 192]
        else:
            costs = [sum((a - b) ** 2 for a, b in zip(queue[n : n + 192], behind))
                     for n in range(235)]
            place = costs.index(min(costs))
            out += [b * (1 - n / 192) + a * (n / 192)
                    for n, (a, b) in enumerate(zip(queue[place : place + 192], behind))]
        out += queue[place + 192 : place + 1120]
        behind = queue[place + 1120 : place + 1312]
        count += 1
        skip = int(tempo * count * 1120 + 0.5) - skipped
        skipped += skip
        queue = queue[skip:]
    return out[: int(len(samples) / tempo + 0.5)]


@settings(max_examples=8)
@pytest.mark.parametrize("share", [1.0, 0.002])
@given(st.integers(0, 10**6), st.integers(1, 6000), tempos)
@example(1, 6000, 0.855)
def test_tempo_is_that_of_a_plain_loop(share, seed, length, tempo):
    """Noise; and clicks in silence, where the first place of all that are tried fits best."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(-32768, 32768, length).astype(np.int16)
    samples[rng.random(length) >= share] = 0
    expected = plain_tempo(samples, tempo)
    assert np.abs(augment.change_tempo(samples, tempo) - expected).max() < 1e-6


def test_gain_by_hand():
    samples = np.array([0.0, 1000.0, -1000.0, 20000.0, -20000.0])
    found = augment.change_gain(samples, 20 * np.log10(2))
    assert found == pytest.approx([0, 2000, -2000, 32767, -32768])
    assert augment.change_gain(samples, -6.0)[1] == pytest.approx(501.187, abs=1e-3)


def test_rounding_adds_a_levels_noise_and_never_wraps():
    rng = np.random.default_rng(0)
    found = augment.to_int16(np.full(200_000, 10.25), rng)
    assert found.dtype == np.int16 and set(np.unique(found)) == {9, 10, 11}
    # The noise is why the mean is right, and the variance that of two uniform ones and rounding.
    assert found.mean() == pytest.approx(10.25, abs=0.01)
    assert found.var() == pytest.approx(3 / 12, abs=0.01)
    assert set(augment.to_int16(np.full(999, 32767.0), rng)) <= {32766, 32767}
    assert set(augment.to_int16(np.full(999, -32768.0), rng)) <= {-32768, -32767}


def test_draws_are_by_seed_epoch_and_utterance_alone():
    drawn = {augment.draw(CONFIG, *place)[:2] for place in ((1, 0), (1, 1), (2, 0), (2, 1))}
    assert len(drawn) == 4
    assert augment.draw(CONFIG, 1, 0)[:2] in drawn
    assert augment.draw(dataclasses.replace(CONFIG, seed=4), 1, 0)[:2] not in drawn
    many = np.array([augment.draw(CONFIG, 1, number)[:2] for number in range(2000)])
    assert np.array_equal(many, np.round(many, 3))
    for column, (low, high) in zip(many.T, ((0.85, 1.15), (-6.0, 8.0))):
        near = 0.01 * (high - low)
        assert low <= column.min() < low + near and high - near < column.max() <= high
        assert column.mean() == pytest.approx((low + high) / 2, abs=2 * near)


def test_an_utterance_is_augmented_alike_each_time(speech):
    one, same = (augment.augment(speech, CONFIG, 2, 7) for _ in range(2))
    assert np.array_equal(one, same) and one.dtype == np.int16
    assert len(one) == augment.num_samples(len(speech), augment.draw(CONFIG, 2, 7)[0])


@pytest.mark.skipif(not shutil.which("sox"), reason="sox is not installed")
@pytest.mark.parametrize("tempo", [0.85, 0.953, 1.0, 1.077, 1.15])
def test_sox_gives_the_same_samples(speech, tmp_path, tempo):
    """`sox -D`, without the noise, to one level: SoX computes in float32 between."""
    paths = [str(tmp_path / name) for name in ("in.wav", "out.wav")]
    soundfile.write(paths[0], speech, 16000)
    subprocess.run(["sox", "-D", paths[0], "-r", "16000", "-c", "1", "-b", "16", paths[1],
                    "tempo", str(tempo), "gain", "2.5"], check=True)
    theirs, _ = soundfile.read(paths[1], dtype="int16")
    ours = np.rint(augment.change_gain(augment.change_tempo(speech, tempo), 2.5))
    assert len(ours) == len(theirs)
    gaps = np.abs(ours - theirs)
    assert gaps.max() <= 1 and (gaps > 0).mean() < 1e-4
