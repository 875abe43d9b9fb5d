"""LibriSpeech as batches of spectrograms and labels, numpy out.

Utterances are numbered by ascending duration, before their tempo changes, and batch k is those from
k times batch_size on, whatever the order of the batches.  A batch's shape follows from the
durations and the drawn tempos, so every process knows it without reading the others' audio.
"""

import dataclasses
import functools
import os
import sys

import numpy as np

from common.data.batches import Batches, permutation
from common.data.buckets import Packed, filler
from common.data.dataset import with_counts, with_folder
from common.errors import UserError, printable
from speech_recognition import audio, features, index, quick_data
from speech_recognition import augment as augmentation

LABEL_STEP = 32          # a batch's labels: a multiple of as many


def prepare(config):
    """The config with its data found, checked, counted and indexed.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    config = with_folder(config, "speech_recognition", "LibriSpeech", quick_data.ensure)
    counts, name = index.survey(config.data_dir)
    fields = {"num_train_utterances": counts["train"], "num_eval_utterances": counts["test"]}
    config = with_counts(config, os.path.join(config.data_dir, "LibriSpeech"), fields)
    index.make(config.data_dir, name)
    config = dataclasses.replace(config, index=name)
    say_dropped(config)
    return config


def say_dropped(config):
    """One line where transcripts have symbols outside the alphabet."""
    for split in index.SUBSETS:
        dropped = index.load(config, split).dropped
        if dropped:
            shown = ", ".join(f"{count:,} {symbol!r}" for symbol, count in sorted(dropped.items()))
            print(f"{config.data_dir}: left out of the transcripts of {split}, outside the "
                  f"alphabet: {printable(shown[:300])}", file=sys.stderr, flush=True)


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".  A batch: see read."""
    count = num_utterances(config, split)
    size = config.batch_size
    order = np.arange(-(-count // size))
    if split == "train" and config.order == "sortagrad" and epoch > 1:
        order = permutation(len(order), epoch, config.seed).astype(np.int64)
    starts = order * size
    counts = np.minimum(size, count - starts)
    # Fillers complete training's last batch, so that every process knows its shape.
    rows = np.full_like(counts, size) if split == "train" else counts
    indices = Packed(np.arange(count), starts, counts, rows, filler(order))
    return Batches(indices, functools.partial(read, config, split, epoch))


def num_utterances(config, split):
    """How many a split of a prepared config has."""
    return config.num_train_utterances if split == "train" else config.num_eval_utterances


def members(config, split, number):
    """int64: the utterances of the batch that has this one, or this filler."""
    batch = filler(number) if number < 0 else number // config.batch_size
    first = batch * config.batch_size
    return np.arange(first, min(first + config.batch_size, num_utterances(config, split)))


def heard_samples(config, split, epoch, numbers):
    """int64: samples of these utterances at the tempo of the epoch."""
    samples = index.load(config, split).samples[numbers].astype(np.int64)
    if split == "train" and config.augment:
        tempos = [augmentation.draw(config, epoch, number)[0] for number in numbers]
        samples = np.array([augmentation.num_samples(n, t) for n, t in zip(samples, tempos)])
    return samples


def read(config, split, epoch, numbers):
    """One batch, or a process's part of one.

    spectrograms: float32 [B, F, 161], zeros behind an utterance's end.  F is that of the global
    batch's longest utterance, rounded up to a multiple of frame_step.
    steps: int32 [1], T: output frames of the longest, without the rounding.
    lengths: int32 [B]: output frames of each, cut off as the reference does.
    labels: int32 [B, L]: of 1..28, zeros behind the last.  L is a multiple of LABEL_STEP.

    numbers: of utterances, or fillers, which are left out.  A part of fillers alone gives one row
    of zeros with length 0, which no utterance has.
    """
    utterances = index.load(config, split)
    own = members(config, split, int(numbers[0]))
    frames = features.num_frames(heard_samples(config, split, epoch, own))
    num_labels = int(utterances.labels.lengths()[own].max())
    numbers = numbers[numbers >= 0]
    spectrograms = [spectrogram(config, split, epoch, number) for number in numbers]
    labels = [utterances.labels[number] for number in numbers]
    return padded(config, spectrograms, labels, int(frames.max()), num_labels)


def spectrogram(config, split, epoch, number):
    """float32 [F, 161]: an utterance as the epoch hears it.  Raises UserError."""
    utterances = index.load(config, split)
    path = os.path.join(config.data_dir, utterances.path(number))
    samples = audio.read_audio(path, own=True)
    if len(samples) != utterances.samples[number]:
        raise UserError(f"{path}: changed since it was indexed. Remove "
                        f"{os.path.join(config.data_dir, config.index)} and start again.")
    if split == "train" and config.augment:
        samples = augmentation.augment(samples, config, epoch, number)
    return features.spectrogram(samples)


def padded(config, spectrograms, labels, longest, num_labels):
    """The batch of these utterances, see read.

    longest, num_labels: the most frames and labels of an utterance in the global batch.
    """
    rows = max(1, len(spectrograms))
    steps = features.num_steps(longest)
    batch = {
        "spectrograms": np.zeros((rows, rounded_up(longest, config.frame_step), features.NUM_BINS),
                                 np.float32),
        "steps": np.array([steps], np.int32),
        "lengths": np.zeros(rows, np.int32),
        "labels": np.zeros((rows, rounded_up(num_labels, LABEL_STEP)), np.int32),
    }  # fmt: skip
    for row, (spectrum, text) in enumerate(zip(spectrograms, labels)):
        batch["spectrograms"][row, : len(spectrum)] = spectrum
        batch["lengths"][row] = output_length(len(spectrum), longest, steps)
        batch["labels"][row, : len(text)] = text
    return batch


def rounded_up(number, step):
    """The next multiple of step."""
    return -(-number // step) * step


def output_length(frames, longest, steps):
    """Output frames of an utterance: its share of the longest, cut off; one at least.

    The reference keeps the share as a float32.
    """
    return max(1, int(np.float32(frames / longest) * steps))


def padding(config, split, epoch=1):
    """(share of a split's frames that padding to the batch's longest adds, and that rounding up to
    frame_step adds), both of all frames that come."""
    samples = heard_samples(config, split, epoch, np.arange(num_utterances(config, split)))
    frames = features.num_frames(samples)
    starts = np.arange(0, len(frames), config.batch_size)
    counts = np.minimum(config.batch_size, len(frames) - starts)
    longest = np.maximum.reduceat(frames, starts)
    padded_frames = int((longest * counts).sum())
    whole = int((rounded_up(longest, config.frame_step) * counts).sum())
    return (padded_frames - int(frames.sum())) / whole, (whole - padded_frames) / whole
