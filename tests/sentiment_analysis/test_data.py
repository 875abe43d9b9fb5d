"""The reader: words, dictionary and batches by hand examples; faults of the user by one line."""

import collections
import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from sentiment_analysis import data
from sentiment_analysis.config import QUICK, REFERENCE, halo
from tests.sentiment_analysis.packed import unpack

SMALL = dataclasses.replace(
    REFERENCE, seed=1, vocabulary_size=10, block_size=4, stream_multiple=8, blocks_multiple=2
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"Don't!", [b"dont"]),
        (b"good.<br /><br />Bad", [b"goodbr", b"br", b"bad"]),
        (b"a well-made  film\n", [b"a", b"wellmade", b"film"]),
        (b"10/10 -- \"Great\"\r\n", [b"1010", b"great"]),
        ("Am\u00c9lie".encode(), ["am\u00c9lie".encode()]),  # ASCII letters alone become small
        (b"...", []),
    ],
)
def test_words(text, words):
    assert data.tokenize(text) == words


def test_dictionary_by_hand():
    """Three bs, three as, two cs; d is seen once and falls to <unk>."""
    counts = collections.Counter(b"b a c b d a c b a".split())
    dictionary = data.build_dictionary(counts, min_count=2)
    assert dictionary == {b"a": 0, b"b": 1, b"c": 2, b"<unk>": 3}
    assert list(dictionary) == [b"a", b"b", b"c", b"<unk>"]


def test_the_references_cut_off_keeps_what_is_seen_more_than_150_times():
    counts = collections.Counter({b"often": 151, b"seldom": 150})
    assert list(data.build_dictionary(counts, REFERENCE.min_count)) == [b"often", b"<unk>"]


@pytest.fixture
def folder(tmp_path):
    """aclImdb with two or three reviews in each folder."""
    texts = {
        ("train", "pos"): ["Good, good film", "good"],
        ("train", "neg"): ["Bad film", "bad bad!"],
        ("test", "pos"): ["A good film", "rare"],
        ("test", "neg"): ["bad", "A film", "film"],
    }
    for (split, name), reviews in texts.items():
        inside = tmp_path / "aclImdb" / split / name
        inside.mkdir(parents=True)
        for number, text in enumerate(reviews):
            (inside / f"{number}_{9 if name == 'pos' else 2}.txt").write_text(text)
    return tmp_path


def own(folder, **changes):
    """The quick config on a folder."""
    return dataclasses.replace(
        QUICK, seed=1, data_dir=str(folder), **{"min_count": 2, "batch_size": 2} | changes
    )


def test_the_dictionary_counts_training_and_test_reviews(folder):
    dictionary, _ = data.load(data.root(str(folder)), 2)
    # film 5, bad 4, good 4, a 2; rare once.
    assert list(dictionary) == [b"film", b"bad", b"good", b"a", b"<unk>"]


@pytest.mark.parametrize("inside", ["", "aclImdb"])
def test_a_folder_is_found_and_counted(folder, inside):
    config = data.prepare(own(folder / inside))
    assert (config.num_train_reviews, config.num_eval_reviews) == (4, 5)
    assert config.vocabulary_size == 5


def test_positive_reviews_come_first_and_are_0(folder):
    config = data.prepare(own(folder))
    reviews = data.load(config.data_dir, 2)[1]["test"]
    assert reviews.labels.tolist() == [0, 0, 1, 1, 1]
    assert [words.tolist() for words in reviews.words] == [[3, 2, 0], [4], [1], [3, 0], [0]]


def test_a_batch_by_hand():
    """Reviews of 3, 5 and 1 words in blocks of 4: each leaves at least 2 places empty behind."""
    reviews = [np.array(words, np.int32) for words in ([1, 2, 3], [4, 5, 6, 7, 8], [9])]
    batch = data.pack(SMALL, reviews, [0, 1, 1])
    _ = 10
    assert batch["tokens"].tolist() == [
        _, _,
        1, 2, 3, _, _, _, _, _,
        4, 5, 6, 7, 8, _, _, _,
        9, _, _, _, _, _, _, _,
        _,
    ]  # fmt: skip
    assert batch["blocks"].tolist() == [[0, 0], [2, 3], [4, 4]]
    assert batch["seen"].tolist() == [False] + [True] * 9
    assert batch["labels"].tolist() == [0, 1, 1]
    assert data.efficiency(SMALL, batch) == 9 / 27


@settings(max_examples=200, deadline=None)
@given(
    reviews=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), max_size=9),
    block_size=st.integers(1, 9),
    windows=st.sampled_from([(3, 4), (1,), (2, 7), (5, 3)]),
)
def test_a_batch_holds_its_reviews_apart_from_each_other(reviews, block_size, windows):
    config = dataclasses.replace(
        SMALL, block_size=block_size, stream_multiple=3 * block_size, windows=windows
    )
    batch = data.pack(config, [np.array(r, np.int32) for r in reviews], [0] * len(reviews))
    assert unpack(config, batch) == reviews
    assert set(np.flatnonzero(batch["seen"])) == {word for review in reviews for word in review}
    # What a convolution sees beyond a review's ends is empty.
    before, after = halo(config)
    stream = batch["tokens"]
    assert len(stream) > before + after  # of no reviews too
    for blocks, review in zip(batch["blocks"], reviews):
        first = before + blocks[0] * block_size
        assert stream[first : first + len(review)].tolist() == review
        assert (stream[first - before : first] == config.vocabulary_size).all()
        end = first + len(review)
        assert (stream[end : end + after] == config.vocabulary_size).all()
        assert end + after <= len(stream)


def test_shapes_are_few_and_padding_is_little_at_imdbs_lengths():
    """Lengths drawn log-normal with IMDB's mean and longest: about 230 and 2,500 words."""
    config = dataclasses.replace(REFERENCE, seed=1)
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(5.22, 0.65, (195, config.batch_size)), 10, 2500).astype(int)
    batches = [
        data.pack(config, [np.zeros(n, np.int32) for n in row], np.zeros(len(row)))
        for row in lengths
    ]
    streams = {len(batch["tokens"]) for batch in batches}
    widths = {batch["blocks"].shape[1] for batch in batches}
    share = np.mean([data.efficiency(config, batch) for batch in batches])
    padded = lengths.mean() / lengths.max(axis=1).mean()
    print(f"words' share of a batch: {share:.3f}; padded to the longest it were {padded:.3f}; "
          f"{len(streams)} stream lengths, {len(widths)} widths; mean {lengths.mean():.0f}")
    assert len(streams) <= 24 and len(widths) <= 24
    assert share > 0.95
    assert padded < 0.3


def test_every_epoch_has_each_review_once_in_another_order(folder):
    config = dataclasses.replace(data.prepare(own(folder)), batch_size=2)
    orders = []
    for epoch in (1, 2):
        found = data.batches(config, "train", epoch).stream()
        orders.append([tuple(r) for batch in found for r in unpack(config, batch)])
    reviews = data.load(config.data_dir, 2)[1]["train"]
    every = sorted(tuple(words.tolist()) for words in reviews.words)
    assert [sorted(order) for order in orders] == [every, every]


def test_two_processes_read_the_halves_of_one_batch(folder):
    config = data.prepare(own(folder))
    batches = data.batches(config, "train", 1)
    whole = list(batches.stream())
    parts = [list(batches.stream(rank=rank, world_size=2)) for rank in range(2)]
    for step, batch in enumerate(whole):
        together = [unpack(config, part[step]) for part in parts]
        assert together[0] + together[1] == unpack(config, batch)


def test_the_test_set_is_read_whole_and_in_order(folder):
    config = dataclasses.replace(data.prepare(own(folder)), eval_batch_size=2)
    labels = [batch["labels"].tolist() for batch in data.batches(config, "test").stream()]
    assert labels == [[0, 0], [1, 1], [1]]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: os.rename(f / "aclImdb", f / "other"), "train/pos: no such folder"),
        (lambda f: os.rename(f / "aclImdb/test", f / "test"), "test/pos: no such folder"),
        (lambda f: [p.unlink() for p in (f / "aclImdb/test/neg").iterdir()],
         "test/neg: no *.txt in this folder"),
        (lambda f: (f / "aclImdb/train/neg/1_2.txt").write_text(" ?! \n"),
         "train/neg/1_2.txt: no word in this review"),
        (lambda f: (f / "aclImdb/train/neg/7_2.txt").mkdir(), "train/neg/7_2.txt: cannot be read"),
    ],
    ids=["another layout", "half there", "empty folder", "empty review", "no file"],
)  # fmt: skip
def test_a_damaged_folder_is_named(folder, damage, words):
    damage(folder)
    with pytest.raises(UserError) as caught:
        data.prepare(own(folder))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("num_train_reviews", "expected 25,000 for train reviews, found 4"),
        ("num_eval_reviews", "expected 25,000 for eval reviews, found 5"),
        ("vocabulary_size", "expected 5,147 for vocabulary size, found 5"),
    ],
)
def test_the_references_counts_are_checked(folder, field, words):
    config = own(folder, **{field: getattr(REFERENCE, field)})
    with pytest.raises(UserError) as caught:
        data.prepare(config)
    assert words in str(caught.value)
    assert f"--set {field}=None" in str(caught.value)


def test_the_reference_wants_its_data():
    with pytest.raises(UserError, match="needs --data_dir=FOLDER"):
        data.prepare(REFERENCE)
