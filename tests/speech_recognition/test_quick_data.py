"""The embedded speech: the same everywhere, what is held out, and beyond cheap recognisers."""

import collections
import dataclasses
import hashlib
import itertools
import os

import jiwer
import numpy as np
import pytest
import soundfile
from rapidfuzz.distance import Levenshtein
from sklearn.neighbors import NearestNeighbors

from speech_recognition import alphabet, data, decoding, index, quality, quick_data
from speech_recognition.config import QUICK

LIMIT = 90.0  # WER, percent, that no cheap recogniser goes below
# sha256 of the first utterances: another one needs another VERSION.
SAMPLES_SUM = "2efa24a47737d80f9575d75e0fcc879dbbfb061d096c2c80c82ab43ac8f34233"


@pytest.fixture(scope="module")
def written():
    """The config of the embedded data, without augmentation."""
    return data.prepare(dataclasses.replace(QUICK, seed=1, augment=False))


@pytest.fixture(scope="module")
def transcripts(written):
    """{split: [transcript]}."""
    found = {split: index.load(written, split) for split in index.SUBSETS}
    return {split: [one.transcript(n) for n in range(len(one))] for split, one in found.items()}


@pytest.fixture(scope="module")
def bands(written):
    """{split: [float32 [F, 40]]}: spectrograms, four frequencies averaged."""
    counts = {"train": written.num_train_utterances, "test": written.num_eval_utterances}
    return {split: [data.spectrogram(written, split, 1, n)[:, :160].reshape(-1, 40, 4).mean(-1)
                    for n in range(count)] for split, count in counts.items()}


def rates(references, guesses):
    """The mean of the utterances' word error rates, percent."""
    return 100 * np.mean([jiwer.wer(*pair) for pair in zip(references, guesses)])


def test_counts(written, transcripts):
    assert (written.num_train_utterances, written.num_eval_utterances) == (1200, 300)
    assert sum(map(quick_data.unheard, transcripts["test"])) == 60
    assert not any(map(quick_data.unheard, transcripts["train"]))
    path = os.path.join(written.data_dir, "LibriSpeech", "SPEAKERS.TXT")
    with open(path, encoding="ascii") as opened:
        lines = opened.read().split("\n")
    assert len(lines) == 1 + quick_data.TRAIN_SPEAKERS + quick_data.TEST_SPEAKERS + 1
    for line in lines[1:-1]:
        _, _, subset, minutes, _ = (part.strip() for part in line.split("|", 4))
        assert subset in quick_data.SUBSETS and 0.1 < float(minutes) < 1


def test_what_is_held_out(transcripts):
    """Words of the test alone, two letters at least from any that trains; and speakers."""
    heard, unheard = map(set, quick_data.lexicon())
    assert (len(heard), len(unheard)) == (200, 60)
    trained = {word for text in transcripts["train"] for word in text.split()}
    assert trained == heard
    for text in transcripts["test"]:
        words = set(text.split())
        assert words <= unheard if quick_data.unheard(text) else words <= heard
    for word in unheard:
        for other in heard:
            edits = jiwer.cer(word, other) * len(word)
            assert edits > 1.5, (word, other)
    # Each letter and each pair of letters, or nearly, is heard in training.
    assert {*"".join(unheard)} <= {*"".join(heard)} == {*quick_data.SOUNDS, *quick_data.STOPS}
    pairs, new = ({pair for word in words for pair in itertools.pairwise(word)}
                  for words in (heard, unheard))
    assert len(new - pairs) < 0.1 * len(new)


def test_differing_words_by_hand():
    assert not any(quick_data.differ(*pair) for pair in (
        ("ABC", "ABC"), ("ABC", "ABD"), ("ABC", "AB"), ("ABC", "XABC"), ("AAA", "AA")))
    assert all(quick_data.differ(*pair) for pair in (
        ("ABC", "ACB"), ("ABC", "A"), ("ABC", "XABY"), ("ABCD", "BCDE"), ("ABC", "XYC")))


def test_speakers_are_of_one_side(written):
    found = {}
    for split in index.SUBSETS:
        one = index.load(written, split)
        found[split] = collections.Counter(one.path(n).split("/")[2] for n in range(len(one)))
    assert not set(found["train"]) & set(found["test"])
    assert set(found["train"].values()) == {20} and set(found["test"].values()) == {15}


def test_speakers_differ():
    """In pitch, tract and tempo: the same sounds, heard from two speakers."""
    speakers = [quick_data.draw_speaker(np.random.default_rng([quick_data.SEED, 1, n]))
                for n in range(60)]
    for name, low, high in (("pitch", 110, 230), ("tract", 86, 116), ("tempo", 95, 135)):
        values = [speaker[name] for speaker in speakers]
        assert min(values) < low and max(values) > high
    slow, fast = (dict(speakers[0], tempo=tempo) for tempo in (90, 140))
    lengths = [len(quick_data.speak("SOPO", speaker, np.random.default_rng(0)))
               for speaker in (slow, fast)]
    assert lengths[0] > 1.2 * lengths[1]


def test_the_samples_are_the_same_on_every_machine():
    """Whole numbers throughout: their sum is known."""
    digest = hashlib.sha256()
    for split in ("train", "test"):
        for speaker, number, text, samples in itertools.islice(quick_data.utterances(split), 3):
            digest.update(f"{speaker} {number} {text}".encode())
            digest.update(samples.astype("<i2").tobytes())
    assert digest.hexdigest() == SAMPLES_SUM


def test_files_hold_these_samples(written):
    for speaker, number, text, samples in itertools.islice(quick_data.utterances("train"), 2):
        chapter = f"{speaker}-{speaker * 10}"
        path = os.path.join(written.data_dir, "LibriSpeech", "train-clean-100",
                            *chapter.split("-"), f"{chapter}-{number:04}.flac")
        with soundfile.SoundFile(path) as sound:
            assert (sound.format, sound.subtype) == ("FLAC", "PCM_16")
            assert np.array_equal(sound.read(dtype="int16"), samples)
        assert 0.7 < len(samples) / 16000 < 3.5 and np.abs(samples).max() < 32767
        assert set(text) <= set(alphabet.SYMBOLS[1:])


def test_a_letter_sounds_alike_from_two_voices():
    """Nearer to itself than to any other, by the mean of its spectrum: so letters can be learnt."""
    found = []
    for seed, pitch in enumerate((110, 150)):
        speaker = {"pitch": pitch, "tract": 100, "tempo": 100, "strengths": (100, 80, 50)}
        rows = []
        for letter in [*quick_data.SOUNDS, *quick_data.STOPS]:
            rng = np.random.default_rng([seed, ord(letter)])
            spectrum = data.features.spectrogram(quick_data.speak(letter * 6, speaker, rng))
            rows.append(spectrum[25:-25, :160].mean(axis=0).reshape(20, 8).mean(axis=1))
        found.append(np.array(rows))
    gaps = ((found[0][:, None] - found[1][None]) ** 2).sum(-1)
    letters = np.arange(len(gaps))
    assert np.mean(gaps.argmin(axis=1) == letters) > 0.8, gaps.argmin(axis=1)


# What cheap methods reach.


def test_the_commonest_words_stay_far_above_the_target(transcripts, capsys):
    """One word, or as many of the commonest as an utterance has words, everywhere."""
    counts = collections.Counter(word for text in transcripts["train"] for word in text.split())
    common = [word for word, _ in counts.most_common(4)]
    found = [rates(transcripts["test"], [" ".join(words)] * 300)
             for words in (common[:1], common[:2], common[:3])]
    with capsys.disabled():
        print(f"\nspeech_recognition quick: commonest words, WER {min(found):.1f}")
    assert min(found) > LIMIT


def test_the_nearest_utterances_stay_far_above_the_target(bands, transcripts, capsys):
    """Spectrograms of 40 bands squeezed into 48 frames, each normalised; 1 nearest neighbour."""
    shrunk = {}
    for split in index.SUBSETS:
        rows = []
        for spectrum in bands[split]:
            places = np.linspace(0, len(spectrum), 49).astype(int)
            rows.append(np.add.reduceat(spectrum, places[:-1]) / np.diff(places)[:, None])
        shrunk[split] = np.array(rows).reshape(len(rows), -1)
    best = 100.0
    for metric in ("euclidean", "cosine"):
        nearest = NearestNeighbors(n_neighbors=1, metric=metric).fit(shrunk["train"])
        found = nearest.kneighbors(shrunk["test"], return_distance=False)[:, 0]
        guesses = [transcripts["train"][n] for n in found]
        best = min(best, rates(transcripts["test"], guesses))
    with capsys.disabled():
        print(f"\nspeech_recognition quick: nearest utterance, WER {best:.1f}")
    assert best > LIMIT


def test_a_linear_model_of_each_step_stays_far_above_the_target(
    written, bands, transcripts, capsys
):
    """A step is two frames; the model sees four steps on each side, and learns by CTC, with Adam.

    Then each word that it hears becomes the nearest of those that train.
    """
    def windows(spectrum):
        steps = spectrum[: len(spectrum) // 2 * 2].reshape(-1, 2, 40).mean(axis=1)
        seen = np.lib.stride_tricks.sliding_window_view(np.pad(steps, ((4, 4), (0, 0))), 9, axis=0)
        return np.hstack([seen.reshape(len(steps), -1), np.ones((len(steps), 1))])

    inputs = [windows(spectrum) for spectrum in bands["train"]]
    labels = index.load(written, "train").labels
    labels = [labels[n].astype(np.int64) for n in range(len(inputs))]
    weight = np.zeros((inputs[0].shape[1], len(alphabet.SYMBOLS)))
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    rng = np.random.default_rng(0)
    batches = [part for _ in range(5) for part in np.split(rng.permutation(len(inputs)), 24)]
    for step, numbers in enumerate(batches, 1):
        x, lengths = padded([inputs[n] for n in numbers])
        said, _ = padded([labels[n] for n in numbers])
        probabilities = softmax(x @ weight)
        gradient = probabilities - shares(probabilities, lengths, said)
        gradient *= (np.arange(x.shape[1]) < lengths[:, None])[:, :, None]
        gradient = np.tensordot(x, gradient, ((0, 1), (0, 1))) / len(numbers)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        weight -= 0.01 * mean / (1 - 0.9**step) / np.sqrt(square / (1 - 0.99**step) + 1e-16)

    x, lengths = padded([windows(spectrum) for spectrum in bands["test"]])
    symbols, _ = decoding.best_path(np.log(softmax(x @ weight)), lengths)
    texts = [quality.text(row) for row in symbols]
    known, _ = quick_data.lexicon()
    corrected = [" ".join(min(known, key=lambda other: Levenshtein.distance(word, other))
                          for word in text.split()) for text in texts]
    letters = 100 * np.mean([jiwer.cer(*pair) for pair in zip(transcripts["test"], texts)])
    found = [rates(transcripts["test"], guesses) for guesses in (texts, corrected)]
    with capsys.disabled():
        print(f"\nspeech_recognition quick: a linear model of each step, WER {found[0]:.1f}, "
              f"by known words {found[1]:.1f}, of letters {letters:.1f}")
    assert min(found) > LIMIT
    assert letters < 90  # it has learnt something


def padded(rows):
    """(array [B, longest, ...], lengths): rows of any length, zeros behind them."""
    lengths = np.array([len(row) for row in rows])
    found = np.zeros((len(rows), lengths.max(), *rows[0].shape[1:]), rows[0].dtype)
    for place, row in zip(found, rows):
        place[: len(row)] = row
    return found, lengths


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def shares(probabilities, lengths, labels):
    """[B, T, S]: the share of the paths to the labels that are at a symbol in a step, as CTC's.

    probabilities: [B, T, S].  lengths: of T.  labels: [B, L], zeros behind the last.
    """
    num_utterances, num_steps, _ = probabilities.shape
    last = 2 * (labels > 0).sum(axis=1)[:, None]  # the blank behind the last label
    places = np.zeros((num_utterances, 2 * labels.shape[1] + 1), np.int64)
    places[:, 1::2] = labels
    skips = (places > 0) & (places != np.pad(places, ((0, 0), (2, 0)))[:, :-2])
    numbers = np.arange(places.shape[1])
    heard = np.take_along_axis(probabilities, places[:, None].repeat(num_steps, 1), axis=2)
    heard *= (numbers <= last)[:, None]

    def normed(x):
        return x / np.maximum(x.sum(axis=-1, keepdims=True), 1e-300)

    before, after = np.zeros_like(heard), np.zeros_like(heard)
    now = np.broadcast_to(numbers < 2, places.shape).astype(float)
    for step in range(num_steps):
        if step:
            once, twice = (np.pad(now, ((0, 0), (by, 0)))[:, : len(numbers)] for by in (1, 2))
            now = now + once + skips * twice
        now = before[:, step] = normed(now * heard[:, step])
    for step in range(num_steps - 1, -1, -1):
        if step < num_steps - 1:
            now = now * heard[:, step + 1]
            once, twice = (np.pad(part, ((0, 0), (0, by)))[:, by:]
                           for part, by in ((now, 1), (now * skips, 2)))
            now = now + once + twice
        end = (numbers <= last) & (numbers >= last - 1)
        now = after[:, step] = normed(np.where((step == lengths - 1)[:, None], end, now))
    found = np.zeros_like(probabilities)
    rows, steps = np.ogrid[:num_utterances, :num_steps]
    for number, of_place in enumerate(np.moveaxis(normed(before * after), 2, 0)):
        found[rows, steps, places[:, [number]]] += of_place
    return found


def test_shares_of_symbols_by_hand():
    """Paths to "A" in two steps: blank A, A blank, A A; the weights are their probabilities."""
    probabilities = np.array([[[0.6, 0.4], [0.5, 0.5], [0.9, 0.1]]])
    paths = {(0, 1): 0.3, (1, 0): 0.2, (1, 1): 0.2}
    first = sum(p for path, p in paths.items() if path[0] == 1) / sum(paths.values())
    second = sum(p for path, p in paths.items() if path[1] == 1) / sum(paths.values())
    found = shares(probabilities, np.array([2]), np.array([[1]]))
    assert np.allclose(found[0, :2, 1], [first, second])
    assert np.allclose(found[0, :2].sum(axis=1), 1.0)
