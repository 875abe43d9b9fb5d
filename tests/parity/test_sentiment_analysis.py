"""Parity of the three Seq-CNNs, on reviews of one word, of two, of the longest; planted faults."""

import dataclasses
import os
import shutil

import pytest

from common import parity
from sentiment_analysis import config, data
from tests.sentiment_analysis.packed import unpack

PLANTED = "tests.parity.planted_pytorch_sentiment_analysis"
ALL = ["sentiment_analysis", "pytorch", "tensorflow", "paddlepaddle"]

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/convolutions.1.weight"),
    "a pad word between reviews": ("step_0000", "activation/embedding"),
    "empty places in the maximum": ("step_0000", "activation/convolutions.0"),
    "relu for elu": ("step_0000", "activation/convolutions.0"),
    "window centred the other way": ("step_0000", "activation/convolutions.1"),
    "labels the other way": ("step_0000", "loss"),
    "equal maxima each take the gradient": ("step_0000", "gradient/embedding.weight"),
    "second moment's decay": ("step_0000", "second_moment/embedding.weight"),
    "epsilon beside the corrected root": ("step_0000", "parameter/embedding.weight"),
    "moments of words not in the batch": ("step_0001", "first_moment/embedding.weight"),
}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A folder of records in float64, of PyTorch, two steps."""
    folder = str(tmp_path_factory.mktemp("record"))
    flags = ["--precision=fp64", "--steps=2", f"--record={folder}"]
    assert parity.main(["sentiment_analysis", "pytorch", *flags]) == 0
    return folder


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, capsys):
    code = parity.main([*ALL, "--steps=5", f"--precision={precision}"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.count("AGREES") == 2


def test_three_frameworks_agree_on_the_full_network(capsys):
    code = parity.main([*ALL, "--steps=2", "--profile=reference", "--set", "batch_size=4"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.count("AGREES") == 2


@pytest.mark.parametrize("profile", [config.QUICK, config.REFERENCE], ids=["quick", "reference"])
def test_the_batches_hold_the_shortest_and_the_longest(profile):
    counted, batches = data.parity_batches(dataclasses.replace(profile, seed=1), 2)
    for batch in batches:
        lengths = [len(review) for review in unpack(counted, batch)]
        assert {1, 2, 2500 if profile.profile == "reference" else 60} <= set(lengths)
    assert not all(batch["seen"].all() for batch in batches)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found_and_named(fault, record, capsys, monkeypatch):
    monkeypatch.setenv("PLANTED", fault)
    code = parity.main(["sentiment_analysis", "pytorch", PLANTED, f"--against={record}"])
    shown = capsys.readouterr().out
    shutil.rmtree(os.path.join(record, "outputs", PLANTED))
    assert code == 1, shown
    dump, tensor = FAULTS[fault]
    assert f"DIFFERS first at {dump} {tensor}:" in shown


def test_module_without_a_planted_fault_agrees(record, capsys, monkeypatch):
    monkeypatch.setenv("PLANTED", "")
    code = parity.main(["sentiment_analysis", "pytorch", PLANTED, f"--against={record}"])
    shutil.rmtree(os.path.join(record, "outputs", PLANTED))
    assert code == 0, capsys.readouterr().out
