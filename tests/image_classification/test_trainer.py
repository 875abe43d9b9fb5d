"""What each framework's Trainer promises beyond parity: compiled steps, classes, full size."""

import dataclasses

import numpy as np
import pytest

from image_classification import parity
from image_classification.config import QUICK, REFERENCE
from tests import trainers

SMALL = dataclasses.replace(QUICK, seed=1, image_size=32, resize_size=32, warmup_epochs=0.01)


def test_a_compiled_step_computes_the_same(framework):
    # Two blocks: a compiler's time grows with the network.
    config, batches = parity.training(
        dataclasses.replace(SMALL, blocks=(1, 1), widths=(16, 32)), 3
    )
    # A bias has moved little from zero, and a ReLU may have turned: see TOLERANCES.
    trainers.assert_compiled_alike(
        "image_classification", framework, config, batches, losses_apart=1e-4, weights_apart=1e-1
    )


def test_norms_of_lars_are_exact_in_float32(framework):
    """Of the largest convolution's size; the gradient's numbers unlike the weight's."""
    framework.start(SMALL)
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((512, 512, 3, 3), np.float32)
    gradient = weight**3
    put = framework.put({"weight": weight, "gradient": gradient})
    train = trainers.train_module("image_classification", framework)
    found = float(framework.get(train.lars_trust(SMALL, put["weight"], put["gradient"])))
    own, other = (np.sqrt(np.square(one, dtype=np.float64).sum()) for one in (weight, gradient))
    expected = SMALL.lars_trust * own / (other + SMALL.weight_decay * own)
    assert found == pytest.approx(expected, rel=2e-6)


def test_predictions_are_classes(framework):
    config, batches = parity.training(SMALL, 1)
    trainer = trainers.started("image_classification", framework, config)
    predicted = trainer.predict(batches[0])
    assert predicted.shape == (32,)
    assert predicted.dtype == np.int64
    assert set(predicted) <= set(range(10))
    assert np.array_equal(predicted, trainer.predict(batches[0]))


def test_the_full_network_learns_a_batch(framework):
    """ResNet-50 as the reference trains it, on four images that it must fit."""
    config = dataclasses.replace(
        REFERENCE, seed=1, batch_size=4, warmup_epochs=0.0, learning_rate_per_256=0.1
    )
    rng = np.random.default_rng(1)
    batch = {
        "images": rng.integers(0, 256, (4, 224, 224, 3)).astype(np.uint8),
        "labels": np.array([1, 2, 3, 999]),
    }
    trainer = trainers.started("image_classification", framework, config)
    state = trainer.state()["parameter"]
    trained = [n for n in state if "running" not in n]
    assert sum(state[n].size for n in trained) == 25_557_032
    found = trainers.losses(trainer, framework, [batch] * 4)
    assert found[0] == pytest.approx(np.log(1000), rel=0.1)
    assert found[-1] < found[0]
