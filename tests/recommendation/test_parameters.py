"""NeuMF's parameters: the published size, and initial values by the sheet's rules."""

import dataclasses
import pathlib

import numpy as np
import pytest

from common.errors import UserError
from recommendation import config as configs
from recommendation import parameters
from recommendation.benchmark import log_values
from recommendation.config import QUICK, REFERENCE, check, learning_rate


def size(config, prefix=""):
    found = parameters.specification(config).items()
    return sum(int(np.prod(p.shape)) for name, p in found if name.startswith(prefix))


def test_the_reference_network_has_the_published_number_of_parameters():
    assert size(REFERENCE) == 31_832_577
    parts = {
        "mf_user": 8_863_552, "mf_item": 1_711_616, "mlp_user": 17_727_104, "mlp_item": 3_423_232,
        "mlp.0": 65_792, "mlp.1": 32_896, "mlp.2": 8_256, "output": 129,
    }
    assert {name: size(REFERENCE, name) for name in parts} == parts


def test_initial_values_have_the_distributions_of_the_reference():
    config = dataclasses.replace(REFERENCE, seed=1, num_users=2000, num_items=300)
    values = parameters.initial_parameters(config)
    assert all(array.dtype == np.float32 for array in values.values())
    for name in ("mf_user", "mf_item", "mlp_user", "mlp_item"):
        array = values[f"{name}.weight"]
        assert array.std() == pytest.approx(0.01, rel=0.02) and abs(array.mean()) < 1e-4
    limits = {
        "mlp.0.weight": np.sqrt(6 / 512), "mlp.1.weight": np.sqrt(6 / 384),
        "mlp.2.weight": np.sqrt(6 / 192), "output.weight": np.sqrt(3 / 128),
        "mlp.0.bias": 1 / 16, "mlp.1.bias": 1 / 16, "mlp.2.bias": 128**-0.5,
    }
    for name, limit in limits.items():
        largest = np.abs(values[name]).max()
        assert 0.9 * limit < largest <= limit * (1 + 1e-6), name
        assert values[name].std() == pytest.approx(limit / np.sqrt(3), rel=0.2), name
    assert abs(values["output.bias"][0]) <= 128**-0.5


def test_values_depend_on_the_seed_alone():
    config = dataclasses.replace(QUICK, num_users=50, num_items=30)
    one, same, other = (
        parameters.initial_parameters(dataclasses.replace(config, seed=seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one)


def test_the_points_of_parity_lie_in_forward_order():
    assert list(parameters.points(REFERENCE)) == [
        "mf", "mlp_input", "mlp.0", "mlp.1", "mlp.2", "logits",
    ]


def test_counts_of_the_reference():
    assert configs.num_train_examples(REFERENCE) == 99_308_850
    values = log_values(REFERENCE, 1)
    assert values["train_samples"] == 99_308_850 and values["eval_samples"] == 138_493
    assert (values["opt_adam_epsilon"], values["opt_base_learning_rate"]) == (1e-8, 0.0005)
    assert {learning_rate(REFERENCE, step) for step in (0, 10**6)} == {0.0005}


def test_numbers_that_do_not_fit():
    with pytest.raises(UserError, match="even first size"):
        check(dataclasses.replace(QUICK, mlp_sizes=(15, 8)))


def test_the_readme_says_the_configs_numbers():
    text = (pathlib.Path(configs.__file__).parent / "README.md").read_text()
    steps = -(-configs.num_train_examples(REFERENCE) // REFERENCE.batch_size)
    for words in (
        f"{size(REFERENCE):,} parameters",
        f"{REFERENCE.num_ratings:,} ratings by {REFERENCE.num_users:,} users",
        f"{REFERENCE.num_items:,} films",
        f"fewer than {REFERENCE.min_ratings} ratings",
        f"{REFERENCE.train_negatives} negatives for it",
        f"{REFERENCE.eval_negatives} negatives, drawn with replacement",
        f"of {REFERENCE.mf_size} beside a perceptron {'-'.join(map(str, REFERENCE.mlp_sizes))}",
        f"{REFERENCE.batch_size:,} pairs",
        f"a constant rate of {REFERENCE.learning_rate}",
        f"to {REFERENCE.target}.",
        f"{steps:,} steps",
        f"among {QUICK.eval_negatives} negatives, to {QUICK.target}.",
    ):
        assert words in " ".join(text.split()), words
