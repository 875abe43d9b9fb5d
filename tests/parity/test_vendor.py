"""A vendor's port in plain numpy is judged from its files alone; its small mistakes are named."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from common import benchmark
from common.parity import compare

pytestmark = pytest.mark.xdist_group("parity-image_classification")
SCRIPT = os.path.join(os.path.dirname(__file__), "vendor_numpy.py")


@pytest.fixture(scope="module")
def folder(records, tmp_path_factory):
    """A folder of records where the vendor's dumps lie as well."""
    folder = tmp_path_factory.mktemp("vendor") / "record"
    shutil.copytree(records("image_classification")["small network"], folder)
    # -I: nothing of this repository can be imported.
    subprocess.run([sys.executable, "-I", SCRIPT, folder], check=True, cwd=folder)
    return folder


def judged(folder, name):
    """[Row] of what an implementation wrote."""
    facts = benchmark.benchmark_of("image_classification")
    return list(compare.rows(facts, str(folder), "pytorch", name))


def test_the_port_agrees(folder):
    rows = judged(folder, "vendor")
    assert len(rows) > 200
    assert [row for row in rows if row.beyond] == []


def forget_weight_decay(tensors, before):
    tensors["velocity/stem.weight"] -= 1e-4 * before["parameter/stem.weight"]


def transpose(tensors, before):
    tensors["gradient/classifier.weight"] = tensors["gradient/classifier.weight"].T.copy()


def leave_out(tensors, before):
    del tensors["loss"]


def divide_by_zero(tensors, before):
    tensors["gradient/stem.weight"][3, 1, 0, 2] = np.nan


def add_an_axis(tensors, before):
    tensors["loss"] = tensors["loss"].reshape(1)


def round_to_half(tensors, before):
    tensors["activation/pooled"] = tensors["activation/pooled"].astype(np.float16)


MISTAKES = {
    forget_weight_decay: ("velocity/stem.weight", ""),
    transpose: (
        "gradient/classifier.weight",
        "shape [64, 10], expected [10, 64]; agrees if transposed",
    ),
    leave_out: ("loss", "missing"),
    divide_by_zero: (
        "gradient/stem.weight", "1 elements are not finite, the first at [3, 1, 0, 2]"
    ),
    add_an_axis: ("loss", "shape [1], expected []"),
    round_to_half: ("activation/pooled", "dtype float16, expected float64"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_small_mistake_is_named(mistake, folder):
    name = mistake.__name__
    outputs = folder / "outputs" / name
    shutil.copytree(folder / "outputs" / "vendor", outputs)
    before, tensors = (safetensors.numpy.load_file(outputs / f"step_000{k}.safetensors")
                       for k in (0, 1))
    mistake(tensors, before)
    safetensors.numpy.save_file(tensors, outputs / "step_0001.safetensors")
    first = next(row for row in judged(folder, name) if row.beyond)
    assert (first.dump, first.name, first.reason) == ("step_0001", *MISTAKES[mistake])
