"""A vendor's port in plain numpy is judged from its files alone, on a device of fp64 and on one of
bf16; its mistakes are named."""

import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from common import benchmark
from common.checkpoint import save_tensors
from common.parity import __main__ as parity
from common.parity import compare, inputs
from tests.parity.image_classification import SETTINGS

pytestmark = pytest.mark.xdist_group("parity-vendor")
SCRIPT = os.path.join(os.path.dirname(__file__), "vendor_numpy.py")
DEVICES = ("fp64", "bf16")
FACTS = benchmark.benchmark_of("image_classification")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{device: a record by PyTorch in its precision, where the vendor's dumps lie as well}."""
    root = tmp_path_factory.mktemp("vendor")
    flags = [flag for flag in SETTINGS["small network"] if not flag.startswith("--precision")]
    assert parity.main(["image_classification", "pytorch", f"--precision={','.join(DEVICES)}",
                        f"--record={root / 'record'}", *flags]) == 0
    for device in DEVICES:
        # -I: nothing of this repository can be imported.
        subprocess.run([sys.executable, "-I", SCRIPT, root / "record" / device, "vendor", device],
                       check=True, cwd=root)
    return {device: root / "record" / device for device in DEVICES}


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def folder(device, folders):
    return folders[device]


def judged(folder, name):
    """[Row] of what an implementation wrote."""
    return list(compare.rows(FACTS, str(folder), "pytorch", name))


def first_beyond(folder, name):
    """(dump, tensor, reason) that differs first; None where all agrees."""
    return next(((r.dump, r.name, r.reason) for r in judged(folder, name) if r.beyond), None)


def test_the_port_agrees(device, folder):
    rows = judged(folder, "vendor")
    assert len(rows) > 700
    assert [row for row in rows if row.beyond] == []
    types = {dtype for dtype, _ in inputs.header(
        inputs.output_path(folder, "vendor", "step_0002")
    ).values()}  # fmt: skip
    assert types == {{"fp64": "F64", "bf16": "BF16"}[device]}


# Mistakes in what is written.


def transpose(tensors):
    name = "gradient/classifier.weight"
    tensors[name] = tensors[name].T


def leave_out(tensors):
    del tensors["loss"]


def divide_by_zero(tensors):
    tensors["gradient/stem.weight"][3, 1, 0, 2] = np.nan


def add_an_axis(tensors):
    tensors["loss"] = tensors["loss"].reshape(1)


def leave_out_an_update(tensors):
    tensors["velocity/stem.weight"][...] = 0.0


SHAPE = "shape [64, 10], expected [10, 64]"
WRITTEN = {
    transpose: ("gradient/classifier.weight", f"{SHAPE}; agrees if transposed"),
    leave_out: ("loss", "missing"),
    divide_by_zero: (
        "gradient/stem.weight", "1 elements are not finite, the first at [3, 1, 0, 2]"
    ),
    add_an_axis: ("loss", "shape [1], expected []"),
    leave_out_an_update: ("optimizer/velocity/stem.weight", ""),
}  # fmt: skip


def rewritten(folder, name, change):
    """Copies the vendor's dumps; step 1 with a change."""
    shutil.copytree(folder / "outputs" / "vendor", folder / "outputs" / name)
    path = inputs.output_path(folder, name, "step_0001")
    tensors = {n: array.copy() for n, array in inputs.load(path).items()}
    change(tensors)
    save_tensors(path, tensors)


@pytest.mark.parametrize("mistake", WRITTEN, ids=lambda mistake: mistake.__name__)
def test_a_mistake_in_what_is_written_is_named(mistake, folder):
    rewritten(folder, mistake.__name__, mistake)
    found = first_beyond(folder, mistake.__name__)
    assert found == ("step_0001", *WRITTEN[mistake])


def test_half_precision_is_named_where_it_is_not_asked_for(folders):
    def round_to_half(tensors):
        tensors["activation/pooled"] = tensors["activation/pooled"].astype(np.float16)

    rewritten(folders["fp64"], "round_to_half", round_to_half)
    assert first_beyond(folders["fp64"], "round_to_half") == (
        "step_0001", "activation/pooled", "dtype float16, expected float64"
    )  # fmt: skip


# Mistakes in what is computed: each changes the port, `vendor`, a module of its own.


def number(name, value):
    """Another number than config.json's."""

    def change(vendor):
        read = vendor.read_json

        def read_json(record, file):
            content = read(record, file)
            return content | {name: value} if file == "config" else content

        vendor.read_json = read_json

    return change


def of_network(name):
    """Gives Network another method; the function is given the right one as well."""

    def wrap(method):
        def change(vendor):
            right = getattr(vendor.Network, name)
            setattr(vendor.Network, name,
                    lambda self, *given, **more: method(right, self, *given, **more))

        return change

    return wrap


def of_update(method):
    """Another optimizer; the function is given the right one as well."""

    def change(vendor):
        right = vendor.update
        vendor.update = lambda *given: method(right, *given)

    return change


@of_network("convolution")
def padded_behind(right, self, name, x, stride):
    """As "same" pads: on even sizes a window with a stride then begins one place later."""
    if stride == 1 or self.parameters[f"{name}.weight"].shape[2] == 1:
        return right(self, name, x, stride)
    y, backward = right(self, name, np.roll(x, -1, axis=(2, 3)), stride)
    return y, lambda d: np.roll(backward(d), 1, axis=(2, 3))


@of_network("block")
def stride_on_the_first(right, self, name, images, stride, projects):
    """On the 1 x 1, as in the paper: here every second place, spread out again."""
    if stride == 2:
        images = images[:, :, ::2, ::2].repeat(2, axis=2).repeat(2, axis=3)
    return right(self, name, images, stride, projects)


@of_network("batch_norm")
def variance_over_n(right, self, name, x):
    found = right(self, name, x)
    if self.training:
        count, key = x.size / x.shape[1], f"{name}.running_var"
        old = self.config["batch_norm_momentum"] * self.statistics[key]
        self.moved[key] = self.keep(old + (self.moved[key] - old) * (count - 1) / count)
    return found


@of_network("batch_norm")
def moving_the_wrong_way(right, self, name, x):
    """The share of the new value taken for that of the old one."""
    old = self.config["batch_norm_momentum"]
    self.config = self.config | {"batch_norm_momentum": 1.0 - old}
    found = right(self, name, x)
    self.config = self.config | {"batch_norm_momentum": old}
    return found


@of_network("forward")
def evaluates_by_the_batch(right, self, images, training):
    return right(self, images, True)


@of_network("loss")
def labels_one_later(right, self, logits, labels):
    return right(self, logits, (labels + 1) % logits.shape[1])


@of_network("loss")
def sum_for_mean(right, self, logits, labels):
    count, loss = len(labels), right(self, logits, labels)
    backward = self.backward

    def longer():
        backward()
        self.gradients = {n: count * gradient for n, gradient in self.gradients.items()}

    self.backward = longer
    return loss


def pooled_from_above(vendor):
    right = vendor.max_pool

    def max_pool(x):
        y, backward = right(x[:, :, ::-1, ::-1])
        return y[:, :, ::-1, ::-1], lambda d: backward(d[:, :, ::-1, ::-1])[:, :, ::-1, ::-1]

    vendor.max_pool = max_pool


@of_update
def rate_of_the_next_step(right, config, rate, *given):
    rates = config["learning_rates"]
    return right(config, rates[min(rates.index(rate) + 1, len(rates) - 1)], *given)


@of_update
def decay_beside_the_sum(right, config, rate, state, gradients, decayed, keep):
    after = right(config | {"weight_decay": 0.0}, rate, state, gradients, decayed, keep)
    for n in decayed:
        w = after["parameter"][n]
        after["parameter"][n] = keep(w - rate * config["weight_decay"] * state["parameter"][n])
    return after


@of_update
def decays_norms(right, config, rate, state, gradients, decayed, keep):
    return right(config, rate, state, gradients, set(gradients), keep)


@of_update
def nesterov(right, config, rate, state, gradients, decayed, keep):
    after = right(config, rate, state, gradients, decayed, keep)
    for n, v in after["velocity"].items():
        ahead = gradients[n] + config["momentum"] * v
        after["parameter"][n] = keep(state["parameter"][n] - rate * ahead)
    return after


@of_update
def sums_from_zero(right, config, rate, state, *given):
    """What lies in inputs/state_000k is not taken up."""
    velocity = {n: np.zeros_like(v) for n, v in state["velocity"].items()}
    return right(config, rate, state | {"velocity": velocity}, *given)


# {mistake: (what changes the port, where it shows first in fp64, and in bf16)}.
FIRST, SECOND, LAST = "step_0000", "step_0001", "evaluation_0000"
COMPUTED = {
    # In bf16 unseen: it changes no activation by more than a thousandth of a rounding.
    "epsilon": (number("batch_norm_epsilon", 1e-4), (FIRST, "activation/stem_norm"), None),
    "mean colour": (number("mean_rgb", [0.0, 0.0, 0.0]), (FIRST, "activation/stem_norm"),
                    (FIRST, "activation/stem_norm")),
    "padding": (padded_behind, (FIRST, "activation/stem_norm"), (FIRST, "activation/stem_norm")),
    "stride": (stride_on_the_first, (FIRST, "activation/blocks.2.norm1"),
               (FIRST, "activation/blocks.2.norm1")),
    "pooling": (pooled_from_above, (FIRST, "activation/blocks.0.norm1"),
                (FIRST, "activation/blocks.0.norm1")),
    "labels": (labels_one_later, (FIRST, "loss"), (FIRST, "loss")),
    "smoothing": (number("label_smoothing", 0.0), (FIRST, "loss"),
                  (FIRST, "gradient/classifier.bias")),
    "sum for mean": (sum_for_mean, (FIRST, "gradient/stem.weight"),
                     (FIRST, "gradient/stem.weight")),
    # Of most tensors decay is below the rounding of a sum in bf16, of some it is not.
    "no decay": (number("weight_decay", 0.0), (FIRST, "optimizer/velocity/stem.weight"),
                 (FIRST, "optimizer/velocity/blocks.0.convolution1.weight")),
    "decay beside the sum": (
        decay_beside_the_sum, (FIRST, "optimizer/velocity/stem.weight"),
        (FIRST, "optimizer/velocity/blocks.0.convolution1.weight"),
    ),
    "decay of norms": (decays_norms, (FIRST, "optimizer/velocity/stem_norm.weight"),
                       (FIRST, "optimizer/velocity/stem_norm.weight")),
    "momentum": (number("momentum", 0.85), (SECOND, "optimizer/velocity/stem.weight"),
                 (SECOND, "optimizer/velocity/stem.weight")),
    # Here the rate is 0 at the first step.
    "next rate": (rate_of_the_next_step, (FIRST, "optimizer/parameter/stem.weight"),
                  (FIRST, "optimizer/parameter/stem.weight")),
    "nesterov": (nesterov, (SECOND, "optimizer/parameter/stem.weight"),
                 (SECOND, "optimizer/parameter/stem.weight")),
    "state": (sums_from_zero, (SECOND, "optimizer/velocity/stem.weight"),
              (SECOND, "optimizer/velocity/stem.weight")),
    "moving share": (moving_the_wrong_way, (FIRST, "statistic/stem_norm.running_mean"),
                     (FIRST, "statistic/stem_norm.running_mean")),
    # In bf16 where a channel has 8 places alone: of more, over n and over n - 1 are too near.
    "variance": (variance_over_n, (FIRST, "statistic/stem_norm.running_var"),
                 (FIRST, "statistic/blocks.3.shortcut_norm.running_var")),
    "evaluation": (evaluates_by_the_batch, (LAST, "evaluation/classes"),
                   (LAST, "evaluation/classes")),
}  # fmt: skip


def port(device, folder, name, change):
    """Runs the vendor's script with a change."""
    spec = importlib.util.spec_from_file_location(f"vendor_{name}", SCRIPT)
    vendor = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(vendor)
    change(vendor)
    vendor.main(str(folder), name, device)


@pytest.mark.parametrize("mistake", COMPUTED)
def test_a_mistake_in_what_is_computed_is_named(mistake, device, folder):
    change, *places = COMPUTED[mistake]
    name = mistake.replace(" ", "_")
    port(device, folder, name, change)
    place = places[DEVICES.index(device)]
    assert first_beyond(folder, name) == (place and (*place, ""))
