"""Word error rates by hand, in percent; rows of nothing; texts of symbols."""

import subprocess
import sys

import numpy as np
import pytest

from speech_recognition import alphabet, benchmark, quick_data
from speech_recognition.config import QUICK, REFERENCE

METRIC = benchmark.BENCHMARK.quality(REFERENCE)


def rows(texts, width=20):
    found = np.zeros((len(texts), width), np.int64)
    for row, text in zip(found, texts):
        labels, _ = alphabet.encode(text)
        row[: len(labels)] = labels
    return found


def record(said, heard):
    lengths = np.full(len(said), 9, np.int32)
    return METRIC.compare(rows(heard, 30), {"labels": rows(said), "lengths": lengths})


def test_rates_by_hand():
    """One of two words wrong, none of one, two of one: 50, 0 and 200; 3 errors over 4 words."""
    records = [record(["A DOG", "CAT"], ["A DIG", "CAT"]), record(["RUN"], ["RUN RUN IN"])]
    assert METRIC.score(records) == pytest.approx(250 / 3)
    assert METRIC.beside(records)["corpus_wer"] == pytest.approx(75.0)
    assert METRIC.count(records) == 3


def test_words_that_nobody_trained_on_are_told_apart_in_the_quick_profile():
    heard, unheard = (" ".join(words[:2]) for words in quick_data.lexicon())
    records = [record([heard, unheard], [heard, unheard.split()[0]])]
    quick = benchmark.BENCHMARK.quality(QUICK)
    assert quick.beside(records) == {"corpus_wer": pytest.approx(25.0), "unheard_wer": 50.0}
    assert quick.beside([record([heard], [heard])]) == {"corpus_wer": 0.0}
    assert METRIC.beside(records) == {"corpus_wer": pytest.approx(25.0)}


def test_nothing_heard_is_every_word_wrong():
    assert METRIC.score([record(["ONE TWO THREE"], [""])]) == 100.0
    assert METRIC.beside([record(["ONE TWO"], [""])])["corpus_wer"] == 100.0


def test_words_dropped_added_and_changed():
    assert METRIC.score([record(["A B C D"], ["A C D"])]) == pytest.approx(25.0)
    assert METRIC.score([record(["A B"], ["A B C"])]) == pytest.approx(50.0)
    assert METRIC.score([record(["IT'S"], ["ITS"])]) == pytest.approx(100.0)


def test_spaces_around_and_doubled_are_no_words():
    assert record(["A B"], [" A  B "]) == [("A B", "A  B")]
    assert METRIC.score([record(["A B"], [" A  B "])]) == 0.0


def test_a_row_of_length_0_is_no_utterance():
    batch = {"labels": rows(["A", ""]), "lengths": np.array([4, 0], np.int32)}
    assert METRIC.compare(rows(["A", "B"]), batch) == [("A", "A")]


def test_lower_is_better_and_the_target_itself_is_enough():
    assert METRIC.names == ("wer",)
    targets = METRIC.targets(REFERENCE.target)
    assert targets == {"wer": 23.0}
    assert METRIC.met({"wer": 23.0}, targets) and not METRIC.met({"wer": 23.01}, targets)


def test_who_only_reads_logs_needs_no_library():
    code = ("import sys, speech_recognition.benchmark, speech_recognition.decoding\n"
            "print(*sorted({'jiwer', 'soundfile'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
