"""TensorFlow traces a bounded number of graphs, and the first shape leaves nothing in them."""

import dataclasses
import importlib

import numpy as np
import pytest

from object_detection import data, parameters
from object_detection.config import QUICK

SMALL = dataclasses.replace(
    QUICK, seed=1, precision="fp64", batch_size=2, pyramid_width=8, stem_width=8, widths=(8, 8, 8),
    box_size=16, mask_width=8, mask_layers=1,
)  # fmt: skip
SHAPES = ((128, 128, 8), (128, 192, 8), (192, 128, 32))  # H, W, G


@pytest.fixture(scope="module")
def module(framework):
    framework_name = framework.__name__.rpartition(".")[2]
    if framework_name != "tensorflow":
        pytest.skip("traces no graph unasked")
    framework.start(SMALL)
    return importlib.import_module(f"object_detection.{framework_name}.train")


@pytest.fixture
def batches():
    """One training batch of each shape: the same pictures with more around."""
    _, (batch,) = data.parity_batches(SMALL, 1)
    return [padded(batch, *shape) for shape in SHAPES]


def padded(batch, height, width, rows):
    """The batch of another shape, with keys of its own."""
    rng = np.random.default_rng(2)
    count = len(batch["images"])
    found = {
        "images": np.zeros((count, height, width, 3), np.uint8),
        "sizes": batch["sizes"],
        "boxes": np.zeros((count, rows, 4), np.float32),
        "classes": np.zeros((count, rows), np.int32),
        "masks": np.zeros((count, rows, height, width // 8), np.uint8),
    }
    for name, array in found.items():
        array[tuple(map(slice, batch[name].shape))] = batch[name]
    keys = {"anchor_keys": data.num_anchors(SMALL, height, width),
            "roi_keys": SMALL.proposals + rows}  # fmt: skip
    return found | {name: np.stack([rng.permutation(total).astype(np.int32) for _ in range(count)])
                    for name, total in keys.items()}  # fmt: skip


def evaluated(batch):
    count = len(batch["images"])
    return {"images": batch["images"], "sizes": batch["sizes"],
            "image_ids": np.arange(1, count + 1), "original_sizes": batch["sizes"]}  # fmt: skip


def counted(module, monkeypatch, name):
    """A list that grows with each call of a function of model.py, so with each graph of it."""
    function, calls = getattr(module, name), []

    def call(*arguments):
        calls.append(name)
        return function(*arguments)

    monkeypatch.setattr(module, name, call)
    return calls


def trainer_of(module):
    return module.Trainer(SMALL, parameters.initial_parameters(SMALL))


def test_one_graph_for_all_shapes(module, monkeypatch, batches, framework):
    """A step is the same whatever the shape before it, as in a run that is resumed there."""
    graphs = {name: counted(module, monkeypatch, name)
              for name in ("losses", "scored_regions", "masks_of")}
    trainer = trainer_of(module)
    start = trainer.state()
    for batch in [*batches, *batches]:
        trainer.load_state(start)
        loss = float(framework.get(trainer.train_step(batch, 0)))
    for batch in [*batches, *batches]:
        detections = trainer.predict(evaluated(batch))
    assert [len(calls) for calls in graphs.values()] == [1, 1, 1]
    other = trainer_of(module)
    assert float(framework.get(other.train_step(batches[-1], 0))) == loss > 0.0
    for group, arrays in trainer.state().items():
        for name, array in arrays.items():
            assert np.array_equal(other.state()[group][name], array), name
    found = other.predict(evaluated(batches[-1]))
    assert all(np.array_equal(found[name], array) for name, array in detections.items())


def test_decisions_that_come_along_make_one_graph_more(module, monkeypatch, batches, framework):
    """A step takes what is decided for it, and goes without it as before."""
    trainer = trainer_of(module)
    start = trainer.state()
    _, points, _ = trainer.gradients(framework.put(batches[0]))
    own = {name: framework.get(array) for name, array in points.items() if "decision." in name}
    assert len(own) == 9
    graphs = counted(module, monkeypatch, "losses")
    none = {"decision.anchor_kinds": np.full_like(own["decision.anchor_kinds"], 2)}
    found = []
    for decisions in ({}, own, own | none, {}):
        trainer.load_state(start)
        found.append(float(framework.get(trainer.train_step(batches[0] | decisions, 0))))
    assert len(graphs) == 2
    assert found[0] == found[3] == pytest.approx(found[1], rel=1e-14)
    assert found[2] < found[0] - 0.5  # no anchor, no loss of it
