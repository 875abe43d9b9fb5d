"""The embedded reviews: the same everywhere, and beyond a bag of words."""

import dataclasses
import os
import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sentiment_analysis import data, quick_data
from sentiment_analysis.config import QUICK


@pytest.fixture(scope="module")
def written():
    """The config of the embedded data."""
    return data.prepare(dataclasses.replace(QUICK, seed=1))


def texts(config, split):
    """([text], labels) of a split, in the reader's order."""
    found = []
    for name in data.CLASSES:
        folder = os.path.join(config.data_dir, split, name)
        for file in sorted(os.listdir(folder)):
            with open(os.path.join(folder, file)) as opened:
                found.append(opened.read())
    return found, data.load(config.data_dir, config.min_count)[1][split].labels


def test_counts(written):
    assert (written.num_train_reviews, written.num_eval_reviews) == (5000, 1000)
    assert 150 < written.vocabulary_size < 250
    for split, count in (("train", 2500), ("test", 500)):
        labels = data.load(written.data_dir, written.min_count)[1][split].labels
        assert np.bincount(labels).tolist() == [count, count]


def test_files_are_named_by_number_and_rating(written):
    for name, ratings in (("pos", "7|8|9|10"), ("neg", "1|2|3|4")):
        for file in os.listdir(os.path.join(written.data_dir, "train", name)):
            assert re.fullmatch(rf"\d+_({ratings})\.txt", file)


def test_reviews_have_one_word_two_and_many(written):
    words = data.load(written.data_dir, written.min_count)[1]["test"].words
    lengths = words.lengths()
    assert {1, 2} <= set(lengths.tolist())
    assert lengths.max() > 150
    assert (words.values == written.vocabulary_size - 1).mean() > 0.01  # <unk>


def test_reviews_depend_on_the_seed_alone():
    one, same, other = (
        quick_data.write_review(True, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_a_remark_says_what_it_is_told():
    """By the grammar itself, read back: the adjective's side, turned by a negation."""
    rng = np.random.default_rng(1)
    for _ in range(500):
        good, strong = bool(rng.integers(2)), bool(rng.integers(2))
        *before, mark, adjective = quick_data.remark(good, strong, rng)
        assert (adjective in quick_data.GOOD) == (good == (not before))
        assert mark in (quick_data.STRONG if strong else quick_data.WEAK)


@pytest.mark.parametrize(("words", "limit"), [(1, 0.6), (3, 0.8)])
def test_a_bag_of_words_stays_far_below_the_target(written, words, limit):
    """Logistic regression on tf-idf of words, and of all runs of up to three words."""
    train, labels = texts(written, "train")
    test, expected = texts(written, "test")
    features = TfidfVectorizer(ngram_range=(1, words))
    model = LogisticRegression(C=4, max_iter=1000).fit(features.fit_transform(train), labels)
    accuracy = model.score(features.transform(test), expected)
    print(f"tf-idf of 1 to {words} words: {accuracy:.3f}, target {QUICK.target}")
    assert accuracy < limit < QUICK.target - 0.1
