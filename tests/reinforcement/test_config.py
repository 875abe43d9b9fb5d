"""The published numbers, and those that are refused."""

import dataclasses

import numpy as np
import pytest

from common.errors import UserError
from reinforcement import config
from reinforcement.benchmark import BENCHMARK, log_values
from reinforcement.config import QUICK, REFERENCE
from reinforcement.parameters import initial_parameters, points, specification


def trained(profile):
    return {n: p for n, p in specification(profile).items() if p.trained}


def test_the_reference_is_the_published_benchmark():
    expected = {
        "board_size": 9, "komi": 7.5, "filters": 32, "num_blocks": 9, "value_hidden": 64,
        "batch_norm_momentum": 0.997, "batch_norm_epsilon": 1e-5, "readouts": 200, "leaves": 8,
        "c_puct": 1.38, "games_per_generation": 2000, "noise_share": 0.25, "pi_power": 0.95,
        "resign_value": -0.95, "no_resign_share": 0.05, "batch_size": 16,
        "steps_per_generation": 6250, "window_positions": 2_000_000, "sample_share": 0.05,
        "augment": False, "learning_rate": 1e-2, "momentum": 0.9, "weight_decay": 1e-4,
        "num_positions": 181, "prediction_rounds": 2, "prediction_readouts": 1000,
        "prediction_leaves": 4, "gate_games": 100, "gate_share": 0.55,
        "gate_resign_value": -0.90, "target": 0.40,
    }  # fmt: skip
    fields = dataclasses.asdict(REFERENCE)
    assert {name: fields[name] for name in expected} == expected
    assert config.dirichlet_alpha(REFERENCE) == pytest.approx(0.1337, abs=1e-4)
    assert log_values(REFERENCE, 1)["eval_samples"] == 362


def test_the_parameters_of_the_reference_are_counted_by_hand():
    counts = {}
    for name, parameter in trained(REFERENCE).items():
        part = name.split(".")[0]
        counts[part] = counts.get(part, 0) + int(np.prod(parameter.shape))
    assert counts == {
        "stem": 4_928, "stem_norm": 64, "blocks": 167_616, "policy_convolution": 66,
        "policy": 13_366, "value_convolution": 33, "value_hidden": 5_248, "value": 65,
    }  # fmt: skip
    assert sum(counts.values()) == 191_386


def test_kernels_and_batch_norms_own_weights_decay_and_biases_do_not():
    for name, parameter in trained(REFERENCE).items():
        assert parameter.decayed == (name.endswith(".weight") or "norm" in name), name
    assert "policy_norm.weight" not in specification(REFERENCE)
    assert "value_norm.bias" not in specification(REFERENCE)


def test_initial_values_are_glorots():
    values = initial_parameters(dataclasses.replace(REFERENCE, seed=1))
    limits = {"stem.weight": (6 / (17 * 9 + 32 * 9)) ** 0.5,
              "blocks.4.convolution2.weight": (6 / (2 * 32 * 9)) ** 0.5,
              "policy.weight": (6 / (162 + 82)) ** 0.5,
              "value_convolution.weight": (6 / 33) ** 0.5}  # fmt: skip
    for name, limit in limits.items():
        largest = np.abs(values[name]).max()
        assert 0.9 * limit < largest <= limit * 1.001, name
    assert not values["policy.bias"].any() and (values["stem_norm.weight"] == 1).all()
    assert all(array.dtype == np.float32 for array in values.values())


def test_values_depend_on_the_seed_alone():
    one, same, other = (initial_parameters(dataclasses.replace(QUICK, seed=s)) for s in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["stem.weight"], other["stem.weight"])


def test_the_points_of_parity_lie_in_forward_order():
    assert list(points(dataclasses.replace(QUICK, num_blocks=1))) == [
        "stem_norm", "blocks.0.norm1", "blocks.0", "policy_norm", "logits", "value_norm",
        "value_hidden", "value",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 1e-2), (1_000_000, 1e-2), (1_000_001, 1e-3), (2_000_000, 1e-3), (2_000_001, 1e-4)],
)
def test_the_rate_falls_behind_each_edge(step, rate):
    assert config.learning_rate(REFERENCE, step) == pytest.approx(rate)


def test_the_log_has_the_hyperparameters():
    values = log_values(REFERENCE, 2)
    assert values["train_samples"] == 100_000 and values["model_bn_span"] == 8
    assert values["min_selfplay_games_per_generation"] == 2000


def test_closed_runs_are_judged_by_rules_of_our_own():
    assert BENCHMARK.rule_set({"submission_division": "closed"}) is None
    assert BENCHMARK.rule_set({"submission_division": "open"}) == "2.1.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"gate_games": 7}, "gate_games=7: expected an even number"),
     ({"playout_games": 9}, "playout_games=9: expected an even number"),
     ({"playout_games": 1202}, "expected at most 1200, two for each opening"),
     ({"sample_share": 0.0}, "sample_share=0.0: expected above 0"),
     ({"komi": 7.0}, "komi=7: expected no whole number"),
     ({"komi": 0.123456}, "a half as 7.5"), ({"komi": -1e-5}, "a half as 7.5"),
     ({"rate_steps": (5, 3)}, "expected them to ascend")],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        config.check(dataclasses.replace(QUICK, **change))
