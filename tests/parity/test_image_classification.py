"""The parity command: it finds no fault where there is none, and each of nine that are planted."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from common import parity
from image_classification import config
from tests.parity.planted import (  # noqa: F401, collected here
    test_nothing_planted_agrees,
    test_planted_fault_is_found_and_named,
)

APPLICATION = "image_classification"

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/blocks.1.convolution2.weight"),
    "batch norm epsilon": ("step_0000", "activation/stem_norm"),
    "swapped stride": ("step_0000", "activation/blocks.2.norm1"),
    "padding of a strided convolution": ("step_0000", "activation/blocks.2.norm2"),
    "label shift": ("step_0000", "loss"),
    "weight decay on batch norm": ("step_0000", "velocity/stem_norm.weight"),
    "batch norm momentum": ("step_0000", "parameter/stem_norm.running_mean"),
    "rate inside the momentum": ("step_0002", "parameter/stem.weight"),
}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, agree):
    agree("--steps=5", f"--precision={precision}")


def test_nothing_but_rounding_parts_the_frameworks(agree, monkeypatch):
    """Twelve steps, across an epoch's end, with coefficients that float32 holds exactly.

    PaddlePaddle keeps coefficients in float32 even where the arithmetic is float64.
    """
    tolerances = dict.fromkeys(config.PARITY_TOLERANCES["fp64"], 1e-11)
    monkeypatch.setitem(config.PARITY_TOLERANCES, "fp64", tolerances)
    flags = ["--steps=12", "--precision=fp64"]
    for number in ("batch_size=400", "image_size=32", "learning_rate_per_256=0.002",
                   "momentum=0.875", "batch_norm_momentum=0.875", f"batch_norm_epsilon={2**-16}"):
        flags += ["--set", number]
    agree(*flags)


def test_three_frameworks_agree_on_the_later_recipe(agree):
    agree("--steps=4", "--precision=fp64", "--set", "optimizer=lars", "--set",
          "schedule=polynomial", "--set", "warmup_epochs=0.02", "--set", "label_smoothing=0.1")


def test_three_frameworks_agree_on_the_full_network(agree):
    agree("--steps=1", "--profile=reference", "--set", "batch_size=4")


def test_a_module_can_stand_in_a_frameworks_place(record, capsys):
    module = "tests.parity.planted_image_classification_pytorch"
    code = parity.main([APPLICATION, "pytorch", module, f"--against={record}"])
    shutil.rmtree(os.path.join(record, "outputs", module))
    assert code == 0, capsys.readouterr().out


def test_a_missing_tensor_is_a_difference(record, capsys):
    source = os.path.join(record, "outputs", "pytorch")
    vendor = os.path.join(record, "outputs", "vendor")
    shutil.copytree(source, vendor)
    file = os.path.join(vendor, "step_0001.safetensors")
    tensors = safetensors.numpy.load_file(file)
    del tensors["loss"]
    safetensors.numpy.save_file(tensors, file)
    code = parity.main(["image_classification", "pytorch", f"--against={record}"])
    shown = capsys.readouterr().out
    shutil.rmtree(vendor)
    assert code == 1
    assert "DIFFERS first at step_0001 loss: inf" in shown


@pytest.fixture(scope="module")
def small_record(tmp_path_factory):
    """A record of PyTorch in float64 of a network that numpy computes in a moment."""
    folder = str(tmp_path_factory.mktemp("small"))
    flags = ["--precision=fp64", "--steps=3", f"--record={folder}", "--set", "batch_size=8",
             "--set", "image_size=32", "--set", "stem_width=8", "--set", "widths=4,8,8,16",
             "--set", "blocks=2,1,1,1", "--set", "label_smoothing=0.1"]
    assert parity.main(["image_classification", "pytorch", *flags]) == 0
    return folder


def test_a_vendors_port_is_judged_from_its_files_alone(small_record, capsys):
    script = os.path.join(os.path.dirname(__file__), "vendor_numpy.py")
    subprocess.run([sys.executable, script, small_record], check=True, cwd=small_record)
    code = parity.main(["image_classification", "pytorch", f"--against={small_record}"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "vendor" in shown
    assert "AGREES" in shown


def test_a_vendors_small_mistake_is_named(small_record, capsys):
    """The port as it is, but its second step forgets weight decay."""
    script = os.path.join(os.path.dirname(__file__), "vendor_numpy.py")
    subprocess.run([sys.executable, script, small_record, "other"], check=True, cwd=small_record)
    outputs = os.path.join(small_record, "outputs", "other")
    first, second = (safetensors.numpy.load_file(os.path.join(outputs, f"step_000{k}.safetensors"))
                     for k in range(2))
    second["velocity/stem.weight"] -= 1e-4 * first["parameter/stem.weight"]
    safetensors.numpy.save_file(second, os.path.join(outputs, "step_0001.safetensors"))
    code = parity.main(["image_classification", "pytorch", f"--against={small_record}"])
    shown = capsys.readouterr().out
    shutil.rmtree(outputs)
    assert code == 1
    assert "DIFFERS first at step_0001 velocity/stem.weight" in shown


def test_difference_by_hand():
    assert parity.difference(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(0.1)
    assert parity.difference(np.zeros(2), np.zeros(2)) == 0
    assert parity.difference(np.ones(2), np.ones(3)) == np.inf
    assert parity.difference(np.ones(2), np.array([1.0, np.nan])) == np.inf
