"""The reader: buckets and batches by hand and by property; faults of the user by one line."""

import dataclasses
import os
import re
import stat
import tarfile
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import permutation
from common.errors import UserError
from translation import data, vocabulary
from translation.config import QUICK, REFERENCE

# Sheet of MLPerf v0.5's dataset.py: the bounds for pairs of up to 256 pieces.
REFERENCE_BOUNDS = [
    8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 33, 36, 39, 42, 46, 50,
    55, 60, 66, 72, 79, 86, 94, 103, 113, 124, 136, 149, 163, 179, 196, 215, 236, 257,
]  # fmt: skip

ENGLISH = ["A man.", "The old man buys an apple.", "Two apples", "", "He  sleeps.", "Apple!"]
GERMAN = ["Ein Mann.", "Der alte Mann kauft einen Apfel.", "Zwei Äpfel", "", "Er schläft.",
          "Apfel!"]


@pytest.fixture
def folder(tmp_path):
    """Six training pairs, two test pairs."""
    write(tmp_path, "train", ENGLISH, GERMAN)
    write(tmp_path, "test", ["A man buys two apples.", "Two!"], ["Ein Mann kauft zwei Äpfel.", "2"])
    return tmp_path


def write(folder, name, english, german):
    for language, texts in (("en", english), ("de", german)):
        text = "".join(f"{line}\n" for line in texts)
        (folder / f"{name}.{language}").write_bytes(text.encode())


def own(folder, **changes):
    """The quick config on a folder, with a vocabulary that little text can give."""
    changes = {"vocabulary_size": 300} | changes
    return dataclasses.replace(QUICK, seed=1, data_dir=str(folder), **changes)


def texts(config, batch, side):
    """[str] of a side of a batch."""
    return [vocabulary.decode(data.processor(config), row) for row in batch[side]]


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


def test_a_folder_is_found_counted_and_encoded(folder):
    config = data.prepare(own(folder))
    assert (config.num_train_pairs, config.num_eval_sentences) == (6, 2)
    sources, targets = data.load(config, "train")
    for side, expected in ((sources, ENGLISH), (targets, GERMAN)):
        assert side.pieces.dtype == np.uint16
        assert isinstance(side.pieces, np.memmap)
        found = [side.pieces[a:b].tolist() for a, b in zip(side.starts, side.starts[1:])]
        assert all(pieces[-1] == 1 and 1 not in pieces[:-1] for pieces in found)
        assert [data.processor(config).decode(pieces) for pieces in found] == expected
    assert data.references(config) == ["Ein Mann kauft zwei Äpfel.", "2"]


def test_a_large_vocabulary_needs_more_than_two_bytes(folder):
    config = dataclasses.replace(own(folder), encoded="encoded-by-hand", num_train_pairs=6)
    config = dataclasses.replace(config, vocabulary_size=70_000)
    inside = folder / "encoded-by-hand"
    inside.mkdir()
    small = vocabulary.learn(ENGLISH + GERMAN, 300)
    with mock.patch.object(vocabulary, "learn", return_value=small):
        data.write_encoded(config, str(inside))
    assert data.load(config, "train")[0].pieces.dtype == np.int32


def test_the_encoded_folder_is_made_once_and_for_its_content(folder):
    first = data.prepare(own(folder))
    model = folder / first.encoded / "vocabulary.model"
    assert stat.S_IMODE(os.stat(model.parent).st_mode) == 0o755
    before = os.stat(model).st_mtime_ns
    assert data.prepare(own(folder)) == first
    assert os.stat(model).st_mtime_ns == before
    assert data.prepare(own(folder, vocabulary_size=301)).encoded != first.encoded
    text = (folder / "train.de").read_text()
    (folder / "train.de").write_text(text.replace("Zwei", "Drei"))
    assert data.prepare(own(folder)).encoded != first.encoded
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


def test_one_process_may_be_first(folder):
    """The other's folder stands; this one's is thrown away."""
    written = data.write_encoded

    def slow(config, inside):
        written(config, inside)
        if not os.path.exists(os.path.join(config.data_dir, config.encoded)):
            with mock.patch.object(data, "write_encoded", written):
                data.encode(config)

    with mock.patch.object(data, "write_encoded", slow):
        config = data.prepare(own(folder))
    assert data.prepare(own(folder)) == config
    assert sum(name.startswith("encoded-") for name in os.listdir(folder)) == 1


def test_a_failure_leaves_nothing(folder):
    def full(config, inside):
        raise OSError(28, "No space left on device")

    with (
        mock.patch.object(data, "write_encoded", full),
        pytest.raises(UserError, match=r"cannot write the encoded text here .No space left"),
    ):
        data.prepare(own(folder))
    assert not [name for name in os.listdir(folder) if re.match(r"encoded|.*\.part$", name)]


def test_a_folder_that_is_read_only_is_named(folder):
    def refused(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    with (
        mock.patch("tempfile.mkdtemp", refused),  # root, who runs some tests, may write anywhere
        pytest.raises(UserError, match=r"cannot write the encoded text here .Permission denied"),
    ):
        data.prepare(own(folder))


def test_lines_end_with_the_line_feed_alone(folder):
    """Unicode's other ends of a line stay inside; white space at a line's ends does not."""
    odd = ["a\u2028b", "c\x85d", "e\rf", "\u00a0 g \r", "h\x0bi", "j\x1ck"]
    write(folder, "train", odd, GERMAN)
    assert list(data.read_lines(folder / "train.en")) == [*odd[:3], "g", *odd[4:]]
    assert data.prepare(own(folder)).num_train_pairs == 6


def test_the_last_line_may_lack_its_line_feed(folder):
    for language in ("en", "de"):
        path = folder / f"test.{language}"
        path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert data.prepare(own(folder)).num_eval_sentences == 2


def test_pairs_that_are_too_long_are_left_out_of_training_alone(folder):
    """Longer than max_length on either side."""
    config = data.prepare(own(folder, max_length=12, batch_tokens=16))
    sides = data.load(config, "train")
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
    """The Sentences of two sides.  lengths: [(source, target)]; pair n is of pieces 3 + n."""
    sides = []
    for side in zip(*lengths):
        rows = [[3 + number] * (length - 1) + [1] for number, length in enumerate(side)]
        starts = np.cumsum([0, *side]).astype(np.int64)
        sides.append(data.Sentences(np.concatenate(rows).astype(np.int32), starts))
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
    return mock.patch.object(data, "load_encoded", lambda folder, split: sides), config


def first_come(config, lengths, epoch):
    """[(bucket, [pair])] as one pair after another fills them: what train_indices must give."""
    bounds, rows = data.bucket_bounds(config.max_length).tolist(), data.bucket_rows(config)
    waiting, found = {k: [] for k in range(len(bounds))}, []
    for pair in permutation(len(lengths), epoch, config.seed).tolist():
        if max(lengths[pair]) <= config.max_length:
            bucket = next(k for k, bound in enumerate(bounds) if max(lengths[pair]) < bound)
            waiting[bucket].append(pair)
            if len(waiting[bucket]) == rows[bucket]:
                found.append((bucket, waiting[bucket]))
                waiting[bucket] = []
    return found + [(bucket, pairs) for bucket, pairs in waiting.items() if pairs]


LENGTHS = st.lists(st.tuples(st.integers(1, 45), st.integers(1, 45)), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None)
@given(
    lengths=LENGTHS,
    max_length=st.integers(1, 50),
    batch_tokens=st.integers(1, 300),
    epoch=st.integers(1, 3),
)
def test_an_epoch_by_property(lengths, max_length, batch_tokens, epoch):
    """Each kept pair once, in bounded shapes, as one after the other would fill the buckets."""
    patch, config = with_lengths(lengths, max_length, batch_tokens)
    with patch:
        batches = data.batches(config, "train", epoch)
        expected = first_come(config, lengths, epoch)
        assert len(batches) == len(expected)
        rows = data.bucket_rows(config)
        bounds = data.bucket_bounds(max_length)
        for index, (bucket, pairs) in enumerate(expected):
            numbers = batches.indices[index]
            filler = [-1 - bucket] * (rows[bucket] - len(pairs))
            assert numbers.dtype == np.int64
            assert numbers.tolist() == pairs + filler
            batch = batches.read(numbers)
            shape = (rows[bucket], bounds[bucket] - 1)
            assert batch["sources"].shape == batch["targets"].shape == shape
            assert shape[0] * shape[1] <= config.batch_tokens
            for column, side in enumerate(("sources", "targets")):
                for row, number in zip(batch[side], numbers):
                    length = lengths[number][column] if number >= 0 else 0
                    whole = [3 + number] * (length - 1) + [1] if length else []
                    assert row.tolist() == whole + [0] * (shape[1] - length)


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, world_size=st.integers(1, 9), split=st.sampled_from(data.SPLITS))
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
    widths = [batch["sources"].shape[1] for batch in found]
    assert widths == sorted(widths, reverse=True)
    bounds = data.bucket_bounds(20, 45)
    for batch, width in zip(found, widths):
        for number in batch["numbers"]:
            assert width == bounds[bounds > lengths[number][0]].min() - 1


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
    for side, language in zip(data.load(config, "test"), data.LANGUAGES):
        written = data.read_lines(data.text_path(config, "test", language))
        rows = side.fill(np.arange(1_000), int(side.lengths().max()))
        assert [vocabulary.decode(data.processor(config), row) for row in rows] == list(written)
    share, num_shapes = padding(config)
    print(f"Multi30k, {vocabulary_size} pieces: {share:.3f} padding, {num_shapes} shapes")
    assert share < 0.15
    assert num_shapes <= len(data.bucket_bounds(config.max_length))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "train.de").unlink(), "train.de: no such file"),
        (lambda f: (f / "test.en").unlink(), "test.en: no such file"),
        (lambda f: (f / "train.de").write_text("eins\nzwei\n"),
         "train.en has 6 lines, "),
        (lambda f: (f / "train.de").write_bytes(b"1\n2\n\xff\xfe\n4\n5\n6\n"),
         "train.de, line 3: not UTF-8"),
        (lambda f: (f / "test.de").write_bytes(b"1\nM\xe4nner\n"), "test.de, line 2: not UTF-8"),
        (lambda f: [(f / f"train.{n}").write_text("") for n in ("en", "de")],
         "train.en: no line in this file"),
        (lambda f: [(f / "train.en").unlink(), (f / "train.en").mkdir()],
         "train.en: cannot be read"),
    ],
    ids=["no German", "no test", "lines lack", "another encoding", "Latin-1", "empty", "a folder"],
)  # fmt: skip
def test_a_damaged_folder_is_named(folder, damage, words):
    damage(folder)
    with pytest.raises(UserError) as caught:
        data.prepare(own(folder))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [name for name in os.listdir(folder) if re.match(r"encoded|.*\.part$", name)]


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


@pytest.mark.parametrize(
    "changes", [{}, {"max_length": 40, "batch_tokens": 200}, {"max_length": 30, "batch_tokens": 30}]
)
def test_parity_batches(changes):
    for profile in (QUICK, REFERENCE):
        config, found = data.parity_batches(
            dataclasses.replace(profile, seed=3, **changes), num_steps=4
        )
        again = data.parity_batches(dataclasses.replace(profile, seed=3, **changes), num_steps=4)[1]
        assert config.num_train_pairs == sum(len(batch["sources"]) for batch in found)
        assert len(found) == 4
        for batch, same in zip(found, again):
            for name, side in batch.items():
                assert np.array_equal(side, same[name])
                assert side.dtype == np.int32 and side.size <= config.batch_tokens
                assert side.min() >= 0 and side.max() < config.vocabulary_size
                assert (side != 2).all()
                ends = (side == vocabulary.END).sum(axis=1)
                assert set(ends.tolist()) <= {0, 1}
                assert (side[0] != 0).all() and side[0, -1] == vocabulary.END
                if len(side) > 3:
                    assert 1 in (side != 0).sum(axis=1)
                    assert not side[-1].any()
        assert found[1]["sources"].shape[1] == config.max_length
