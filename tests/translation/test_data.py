"""The reader: buckets and batches by hand and by property; faults of the user by one line."""

import dataclasses
import re
import tarfile
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import permutation
from common.data.ragged import Ragged
from common.errors import UserError
from tests.translation.pairs import ENGLISH, GERMAN, own, write
from translation import data, text, vocabulary
from translation.config import QUICK, REFERENCE

# Sheet of MLPerf v0.5's dataset.py: the bounds for pairs of up to 256 pieces.
REFERENCE_BOUNDS = [
    8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 33, 36, 39, 42, 46, 50,
    55, 60, 66, 72, 79, 86, 94, 103, 113, 124, 136, 149, 163, 179, 196, 215, 236, 257,
]  # fmt: skip


def texts(config, batch, side):
    """[str] of a side of a batch."""
    return [vocabulary.decode(text.processor(config), row) for row in batch[side]]


def test_bounds_are_the_references():
    assert data.bucket_bounds(256).tolist() == REFERENCE_BOUNDS
    rows = data.bucket_rows(REFERENCE)
    found = dict(zip(REFERENCE_BOUNDS, rows.tolist()))
    assert (found[8], found[9], found[10], found[113], found[236], found[257]) == (
        512, 455, 409, 36, 17, 15,
    )  # fmt: skip


def test_long_test_sentences_have_further_bounds_by_the_same_rule():
    assert data.bucket_bounds(256, 300).tolist() == [*REFERENCE_BOUNDS, 282, 310]
    assert data.bucket_bounds(256, 200).tolist() == REFERENCE_BOUNDS
    assert data.bucket_bounds(5).tolist() == [6]


def test_pairs_that_are_too_long_are_left_out_of_training_alone(folder):
    """Longer than max_length on either side."""
    config = data.prepare(own(folder, max_length=12, batch_tokens=16))
    sides = text.load(config, "train")
    longest = np.maximum(*(side.lengths() for side in sides))
    kept = np.flatnonzero(longest <= 12)
    assert 0 < len(kept) < 6
    members = np.concatenate(list(data.batches(config, "train", 1).indices))
    assert sorted(members[members >= 0]) == kept.tolist()
    tested = data.batches(config, "test")
    assert sorted(np.concatenate(list(tested.indices))) == [0, 1]
    assert max(tested.read(i)["sources"].shape[1] for i in tested.indices) > 12


def test_batches_hold_the_text(folder):
    config = data.prepare(own(folder, batch_tokens=64))
    batches = data.batches(config, "train", 1)
    pairs = []
    for batch in batches.stream():
        assert batch["sources"].dtype == batch["targets"].dtype == np.int32
        assert batch["sources"].shape == batch["targets"].shape
        pairs += list(zip(texts(config, batch, "sources"), texts(config, batch, "targets")))
    kept = [pair for pair in pairs if pair != ("", "")]
    assert sorted(kept) == sorted(pair for pair in zip(ENGLISH, GERMAN) if pair != ("", ""))


def test_the_test_set_is_read_whole_by_length(folder):
    config = data.prepare(own(folder))
    long, short = data.batches(config, "test").stream()
    assert long["numbers"].tolist() == [0] and short["numbers"].tolist() == [1]
    assert texts(config, long, "sources") == ["A man buys two apples."]
    assert long["sources"].shape[1] + 1 in data.bucket_bounds(config.max_length, 99)
    assert short["sources"].shape == (1, 7)


def drawn(lengths):
    """(source, target), Ragged.  lengths: [(source, target)]; pair n is of pieces 3 + n."""
    sides = []
    for side in zip(*lengths):
        rows = [[3 + number] * (length - 1) + [1] for number, length in enumerate(side)]
        starts = np.cumsum([0, *side]).astype(np.int64)
        sides.append(Ragged(np.concatenate(rows).astype(np.int32), starts))
    return tuple(sides)


def with_lengths(lengths, max_length, batch_tokens, seed=1, **changes):
    """(patch that gives pairs of these lengths, config)."""
    config = dataclasses.replace(
        QUICK,
        seed=seed,
        max_length=max_length,
        batch_tokens=max(batch_tokens, max_length),
        encoded="none",
        **changes,
    )
    data.kept_pairs.cache_clear()
    sides = drawn(lengths)
    return mock.patch.object(text, "load_encoded", lambda folder, split: sides), config


def bucket_by_hand(config, pair):
    """The first bucket whose bound is above both lengths; None for a pair that is too long."""
    bounds = data.bucket_bounds(config.max_length).tolist()
    return next((k for k, bound in enumerate(bounds) if max(pair) < bound), None)


LENGTHS = st.lists(st.tuples(st.integers(1, 45), st.integers(1, 45)), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None)
@given(
    lengths=LENGTHS,
    max_length=st.integers(1, 50),
    batch_tokens=st.integers(1, 300),
    epoch=st.integers(1, 3),
)
def test_an_epoch_by_property(lengths, max_length, batch_tokens, epoch):
    """The kept pairs of each bucket in the order of (seed, epoch), in bounded shapes."""
    patch, config = with_lengths(lengths, max_length, batch_tokens)
    buckets = [bucket_by_hand(config, pair) for pair in lengths]
    members = {bucket: [] for bucket in buckets if bucket is not None}
    with patch:
        batches = data.batches(config, "train", epoch)
        rows = data.bucket_rows(config)
        bounds = data.bucket_bounds(max_length)
        for numbers in batches.indices:
            kept = numbers[numbers >= 0].tolist()
            bucket = buckets[kept[0]]
            members[bucket] += kept
            assert numbers.tolist() == kept + [-1 - bucket] * (rows[bucket] - len(kept))
            batch = batches.read(numbers)
            shape = (rows[bucket], bounds[bucket] - 1)
            assert batch["sources"].shape == batch["targets"].shape == shape
            assert shape[0] * shape[1] <= config.batch_tokens
            for column, side in enumerate(("sources", "targets")):
                for row, number in zip(batch[side], numbers):
                    length = lengths[number][column] if number >= 0 else 0
                    whole = [3 + number] * (length - 1) + [1] if length else []
                    assert row.tolist() == whole + [0] * (shape[1] - length)
    order = permutation(len(lengths), epoch, config.seed).tolist()
    for bucket, found in members.items():
        assert found == [pair for pair in order if buckets[pair] == bucket]


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, world_size=st.integers(1, 9), split=st.sampled_from(text.SPLITS))
def test_any_number_of_processes_reads_the_same_batches(lengths, world_size, split):
    """The parts have the batch's own shape; one without a sentence is a row of zeros."""
    patch, config = with_lengths(lengths, 40, 60, eval_batch_size=5)
    with patch:
        if not (data.kept_pairs(config) >= 0).any():
            return
        batches = data.batches(config, split, 1)
        for numbers in batches.indices:
            whole = batches.read(numbers)
            parts = np.array_split(numbers, world_size)
            found = [(part, batches.read(part)) for part in parts]
            for part, batch in found:
                for value in batch.values():
                    assert len(value) == max(1, len(part))
                if not len(part):
                    assert not batch["sources"].any()
                    assert batch.get("numbers", np.array([-1])).tolist() == [-1]
            for name, value in whole.items():
                given = [batch[name] for part, batch in found if len(part)]
                assert np.array_equal(np.concatenate(given), value)


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, size=st.integers(1, 7))
def test_each_test_sentence_comes_once_with_its_own_shape(lengths, size):
    patch, config = with_lengths(lengths, 20, 60, eval_batch_size=size)
    with patch:
        batches = data.batches(config, "test")
        found = [batches.read(numbers) for numbers in batches.indices]
    numbers = np.concatenate([batch["numbers"] for batch in found])
    assert sorted(numbers) == list(range(len(lengths)))
    assert all(1 <= len(batch["numbers"]) <= size for batch in found)
    bounds = data.bucket_bounds(20, 45)
    for batch in found:
        for number in batch["numbers"]:
            shortest = bounds[bounds > lengths[number][0]].min() - 1
            assert batch["sources"].shape[1] == shortest


def test_reading_starts_at_any_batch(folder):
    config = data.prepare(own(folder, batch_tokens=64))
    batches = data.batches(config, "train", 2)
    whole = list(batches.stream())
    assert len(whole) > 2
    rest = list(batches.stream(first=2, workers=1))
    assert len(rest) == len(whole) - 2
    for expected, batch in zip(whole[2:], rest):
        assert all(np.array_equal(batch[name], expected[name]) for name in expected)


def test_epochs_and_seeds_differ():
    lengths = [(n % 9 + 1, n % 7 + 1) for n in range(60)]
    orders = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1), (1, 1)):
        patch, config = with_lengths(lengths, 20, 40, seed)
        with patch:
            orders.append([tuple(n) for n in data.batches(config, "train", epoch).indices])
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] and orders[0] != orders[2]


def padding(config):
    """(share of places without a piece in an epoch, number of shapes)."""
    batches = data.batches(config, "train", 1)
    found = [batches.read(numbers) for numbers in batches.indices]
    sizes = [batch["sources"].size for batch in found]
    share = np.average([data.padding_share(batch) for batch in found], weights=sizes)
    return share, len({batch["sources"].shape for batch in found})


def test_padding_share_by_hand():
    sources, targets = np.array([[5, 1, 0], [0, 0, 0]]), np.array([[5, 6, 1], [1, 0, 0]])
    batch = {"sources": sources, "targets": targets}
    assert data.padding_share(batch) == 6 / 12


def test_padding_is_little_in_the_embedded_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = data.prepare(dataclasses.replace(QUICK, seed=1))
    share, num_shapes = padding(config)
    print(f"embedded data: {share:.3f} padding, {num_shapes} shapes")
    assert share < 0.15
    assert num_shapes <= len(data.bucket_bounds(config.max_length))


@pytest.mark.parametrize("vocabulary_size", [2_000, 8_000])
def test_real_captions(real_data, tmp_path, vocabulary_size):
    """Multi30k: 18,000 and 1,000 pairs."""
    with tarfile.open(real_data / "translation" / "translation.tar.gz") as opened:
        opened.extractall(tmp_path, filter="data")
    config = data.prepare(
        own(
            tmp_path / "translation",
            test_name="test_2016_flickr",
            vocabulary_size=vocabulary_size,
            max_length=128,
        )
    )
    assert (config.num_train_pairs, config.num_eval_sentences) == (18_000, 1_000)
    for side, language in zip(text.load(config, "test"), text.LANGUAGES):
        written = text.read_lines(text.path_of(config, "test", language))
        rows = side.fill(np.arange(1_000), int(side.lengths().max()), np.int32)
        assert [vocabulary.decode(text.processor(config), row) for row in rows] == list(written)
    share, num_shapes = padding(config)
    print(f"Multi30k, {vocabulary_size} pieces: {share:.3f} padding, {num_shapes} shapes")
    assert share < 0.15
    assert num_shapes <= len(data.bucket_bounds(config.max_length))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("num_train_pairs", "expected 4,590,101 for train pairs, found 6"),
        ("num_eval_sentences", "expected 3,003 for eval sentences, found 2"),
    ],
)
def test_the_references_counts_are_checked(folder, field, words):
    with pytest.raises(UserError) as caught:
        data.prepare(own(folder, **{field: getattr(REFERENCE, field)}))
    assert words in str(caught.value)
    assert f"--set {field}=None" in str(caught.value)


def test_too_short_a_max_length_is_named(folder):
    write(folder, "train", ENGLISH[:3], GERMAN[:3])
    with pytest.raises(UserError, match="no training pair has max_length=2 pieces"):
        data.prepare(own(folder, max_length=2))


def test_too_long_a_test_sentence_is_named(folder):
    """It is decoded to no more places than there are positions."""
    write(folder, "test", ["Two.", "Two apples."], ["Zwei.", "Zwei Äpfel."])
    with pytest.raises(UserError) as caught:
        data.prepare(own(folder, max_positions=10))
    found = re.search(r"test.en, line 2: .* --set max_positions=(\d+), or", str(caught.value))
    data.prepare(own(folder, max_positions=int(found[1])))
    with pytest.raises(UserError, match="line 2"):
        data.prepare(own(folder, max_positions=int(found[1]) - 1))


def test_the_reference_wants_its_data():
    with pytest.raises(UserError, match="needs --data_dir=FOLDER"):
        data.prepare(REFERENCE)
