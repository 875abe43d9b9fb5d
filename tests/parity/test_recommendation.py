"""NeuMF's parity: no fault where there is none, and each of ten that are planted is named."""

import os
import shutil

import pytest

from common import parity

PLANTED = "tests.parity.planted_recommendation_pytorch"

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/mlp.1.weight"),
    "concatenation turned": ("step_0000", "activation/mlp_input"),
    "no ReLU after the last layer": ("step_0000", "activation/logits"),
    "labels turned": ("step_0000", "loss"),
    "sum instead of mean": ("step_0000", "loss"),
    "a repeated row counts once": ("step_0000", "gradient/mf_user.weight"),
    "second beta": ("step_0000", "second_moment/mf_user.weight"),
    "no bias correction": ("step_0000", "parameter/mf_user.weight"),
    "epsilon beside the uncorrected root": ("step_0000", "parameter/mf_user.weight"),
    "lazy Adam": ("step_0001", "parameter/mf_user.weight"),
}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A folder of records in float64, of PyTorch, three steps."""
    folder = str(tmp_path_factory.mktemp("record"))
    flags = ["--precision=fp64", "--steps=3", f"--record={folder}"]
    assert parity.main(["recommendation", "pytorch", *flags]) == 0
    return folder


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, capsys):
    code = parity.main(["recommendation", "pytorch", "tensorflow", "paddlepaddle",
                        "--steps=5", f"--precision={precision}"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.count("AGREES") == 2


def test_three_frameworks_agree_on_the_full_network(capsys):
    code = parity.main(["recommendation", "pytorch", "tensorflow", "paddlepaddle",
                        "--steps=2", "--profile=reference"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.count("AGREES") == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found_and_named(fault, record, capsys, monkeypatch):
    monkeypatch.setenv("PLANTED", fault)
    code = parity.main(["recommendation", "pytorch", PLANTED, f"--against={record}"])
    shown = capsys.readouterr().out
    shutil.rmtree(os.path.join(record, "outputs", PLANTED))
    assert code == 1, shown
    dump, tensor = FAULTS[fault]
    assert f"DIFFERS first at {dump} {tensor}:" in shown


def test_module_without_a_planted_fault_agrees(record, capsys, monkeypatch):
    monkeypatch.setenv("PLANTED", "")
    code = parity.main(["recommendation", "pytorch", PLANTED, f"--against={record}"])
    shutil.rmtree(os.path.join(record, "outputs", PLANTED))
    assert code == 0, capsys.readouterr().out
