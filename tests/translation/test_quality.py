"""BLEU against sacrebleu's own command, by hand, and with sentences missing or twice."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from translation import data, quality, text
from translation.config import QUICK

ENGLISH = ["A man sleeps.", "The dog runs in the garden.", "He costs 3.5 euros, she said."]
GERMAN = ["Ein Mann schläft.", "Der Hund läuft im Garten.", "Er kostet 3,5 Euro, sagte sie."]
WRONG = ["ein mann schläft.", "Der Hund läuft in der Küche.", "Er kostet 3,5 Euro - sagte sie"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name in ("train", "test"):
        for language, texts in (("en", ENGLISH), ("de", GERMAN)):
            (folder / f"{name}.{language}").write_text("".join(f"{t}\n" for t in texts))
    return data.prepare(
        dataclasses.replace(
            QUICK, seed=1, data_dir=str(folder), vocabulary_size=300, eval_batch_size=2
        )
    )


def predictions(config, texts):
    """int64 [B, L]: the pieces of texts, END, and rubbish behind it."""
    pieces = text.processor(config).encode(texts, add_eos=True)
    found = np.full((len(texts), 5 + max(len(p) for p in pieces)), 9)
    for row, one in zip(found, pieces):
        row[: len(one)] = one
    return found


def records(config, texts):
    """What `compare` gives for each batch of the test set, were these its translations."""
    metric = quality.quality(config)
    found = []
    for batch in data.batches(config, "test").stream():
        chosen = [texts[number] for number in batch["numbers"]]
        found.append(metric.compare(predictions(config, chosen), batch))
    return found


@pytest.mark.parametrize("texts", [GERMAN, WRONG], ids=["right", "wrong"])
def test_the_metric_is_sacrebleus_command(config, texts, tmp_path):
    (tmp_path / "out").write_text("".join(f"{text}\n" for text in texts))
    (tmp_path / "right").write_text("".join(f"{text}\n" for text in GERMAN))
    done = subprocess.run(
        [sys.executable, "-m", "sacrebleu", "right", "-i", "out", "-lc", "-tok", "intl", "-b",
         "-w", "4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    metric = quality.quality(config)
    value = metric.score(records(config, texts))
    assert value == pytest.approx(float(done.stdout) / 100, abs=1e-6)
    assert (value == pytest.approx(1.0)) == (texts == GERMAN)


def test_bleu_by_hand():
    """Seven words against eight; 6, 4, 2, 1 of 7, 6, 5, 4 n-grams are right."""
    value = quality.bleu(["a b c d x e f"], ["A B C D E F G h"])
    precision = (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25
    assert value == pytest.approx(np.exp(1 - 8 / 7) * precision)


def test_case_does_not_count_and_international_punctuation_is_split():
    assert quality.bleu(["DER HUND LÄUFT HEUTE"], ["der Hund läuft heute"]) == pytest.approx(1.0)
    assert quality.bleu(["so „ heute “ nicht"], ["so „heute“ nicht"]) == pytest.approx(1.0)
    assert quality.bleu(["so 3 . 5 nicht mehr"], ["so 3.5 nicht mehr"]) < 0.6


def test_pieces_become_text_up_to_the_end(config):
    batch = {"numbers": np.array([2, 0])}
    made = quality.compare(config, predictions(config, [WRONG[2], WRONG[0]]), batch)
    assert made == [(2, WRONG[2]), (0, WRONG[0])]


def test_rows_of_nothing_do_not_count(config):
    batch = data.batches(config, "test").read(np.array([], np.int64))
    metric = quality.quality(config)
    made = metric.compare(np.array([[5, 1]]), batch)
    assert made == [] and metric.count([made]) == 0


def test_order_does_not_matter(config):
    metric = quality.quality(config)
    found = records(config, WRONG)
    assert metric.count(found) == 3
    assert metric.score(found[::-1]) == metric.score(found)


@pytest.mark.parametrize("change", ["missing", "twice", "both"])
def test_a_sentence_missing_or_twice_is_an_error(config, change):
    found = [pair for record in records(config, GERMAN) for pair in record]
    found = {"missing": found[1:], "twice": found + found[:1], "both": found[1:] + found[1:2]}
    with pytest.raises(RuntimeError, match="sentences 0 to 2 once each"):
        quality.quality(config).score([found[change]])


def test_the_signature_tells_the_choices():
    signature = quality.signature()
    assert signature.startswith("nrefs:1|case:lc|eff:no|tok:intl|smooth:exp|version:")


def test_the_target_is_a_fraction(config):
    metric = quality.quality(config)
    assert metric.names == ("bleu",)
    assert metric.met({"bleu": 0.91}, {"bleu": 0.9})
    assert not metric.met({"bleu": 0.89}, {"bleu": 0.9})


def test_who_only_reads_logs_needs_neither_library():
    code = (
        "import sys, translation.data, translation.quality\n"
        "print(*sorted({'sacrebleu', 'sentencepiece'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
