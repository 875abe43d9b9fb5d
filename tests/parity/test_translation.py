"""The Transformer's parity, in training and in decoding; each of the faults planted is named."""

import os
import shutil

import pytest

from common import parity

PLANTED = "tests.parity.planted_translation_pytorch"
ALL = ["translation", "pytorch", "tensorflow", "paddlepaddle"]
SMALL = ["--set", "batch_tokens=256"]

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/encoder.1.feed_forward.hidden.weight"),
    "embedding not scaled": ("step_0000", "activation/source"),
    "positions interleaved": ("step_0000", "activation/source"),
    "the decoder sees the padding": ("step_0000", "activation/decoder.0.cross_attention"),
    "epsilon of the layer norm": ("step_0000", "activation/encoder.0.feed_forward"),
    "no ReLU": ("step_0000", "activation/encoder.0.feed_forward"),
    "targets begin with the end of a sentence": ("step_0000", "activation/target"),
    "later targets are seen": ("step_0000", "activation/decoder.0.self_attention"),
    "labels smoothed over all pieces": ("step_0000", "loss"),
    "mean over the places, empty ones too": ("step_0000", "loss"),
    "second beta": ("step_0000", "second_moment/embedding.weight"),
    "rate of the next step": ("step_0000", "parameter/embedding.weight"),
    "epsilon beside the uncorrected root": ("step_0001", "parameter/embedding.weight"),
    "keys of the beams mixed up": ("step_0001", "prediction/pieces"),
    "half as many beams": ("step_0001", "prediction/pieces"),
}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A folder of records in float64, of PyTorch, two steps."""
    folder = str(tmp_path_factory.mktemp("record"))
    flags = ["--precision=fp64", "--steps=2", f"--record={folder}", *SMALL]
    assert parity.main(["translation", "pytorch", *flags]) == 0
    return folder


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, capsys):
    """Five steps, and then the hypotheses, piece for piece."""
    code = parity.main([*ALL, "--steps=5", f"--precision={precision}"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.count("AGREES") == 2
    assert shown.count("prediction") == 2


def test_three_frameworks_agree_at_full_width(capsys):
    """The reference's sizes but for depth and vocabulary, which repeat what one layer shows."""
    flags = ["--profile=reference", "--steps=1", "--set", "num_layers=1",
             "--set", "vocabulary_size=4000", "--set", "max_length=32",
             "--set", "batch_tokens=128", "--set", "extra_decode_length=5"]
    code = parity.main([*ALL, *flags])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.count("AGREES") == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found_and_named(fault, record, capsys, monkeypatch):
    monkeypatch.setenv("PLANTED", fault)
    code = parity.main(["translation", "pytorch", PLANTED, f"--against={record}"])
    shown = capsys.readouterr().out
    shutil.rmtree(os.path.join(record, "outputs", PLANTED))
    assert code == 1, shown
    dump, tensor = FAULTS[fault]
    assert f"DIFFERS first at {dump} {tensor}:" in shown


def test_module_without_a_planted_fault_agrees(record, capsys, monkeypatch):
    monkeypatch.setenv("PLANTED", "")
    code = parity.main(["translation", "pytorch", PLANTED, f"--against={record}"])
    shutil.rmtree(os.path.join(record, "outputs", PLANTED))
    assert code == 0, capsys.readouterr().out
