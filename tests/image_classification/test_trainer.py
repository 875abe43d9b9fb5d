"""What each framework's Trainer promises beyond parity: precisions, compiled steps, full size."""

import dataclasses
import importlib

import numpy as np
import pytest

from common.errors import UserError
from image_classification import parity
from image_classification.config import QUICK, REFERENCE
from image_classification.parameters import initial_parameters

SMALL = dataclasses.replace(QUICK, seed=1, image_size=32, resize_size=32, warmup_epochs=0.01)


@pytest.fixture()
def trainer_of(framework):
    """Makes the framework's Trainer for a config."""
    name = framework.__name__.rpartition(".")[2]

    def make(config):
        framework.start(config)
        module = importlib.import_module(f"image_classification.{name}.train")
        return module.Trainer(config, initial_parameters(config))

    return make


def losses(trainer, framework, batches):
    return np.array([float(framework.get(trainer.train_step(b, k))) for k, b in enumerate(batches)])


def test_bfloat16_stays_near_float32(framework, trainer_of):
    config, batches = parity.training(SMALL, 4)
    expected = losses(trainer_of(config), framework, batches)
    half_config = dataclasses.replace(config, precision="bf16")
    if framework.__name__.endswith("paddlepaddle"):
        with pytest.raises(UserError, match="bfloat16 on GPUs alone"):
            trainer_of(half_config)
        return
    half = trainer_of(half_config)
    found = losses(half, framework, batches)
    assert np.abs(found - expected).max() < 0.1 * expected.max()
    assert (found != expected).any()  # it did compute otherwise
    assert all(a.dtype == np.float32 for a in half.state()["parameter"].values())


def test_a_compiled_step_computes_the_same(framework, trainer_of):
    # Two blocks: a compiler's time grows with the network.
    config, batches = parity.training(
        dataclasses.replace(SMALL, blocks=(1, 1), widths=(16, 32)), 3
    )
    plain = trainer_of(config)
    expected = losses(plain, framework, batches)
    if framework.__name__.endswith("tensorflow"):
        # A run with --compile never turns it on; in this process the tests before have.
        from tensorflow.python.framework.config import disable_op_determinism

        disable_op_determinism()
    compiled = trainer_of(dataclasses.replace(config, compile=True))
    np.testing.assert_allclose(losses(compiled, framework, batches), expected, rtol=1e-4)
    for name, array in plain.state()["parameter"].items():
        other = compiled.state()["parameter"][name]
        # A bias has moved little from zero, and a ReLU may have turned: see TOLERANCES.
        assert np.linalg.norm(array - other) <= 1e-1 * np.linalg.norm(array), name


def test_predictions_are_classes(framework, trainer_of):
    config, batches = parity.training(SMALL, 1)
    trainer = trainer_of(config)
    predicted = trainer.predict(batches[0])
    assert predicted.shape == (32,)
    assert predicted.dtype == np.int64
    assert set(predicted) <= set(range(10))
    assert np.array_equal(predicted, trainer.predict(batches[0]))


def test_the_full_network_learns_a_batch(framework, trainer_of):
    """ResNet-50 as the reference trains it, on four images that it must fit."""
    config = dataclasses.replace(
        REFERENCE, seed=1, batch_size=4, warmup_epochs=0.0, learning_rate_per_256=0.1
    )
    rng = np.random.default_rng(1)
    batch = {
        "images": rng.integers(0, 256, (4, 224, 224, 3)).astype(np.uint8),
        "labels": np.array([1, 2, 3, 999]),
    }
    trainer = trainer_of(config)
    state = trainer.state()["parameter"]
    trained = [n for n in state if "running" not in n]
    assert sum(state[n].size for n in trained) == 25_557_032
    found = losses(trainer, framework, [batch] * 4)
    assert found[0] == pytest.approx(np.log(1000), rel=0.1)
    assert found[-1] < found[0]
