"""The embedded data of the quick profile: generated speech, as FLAC files in LibriSpeech's layout.

A word is spelt as it sounds: each of 22 letters has one sound, from a source and three resonances.

    vowels, nasals, L, R, W   pulses of the voice
    F, S, X, H                noise at a height of its own; H takes on the next letter's resonances
    V, Z                      both
    B, D, G and P, T, K       a closure, with the voice or silent, and a burst

Speakers differ in pitch, length of the vocal tract, tempo and timbre.  Sounds flow into each other,
pitch falls and wavers, and each utterance has noise of its own, 3 to 15 dB below the speech.

None of the test's speakers trains.  A fifth of the test's utterances, see `unheard`, are of words
that no training utterance has, and that differ from each of those in two letters at least.

All arithmetic is of whole numbers, so that the samples are the same on every machine.
"""

import functools
import itertools
import math
import os

import numpy as np
import soundfile

from common.data import embedded
from speech_recognition.audio import SAMPLE_RATE

VERSION = 2              # of the speech: another number, another folder
SEED = 20151208
NUM_HEARD = 200          # words that train, and that most test utterances have
NUM_UNHEARD = 60         # words of the test alone
TRAIN_SPEAKERS = 60
TEST_SPEAKERS = 20
TRAIN_UTTERANCES = 20    # of each speaker
TEST_UTTERANCES = 12
UNHEARD_UTTERANCES = 3   # of each test speaker, beside those
SUBSETS = ("train-clean-100", "dev-clean")

VOWELS = "AEIOU"
CONSONANTS = "MNLRWFSXHVZBDGPTK"
PATTERNS = ("CVC", "VCV", "CVCV", "CVCVC", "VCVC", "CVCVCV")

# Resonances in Hz; strength of the voice, percent; height of the noise in Hz and its strength;
# milliseconds.
SOUNDS = {
    "A": ((760, 1250, 2550), 100, 0, 0, 105),
    "E": ((500, 1900, 2600), 95, 0, 0, 100),
    "I": ((290, 2350, 3050), 90, 0, 0, 95),
    "O": ((480, 880, 2450), 95, 0, 0, 105),
    "U": ((330, 1350, 2250), 90, 0, 0, 95),
    "M": ((250, 1000, 2200), 55, 0, 0, 85),
    "N": ((250, 1700, 2650), 55, 0, 0, 85),
    "L": ((380, 1100, 2850), 70, 0, 0, 80),
    "R": ((430, 1250, 1650), 65, 0, 0, 80),
    "W": ((300, 620, 2200), 65, 0, 0, 80),
    "F": ((400, 1100, 2300), 0, 3700, 40, 95),
    "S": ((350, 1700, 2600), 0, 6200, 60, 100),
    "X": ((350, 1900, 2500), 0, 2700, 65, 100),
    "H": ((0, 0, 0), 0, 0, 60, 75),
    "V": ((350, 1100, 2300), 50, 3700, 25, 80),
    "Z": ((300, 1700, 2600), 45, 6200, 40, 90),
}
# Resonances that the sounds beside a stop move to; height of the burst.
STOPS = {
    "B": ((300, 800, 2150), 900),
    "D": ((300, 1750, 2700), 4600),
    "G": ((300, 2050, 2350), 1900),
    "P": ((300, 800, 2150), 900),
    "T": ((300, 1750, 2700), 4600),
    "K": ((300, 2050, 2350), 1900),
}
VOICED_STOPS = "BDG"
REST = (450, 1500, 2500)

PHASES = 1024
SINE = np.array([round(4096 * math.sin(2 * math.pi * n / PHASES)) for n in range(PHASES)], np.int32)
PULSE = 192              # samples for which the lowest resonance rings after a pulse of the voice
PUFF = 32                # and the noise's after a puff
RESONANCES = ((80, PULSE), (110, 144), (170, 96))  # bandwidth in Hz, samples
PUFF_BANDWIDTH = 700
PUFF_EVERY = 5           # samples


def ringing(bandwidth, length):
    """int32 [length]: how a resonance of a bandwidth in Hz fades, from 4096 on."""
    fades = [math.exp(-math.pi * bandwidth * n / SAMPLE_RATE) for n in range(length)]
    return np.array([round(4096 * fade) for fade in fades], np.int32)


PULSE_FADES = [ringing(*resonance) for resonance in RESONANCES]
PUFF_FADE = ringing(PUFF_BANDWIDTH, PUFF)


@functools.cache
def lexicon():
    """(heard, unheard): two tuples of words."""
    rng = np.random.default_rng([SEED, 0])
    words = []
    while len(words) < NUM_HEARD + NUM_UNHEARD:
        pattern = PATTERNS[rng.integers(len(PATTERNS))]
        letters = [VOWELS if kind == "V" else CONSONANTS for kind in pattern]
        word = "".join(choice[rng.integers(len(choice))] for choice in letters)
        if word not in words and all(differ(word, other) for other in words[:NUM_HEARD]
                                     if len(words) >= NUM_HEARD):
            words.append(word)
    return tuple(words[:NUM_HEARD]), tuple(words[NUM_HEARD:])


def differ(word, other):
    """Whether it takes two letters at least, put in, left out or changed, to make one the other."""
    if abs(len(word) - len(other)) > 1:
        return True
    longest = max(len(word), len(other))
    alike = min(longest, shared(word, other) + shared(word[::-1], other[::-1]))
    return longest - alike > 1


def shared(word, other):
    """How many letters two words have in common before the first that differs."""
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(word, other))))


def unheard(transcript):
    """Whether a transcript is of words alone that no training utterance has."""
    return set(transcript.split()) <= set(lexicon()[1])


def draw_speaker(rng):
    """What a speaker keeps: pitch in Hz, tract and tempo in percent, strengths of resonances."""
    return {
        "pitch": int(rng.integers(90, 251)),
        "tract": int(rng.integers(82, 121)),
        "tempo": int(rng.integers(90, 141)),
        "strengths": (100, int(rng.integers(55, 95)), int(rng.integers(25, 65))),
    }


def sounds_of(text, speaker, rng):
    """The sounds of a text, rests at both ends: int64 [S, 7], a row for each

    three resonances in Hz, the voice's strength, height and strength of the noise, samples.
    """
    rows = [[*REST, 0, 0, 0, int(rng.integers(150, 211))]]
    following = (*text[1:], " ")
    for letter, after in zip(text, following):
        if letter == " ":
            rows.append([*REST, 0, 0, 0, int(rng.integers(40, 111))])
        elif letter in STOPS:
            resonances, height = STOPS[letter]
            voiced = letter in VOICED_STOPS
            rows.append([*resonances, 18 if voiced else 0, 0, 0, 45 if voiced else 60])
            rows.append([*resonances, 0, height, 80 if voiced else 100, 12 if voiced else 25])
        else:
            resonances, voice, height, noise, length = SOUNDS[letter]
            if letter == "H":
                resonances = SOUNDS[after][0] if after in SOUNDS else REST
                height = resonances[1]
            rows.append([*resonances, voice, height, noise, length])
    rows.append([*REST, 0, 0, 0, int(rng.integers(150, 211))])
    rows = np.array(rows, np.int64)
    shakes = rng.integers(960, 1041, (len(rows), 3))
    rows[:, :3] = rows[:, :3] * speaker["tract"] * shakes // 100_000
    rows[:, 4] = rows[:, 4] * (100 + speaker["tract"]) // 200
    lengths = rows[1:-1, 6]
    rows[1:-1, 6] = lengths * rng.integers(80, 121, len(lengths)) // speaker["tempo"]
    rows[:, 6] *= SAMPLE_RATE // 1000
    return rows


def values_at(sounds, times, column, width):
    """int64: a column of the sounds at these times, gliding for `width` samples at each border."""
    ends = np.cumsum(sounds[:, 6])
    borders = ends[:-1]
    values = sounds[:, column]
    nearest = np.searchsorted((borders[1:] + borders[:-1]) // 2, times)
    after = np.clip(times - borders[nearest] + width // 2, 0, width)
    return (values[nearest] * (width - after) + values[nearest + 1] * after) // width


def ringing_at(heights, strengths, fade):
    """int32 [times, len(fade)]: how a resonance rings after each time; heights in Hz, [times]."""
    steps = heights.astype(np.int32)[:, None] * (PHASES * 64) // SAMPLE_RATE
    phases = steps * np.arange(len(fade), dtype=np.int32) >> 6 & PHASES - 1
    return (SINE[phases] * fade >> 12) * strengths.astype(np.int32)[:, None] >> 7


def speak(text, speaker, rng):
    """int64 [N]: a text as a speaker says it, without noise."""
    sounds = sounds_of(text, speaker, rng)
    length = int(sounds[:, 6].sum())
    out = np.zeros(length + PULSE, np.int32)
    times = pulse_times(length, speaker["pitch"], rng)
    voices = values_at(sounds, times, 3, 160)
    times, voices = times[voices > 0], voices[voices > 0]
    waves = np.zeros((len(times), PULSE), np.int32)
    for column, (fade, strength) in enumerate(zip(PULSE_FADES, speaker["strengths"])):
        heights = values_at(sounds, times, column, 640)
        waves[:, : len(fade)] += ringing_at(heights, voices * strength // 100, fade)
    np.add.at(out, times[:, None] + np.arange(PULSE), waves)
    times = np.arange(0, length, PUFF_EVERY)
    puffs = values_at(sounds, times, 5, 96) * rng.integers(-100, 101, len(times)) // 100
    times, puffs = times[puffs != 0], puffs[puffs != 0]
    heights = np.minimum(values_at(sounds, times, 4, 1), 7600)
    np.add.at(out, times[:, None] + np.arange(PUFF), ringing_at(heights, puffs, PUFF_FADE))
    return out[:length].astype(np.int64)


def pulse_times(length, pitch, rng):
    """int64: when the voice's pulses come; the pitch falls by a quarter, and wavers."""
    times = [0]
    shakes = rng.integers(97, 104, length // 40 + 1)
    for shake in shakes:
        falling = pitch * (9 * length - 2 * times[-1]) // (8 * length)
        times.append(times[-1] + SAMPLE_RATE * 100 // (falling * int(shake)))
        if times[-1] >= length:
            break
    return np.array(times[:-1])


def with_noise(speech, rng):
    """int16 [N]: speech at a loudness of its own, with noise of a colour of its own."""
    power = int((speech * speech).sum()) // len(speech)
    noise = rng.integers(-2048, 2049, len(speech) + 1)
    colour = int(rng.integers(-60, 91))
    noise = (noise[1:] * 100 + noise[:-1] * colour) // 100
    below = int(rng.integers(3, 16))  # dB
    wanted = power * 1000 // round(1000 * 10 ** (below / 10))
    share = math.isqrt(wanted * (1 << 20) // (int((noise * noise).sum()) // len(noise)))
    mixed = speech + noise * share // 1024
    loudness = int(rng.integers(150, 500))  # of the whole, root of the mean square
    whole = math.isqrt(int((mixed * mixed).sum()) // len(mixed))
    return np.clip(mixed * loudness // whole, -32768, 32767).astype(np.int16)


def utterances(split):
    """Yields (speaker's id, utterance's number, transcript, int16 [N]) of "train" or "test"."""
    test = split == "test"
    heard, new = lexicon()
    for person in range(TEST_SPEAKERS if test else TRAIN_SPEAKERS):
        speaker = draw_speaker(np.random.default_rng([SEED, 1 + test, person]))
        count = TEST_UTTERANCES + UNHEARD_UTTERANCES if test else TRAIN_UTTERANCES
        for number in range(count):
            rng = np.random.default_rng([SEED, 1 + test, person, number])
            words = new if test and number >= TEST_UTTERANCES else heard
            chosen = rng.integers(len(words), size=int(rng.integers(2, 5)))
            text = " ".join(words[word] for word in chosen)
            samples = with_noise(speak(text, speaker, rng), rng)
            yield 1001 + person + 1000 * test, number, text, samples


def write(folder):
    """Writes LibriSpeech/ into an empty folder: 1,200 and 300 utterances."""
    root = os.path.join(folder, "LibriSpeech")
    speakers = {}
    for split, subset in zip(("train", "test"), SUBSETS):
        for speaker, number, text, samples in utterances(split):
            chapter = f"{speaker}-{speaker * 10}"
            path = os.path.join(root, subset, *chapter.split("-"))
            os.makedirs(path, exist_ok=True)
            name = f"{chapter}-{number:04}"
            soundfile.write(os.path.join(path, f"{name}.flac"), samples, SAMPLE_RATE, "PCM_16")
            with open(os.path.join(path, f"{chapter}.trans.txt"), "a", encoding="ascii") as opened:
                opened.write(f"{name} {text}\n")
            speakers[speaker, subset] = speakers.get((speaker, subset), 0) + len(samples)
    with open(os.path.join(root, "SPEAKERS.TXT"), "w", encoding="ascii") as opened:
        opened.write(";ID  |SEX| SUBSET           |MINUTES| NAME\n")
        for (speaker, subset), count in speakers.items():
            minutes = count / SAMPLE_RATE / 60
            opened.write(f"{speaker} | N | {subset:16} | {minutes:5.2f} | generated\n")


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("speech_recognition", VERSION, write)
