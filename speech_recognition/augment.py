"""What training changes in an utterance: its tempo, pitch kept, and its loudness.

As the reference's `sox IN -r 16000 -c 1 -b 16 OUT tempo T gain G`: SoX 14.4's tempo.c, gain.c and
dither.c, written out for 16 kHz.  Tempo is WSOLA (Verhelst & Roelands 1993) in SoundTouch's form:
segments of 82 ms are laid 70 ms apart; each is taken from where, within 14.7 ms, it fits best to
what went on behind the one before, and the two are cross-faded over 12 ms.
"""

import numpy as np

SEGMENT = 1312           # samples, 82 ms
OVERLAP = 192            # samples, 12 ms
SEARCH = 235             # places tried for a segment, 14.68 ms
ADVANCE = SEGMENT - OVERLAP
FADE_IN = np.arange(OVERLAP) / OVERLAP
DECIMALS = 3             # of what is drawn


def draw(config, epoch, number):
    """(tempo, gain in dB, generator): what an utterance gets in an epoch, by the seed alone."""
    rng = np.random.default_rng([config.seed, epoch, number])
    tempo = round(rng.uniform(config.tempo_low, config.tempo_high), DECIMALS)
    gain = round(rng.uniform(config.gain_low, config.gain_high), DECIMALS)
    return tempo, gain, rng


def num_samples(num_samples, tempo):
    """Samples that an utterance has at a tempo; 2 is twice as fast."""
    return int(num_samples / tempo + 0.5)


def change_tempo(samples, tempo):
    """float64 [num_samples(N, tempo)]: faster or slower at the same pitch.

    samples: int16 [N].  A tempo of 1 changes nothing.
    """
    samples = samples.astype(np.float64)
    if tempo == 1.0:
        return samples
    length = num_samples(len(samples), tempo)
    count = -(-length // ADVANCE)
    starts = (tempo * (ADVANCE * np.arange(count)) + 0.5).astype(np.int64)
    before = SEARCH // 2
    after = max(0, starts[-1] + SEARCH + SEGMENT - before - len(samples))
    samples = np.pad(samples, (before, after))
    places = segment_places(samples, starts)
    pieces = np.lib.stride_tricks.sliding_window_view(samples, ADVANCE)[places]  # [count, 1120]
    # What went on behind each segment fades out under the next.
    ends = np.lib.stride_tricks.sliding_window_view(samples, OVERLAP)[places[:-1] + ADVANCE]
    pieces[1:, :OVERLAP] = ends * (1.0 - FADE_IN) + pieces[1:, :OVERLAP] * FADE_IN
    return pieces.ravel()[:length]


def segment_places(samples, starts):
    """int64 [count]: where each segment begins, SEARCH places tried from each start on.

    The smallest sum of squared differences wins, the earliest of equal ones.  All sums are of whole
    numbers below 2^53, so exact.
    """
    squares = np.concatenate([[0.0], np.cumsum(samples * samples)])
    energies = squares[OVERLAP:] - squares[:-OVERLAP]
    places = np.empty_like(starts)
    places[0] = SEARCH // 2
    for number in range(1, len(starts)):
        start = starts[number]
        goes_on = places[number - 1] + ADVANCE
        template = samples[goes_on : goes_on + OVERLAP]
        products = np.correlate(samples[start : start + SEARCH + OVERLAP - 1], template)
        differences = energies[start : start + SEARCH] - 2.0 * products
        places[number] = start + np.argmin(differences)
    return places


def change_gain(samples, gain):
    """float64: louder by so many dB, clipped to 16 bits."""
    return np.clip(samples * 10.0 ** (gain / 20.0), -32768.0, 32767.0)


def to_int16(samples, rng):
    """int16: rounded after the noise that SoX adds, the sum of two uniform ones of half a level."""
    noise = rng.random((2, len(samples)), np.float32).sum(axis=0) - 1.0
    return np.clip(np.rint(samples + noise), -32768.0, 32767.0).astype(np.int16)


def augment(samples, config, epoch, number):
    """int16: an utterance as training hears it in an epoch.  samples: int16 [N]."""
    tempo, gain, rng = draw(config, epoch, number)
    return to_int16(change_gain(change_tempo(samples, tempo), gain), rng)
