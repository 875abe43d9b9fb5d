"""Batches: order, padding and lengths, the same for any number of processes; the parity batches."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import dealt
from common.data.ragged import Ragged
from speech_recognition import augment, data, features, index, parity
from speech_recognition.audio import read_audio
from speech_recognition.config import QUICK, REFERENCE
from tests.speech_recognition import sounds


def prepared(folder, **changes):
    return data.prepare(sounds.own(folder, **changes))


def drawn(samples):
    """The Utterances of these durations; utterance n says n + 1 labels."""
    labels = [np.full(n % 40 + 1, n % 28 + 1, np.uint8) for n in range(len(samples))]
    starts = np.cumsum([0, *map(len, labels)]).astype(np.int64)
    return index.Utterances(np.array(sorted(samples), np.int32),
                            Ragged(np.concatenate(labels), starts), None, {})


def silent(samples, **changes):
    """(patch that gives utterances of these durations, all ones for spectrograms; the config)."""
    utterances = drawn(samples)
    counts = {"num_train_utterances": len(samples), "num_eval_utterances": len(samples)}
    config = dataclasses.replace(QUICK, **{"seed": 1, "augment": True} | counts | changes)

    def ones(config, split, epoch, number):
        heard = data.heard_samples(config, split, epoch, np.array([number]))
        return np.ones((int(features.num_frames(heard)[0]), 161), np.float32)

    return mock.patch.multiple(data, spectrogram=ones), mock.patch.object(
        index, "load", lambda config, split: utterances), config


def members(batches):
    return [[n for n in numbers.tolist() if n >= 0] for numbers in batches.indices]


SAMPLES = st.lists(st.integers(1, 30_000), min_size=1, max_size=40)


@settings(max_examples=60)
@given(SAMPLES, st.integers(1, 9), st.sampled_from(("ascending", "sortagrad")), st.integers(1, 3))
def test_an_epoch_by_property(samples, size, order, epoch):
    """Every utterance once; consecutive ones together; shortest first but for a shuffle of whole
    batches from SortaGrad's second epoch on."""
    ones, load, config = silent(samples, batch_size=size, order=order)
    with ones, load:
        found = members(data.batches(config, "train", epoch))
        again = members(data.batches(config, "train", epoch))
        test = members(data.batches(config, "test", epoch))
    whole = [list(range(n, min(n + size, len(samples)))) for n in range(0, len(samples), size)]
    assert sorted(found) == whole == test and found == again
    if order == "ascending" or epoch == 1:
        assert found == whole


def test_sortagrad_shuffles_by_seed_and_epoch():
    orders = {}
    for seed in (1, 2):
        for epoch in (1, 2, 3):
            ones, load, config = silent([9000] * 60, batch_size=2, order="sortagrad")
            with ones, load:
                batches = data.batches(dataclasses.replace(config, seed=seed), "train", epoch)
                orders[seed, epoch] = tuple(map(tuple, members(batches)))
    assert orders[1, 1] == orders[2, 1]
    assert len(set(orders.values())) == 5


@settings(max_examples=60)
@given(SAMPLES, st.integers(3, 9), st.booleans(), st.sampled_from((1, 7, 50)))
def test_any_number_of_processes_reads_the_same_batches(samples, size, augmented, frame_step):
    """Of 1, 2 and 3 processes; a part is padded as the whole is; one without an utterance is a row
    of length 0."""
    ones, load, config = silent(samples, batch_size=size, augment=augmented, frame_step=frame_step)
    with ones, load:
        batches = data.batches(config, "train", 2)
        for numbers in batches.indices:
            kept = numbers[numbers >= 0]
            whole = batches.read(numbers)
            frames = features.num_frames(data.heard_samples(config, "train", 2, kept))
            check_batch(config, whole, kept, frames)
            for world_size in (1, 2, 3):
                parts = [batches.read(part) for part in np.array_split(numbers, world_size)]
                for name, value in whole.items():
                    assert {part[name].shape[1:] for part in parts} == {value.shape[1:]}
                    if name == "steps":
                        assert all(part[name] == value for part in parts)
                    else:
                        real = [part[name][part["lengths"] > 0] for part in parts]
                        assert np.array_equal(np.concatenate(real), value)
                for part in parts:
                    if not part["lengths"].any():
                        assert all(len(value) == 1 for value in part.values())
                        assert not part["spectrograms"].any() and not part["labels"].any()


def check_batch(config, batch, numbers, frames):
    """A batch against its definition."""
    longest = int(frames.max())
    steps = (longest - 11) // 2 + 1 - 10
    width = batch["spectrograms"].shape[1]
    assert batch["spectrograms"].dtype == np.float32
    assert all(batch[name].dtype == np.int32 for name in ("steps", "lengths", "labels"))
    assert longest <= width < longest + config.frame_step and width % config.frame_step == 0
    assert batch["steps"].tolist() == [steps] and steps >= 1
    for row, (number, count) in enumerate(zip(numbers, frames)):
        assert (batch["spectrograms"][row, :count] == 1).all()
        assert not batch["spectrograms"][row, count:].any()
        share = np.float32(int(count) / longest)
        assert batch["lengths"][row] == max(1, int(share * np.float32(steps))) <= steps
        labels = batch["labels"][row]
        assert (labels > 0).sum() == number % 40 + 1 and (labels[number % 40 + 1 :] == 0).all()
    assert batch["lengths"].max() == steps and batch["labels"].shape[1] % data.LABEL_STEP == 0


def test_lengths_are_cut_off_as_float32():
    """The share is float32 in the reference: 0.7 of 10 is 6.9999... or 7 by the type."""
    assert data.output_length(70, 100, 10) == 7  # float64: 7.0 too
    assert data.output_length(33, 99, 60) == 20 == int(np.float32(33 / 99) * np.float32(60))
    cases = [(f, m) for m in range(31, 200) for f in range(31, m)]
    differ = [c for c in cases if data.output_length(*c, features.num_steps(c[1]))
              != max(1, int(c[0] / c[1] * features.num_steps(c[1])))]
    assert differ  # so the type counts
    assert data.output_length(31, 31, 1) == 1 and data.output_length(1, 3500, 1735) == 1


def test_batches_hold_the_utterances(folder):
    config = prepared(folder, augment=False, frame_step=1)
    train = index.load(config, "train")
    found = list(data.batches(config, "train", 1).stream())
    assert [len(batch["lengths"]) for batch in found] == [2, 2, 1]
    spectrograms = [(batch, row) for batch in found for row in range(len(batch["lengths"]))]
    for number, (batch, row) in enumerate(spectrograms):
        samples = read_audio(str(folder / train.path(number)))
        expected = features.spectrogram(samples)
        assert np.array_equal(batch["spectrograms"][row, : len(expected)], expected)
        labels = batch["labels"][row]
        assert np.array_equal(labels[labels > 0], train.labels[number])


def test_training_hears_another_tempo_each_epoch_and_the_test_none(folder):
    config = prepared(folder, augment=True)
    first, second = (next(data.batches(config, "train", epoch).stream()) for epoch in (1, 2))
    number = 1
    samples = augment.augment(
        read_audio(str(folder / index.load(config, "train").path(number))), config, 1, number)
    expected = features.spectrogram(samples)
    assert np.array_equal(first["spectrograms"][1, : len(expected)], expected)
    assert not np.array_equal(first["spectrograms"], second["spectrograms"])
    plain = prepared(folder, augment=False)
    for one, other in zip(*(data.batches(c, "test").stream() for c in (config, plain))):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_reading_starts_at_any_batch_in_any_worker(folder):
    batches = data.batches(prepared(folder), "train", 2)
    whole = list(batches.stream())
    rest = list(batches.stream(first=1, workers=1))
    assert len(whole) == 3 and len(rest) == 2
    for expected, batch in zip(whole[1:], rest):
        assert all(np.array_equal(batch[name], expected[name]) for name in expected)


def test_the_evaluation_deals_whole_batches(folder):
    batches = data.batches(prepared(folder), "test")
    parts = [dealt(batches.indices, rank, 2) for rank in (0, 1)]
    assert [[part.tolist() for part in own] for own in parts] == [[[0, 1]], [[2]]]
    assert sum(len(numbers) for numbers in batches.indices) == 3


def test_padding_by_hand():
    ones, load, config = silent([16000, 16000, 32000, 48000, 48000], batch_size=2, frame_step=100,
                                augment=False)
    with ones, load:
        # Frames 101 101 | 201 301 | 301; longest 101, 301, 301; rounded up 200, 400, 400.
        assert data.padding(config, "test") == pytest.approx((100 / 1600, 495 / 1600))


def test_shapes_are_few(folder):
    """Over all epochs, whatever is drawn: as many as bounds, times labels'."""
    ones, load, config = silent(list(range(9000, 40_000, 300)), batch_size=8, frame_step=50)
    with ones, load:
        shapes = set()
        for epoch in range(1, 6):
            batches = data.batches(config, "train", epoch)
            shapes |= {batches.read(numbers)["spectrograms"].shape for numbers in batches.indices
                       if numbers[-1] >= 0}
    assert len(shapes) <= 40_000 / 0.85 / 160 / 50 and {shape[0] for shape in shapes} == {8}


# Parity's batches.


def needed(labels):
    """Output frames that a row's labels take: one each, and one between equal neighbours."""
    labels = labels[labels > 0]
    return len(labels) + int((labels[1:] == labels[:-1]).sum())


@pytest.mark.parametrize(("base", "size"), [(REFERENCE, 8), (QUICK, 16), (QUICK, 5)])
def test_parity_batches_have_every_kind_of_row(base, size):
    config = dataclasses.replace(base, seed=1, batch_size=size)
    prepared, found = parity.training(config, 2)
    assert (prepared.num_train_utterances, prepared.num_eval_utterances) == (2 * size, size)
    for batch in found:
        [steps] = batch["steps"]
        assert 25 <= steps <= 50  # short, so that the full network's steps are quick
        rows = list(zip(batch["lengths"], batch["labels"]))
        assert len(rows) == size and batch["spectrograms"].shape[1] % config.frame_step == 0
        assert any(length == steps for length, _ in rows)                        # the longest
        assert any((labels > 0).sum() == 1 for _, labels in rows)
        assert any(length < needed(labels) for length, labels in rows)           # infinite
        assert any(length == needed(labels) for length, labels in rows)
        repeats = [needed(labels) - (labels > 0).sum() for _, labels in rows]
        assert any(repeat > 0 and length >= needed(labels)
                   for repeat, (length, labels) in zip(repeats, rows))
        assert batch["labels"].max() <= 28 and (batch["lengths"] >= 1).all()
    assert not np.array_equal(found[0]["labels"], found[1]["labels"])
    again = parity.training(config, 2)[1]
    assert all(np.array_equal(one[name], other[name])
               for one, other in zip(found, again) for name in one)


def test_small_parity_batches_take_turns():
    config = dataclasses.replace(QUICK, seed=1, batch_size=2)
    batches = parity.training(config, 5)[1]
    rows = [(length, labels) for b in batches for length, labels in zip(b["lengths"], b["labels"])]
    assert sum(length < needed(labels) for length, labels in rows) == 2
    assert sum((labels > 0).sum() == 1 for _, labels in rows) == 2
