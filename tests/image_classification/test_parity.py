"""What a record of image_classification holds."""

import dataclasses

import numpy as np

from image_classification import parity
from image_classification.config import QUICK, learning_rate
from image_classification.parameters import block_plan

CONFIG = dataclasses.replace(QUICK, seed=5, **parity.CHANGES["quick"])


def test_batches_are_the_models_size():
    config = dataclasses.replace(CONFIG, batch_size=4, image_size=32, num_classes=12)
    config, batches = parity.training(config, 2)
    assert config.num_train_images > 4 and config.num_classes == 12
    assert [batch["images"].shape for batch in batches] == [(4, 32, 32, 3)] * 2
    assert not np.array_equal(batches[0]["images"], batches[1]["images"])


def test_the_quick_record_has_an_identity_block_and_five_steps_meet_warm_up_and_boundary():
    assert {projects for _, _, _, projects in block_plan(CONFIG)} == {True, False}
    assert CONFIG.label_smoothing > 0.0
    config, _ = parity.training(CONFIG, 1)
    rates = [learning_rate(config, step) for step in range(5)]
    assert rates[0] < rates[1] == max(rates)
    assert rates[4] == max(rates) * config.decay_factor


def test_what_is_evaluated_has_other_statistics():
    config, (batch,) = parity.training(CONFIG, 1)
    (parameters, evaluated), = parity.evaluations(config)
    gap = np.abs(batch["images"].mean(axis=(0, 1, 2)) - evaluated["images"].mean(axis=(0, 1, 2)))
    assert gap.max() > 5.0
    for name, array in parameters.items():
        if array.ndim == 1:
            assert len(np.unique(array)) > len(array) // 2, name  # no scale is 1, no mean 0
