"""The benchmark's numbers: parameters counted, the schedule, what check refuses, rules and log."""

import dataclasses

import numpy as np
import pytest

from common.errors import UserError
from object_detection import config, parameters
from object_detection.benchmark import log_values
from object_detection.config import QUICK, REFERENCE, check, learning_rate


def count(found):
    return sum(int(np.prod(one.shape)) for one in found)


def test_the_references_parameters_are_counted():
    found = parameters.specification(REFERENCE)
    affine = [one for name, one in found.items() if name.endswith((".scale", ".shift"))]
    assert count(found.values()) - count(affine) == 44_347_573
    assert count(one for one in found.values() if one.trained) == 44_125_173
    assert count(affine) == 53_120
    assert not any(one.trained for one in affine)
    frozen = {name.rpartition(".")[0] for name, one in found.items()
              if name.endswith(".weight") and not one.trained}
    assert frozen == {"stem", *(name.rpartition(".")[0] for name in found
                                if name.startswith(("blocks.0.", "blocks.1.", "blocks.2.")))}


def test_decay_spares_biases():
    for profile in (QUICK, REFERENCE):
        for name, one in parameters.specification(profile).items():
            assert one.decayed == (one.trained and name.endswith(".weight")), name


def test_initial_values_have_the_sheets_spreads():
    found = parameters.specification(REFERENCE)
    config = dataclasses.replace(REFERENCE, seed=1)
    fans = {"laterals.0.weight": (1 / 256) ** 0.5, "outputs.3.weight": (1 / 2304) ** 0.5,
            "rpn.convolution.weight": 0.01, "rpn.objectness.weight": 0.01,
            "box_head.dense2.weight": (1 / 1024) ** 0.5, "box_head.classes.weight": 0.01,
            "box_head.deltas.weight": 0.001, "mask_head.convolutions.1.weight": (2 / 2304) ** 0.5,
            "mask_head.transposed.weight": (2 / 1024) ** 0.5,
            "mask_head.masks.weight": (2 / 81) ** 0.5}  # fmt: skip
    for name, stddev in fans.items():
        rng = np.random.default_rng(0)
        values = parameters.initial_value(config, found[name], rng)
        assert values.std() == pytest.approx(stddev, rel=0.1), name
        assert abs(values.mean()) < 0.2 * stddev
    for name, one in found.items():
        if name.endswith(".bias"):
            assert not parameters.initial_value(config, one, None).any()


def test_the_schedule_is_the_references():
    """For 16 pictures, and as T05's script has it for two."""
    assert learning_rate(REFERENCE, 0) == pytest.approx(0.02 * (1 / 3 * 499 / 500 + 1 / 500))
    assert learning_rate(REFERENCE, 249) == pytest.approx(0.02 * 2 / 3)
    assert learning_rate(REFERENCE, 499) == 0.02
    assert learning_rate(REFERENCE, 59_998) == 0.02
    assert learning_rate(REFERENCE, 59_999) == pytest.approx(0.002)
    assert learning_rate(REFERENCE, 79_999) == pytest.approx(0.0002)
    small = dataclasses.replace(REFERENCE, batch_size=2)
    assert learning_rate(small, 1000) == 0.0025
    assert config.boundaries(small) == [480_000, 640_000]
    large = dataclasses.replace(REFERENCE, batch_size=128, time_stretch=1.2)
    assert learning_rate(large, 1000) == pytest.approx(0.16)


@pytest.mark.parametrize(("batch_size", "time_stretch", "boundaries"), [
    (8, 1.2, [144_000, 192_000]), (48, 1.2, [24_000, 32_000]), (64, 1.2, [18_000, 24_000]),
    (96, 1.2, [12_000, 16_000]), (128, 1.2, [9_000, 12_000]), (256, 1.5, [5_625, 7_500]),
    (272, 1.5, [5_294, 7_058]),
])  # fmt: skip
def test_the_rate_falls_where_the_convergence_points_have_it(batch_size, time_stretch, boundaries):
    changes = {"batch_size": batch_size, "time_stretch": time_stretch}
    assert config.boundaries(dataclasses.replace(REFERENCE, **changes)) == boundaries


@pytest.mark.parametrize(("changes", "words"), [
    ({"widths": (8, 8)}, "expected as many of each"),
    ({"strides": (4, 8, 16)}, "one more than blocks"),
    ({"shape_step": 48}, "expected a multiple of 32"),
    ({"blocks": (1,) * 5, "widths": (8,) * 5, "strides": (4, 8, 16, 32, 64, 128),
      "shape_step": 96}, "expected a multiple of 64"),
    ({"box_counts": (32, 8)}, "expected rising numbers"),
    ({"box_counts": (8, 8)}, "expected rising numbers"),
    ({"mean_bgr": (1.0,)}, "expected 3 numbers"),
    ({"box_weights": (1.0,) * 3}, "expected 4 numbers"),
    ({"anchor_low": 0.8}, "expected anchor_high=0.7 or less"),
    ({"positive_rois": 33}, "expected rois_per_image=32 or less"),
    ({"rois_per_image": 200}, "expected proposals=100 or less"),
    ({"freeze_at": 5}, "expected stages=4 or less"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        check(dataclasses.replace(QUICK, **changes))
    assert check(QUICK) is QUICK


def test_the_log_says_what_the_rules_ask_for():
    values = log_values(REFERENCE, 4)
    assert values["opt_base_learning_rate"] == 0.02
    assert values["opt_learning_rate_decay_steps"] == [60_000, 80_000]
    assert (values["num_image_candidates"], values["min_image_size"]) == (2000, 800)
