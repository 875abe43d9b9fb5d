"""What each framework's Trainer promises beside the network: optimizer, search, precisions."""

import dataclasses
import importlib

import numpy as np
import pytest

from reinforcement import data, features, parameters, parity, search, selfplay
from reinforcement.config import QUICK, REFERENCE
from tests.reinforcement import baselines

SMALL = dataclasses.replace(QUICK, seed=1, filters=4, num_blocks=2, value_hidden=8, batch_size=12,
                            network_rows=32, games_at_once=8, readouts=16)  # fmt: skip


@pytest.fixture()
def trainer_of(framework):
    """Makes the framework's Trainer for a config."""
    name = framework.__name__.rpartition(".")[2]

    def make(config, values=None):
        framework.start(config)
        module = importlib.import_module(f"reinforcement.{name}.train")
        return module.Trainer(config, values or parameters.initial_parameters(config))

    return make


def losses(trainer, framework, batches):
    return np.array([float(framework.get(trainer.train_step(b, k))) for k, b in enumerate(batches)])


def relu(x):
    return np.maximum(x, 0.0)


def by_hand(config, values, planes, training):
    """(probabilities [B, A], values [B], logits) in numpy, loop by loop.  float64."""
    values = {name: array.astype(np.float64) for name, array in values.items()}

    def convolution(x, name):
        weight = values[f"{name}.weight"]
        size, pad = x.shape[2], weight.shape[2] // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        found = np.zeros((len(x), len(weight), size, size))
        for row in range(weight.shape[2]):
            for column in range(weight.shape[3]):
                part = padded[:, :, row : row + size, column : column + size]
                found += np.einsum("bihw,oi->bohw", part, weight[:, :, row, column])
        return found + values[f"{name}.bias"][:, None, None]

    def norm(x, name):
        mean, var = (values[f"{name}.running_{part}"] for part in ("mean", "var"))
        if training:
            mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        y = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + config.batch_norm_epsilon)
        if f"{name}.weight" in values:
            scale, offset = (values[f"{name}.{part}"] for part in ("weight", "bias"))
            y = y * scale[:, None, None] + offset[:, None, None]
        return y

    def dense(x, name):
        return x @ values[f"{name}.weight"].T + values[f"{name}.bias"]

    x = np.moveaxis(planes.astype(np.float64), 3, 1)
    x = relu(norm(convolution(x, "stem"), "stem_norm"))
    for index in range(config.num_blocks):
        name = f"blocks.{index}"
        y = relu(norm(convolution(x, f"{name}.convolution1"), f"{name}.norm1"))
        x = relu(norm(convolution(y, f"{name}.convolution2"), f"{name}.norm2") + x)
    policy = relu(norm(convolution(x, "policy_convolution"), "policy_norm"))
    logits = dense(policy.reshape(len(x), -1), "policy")
    value = relu(norm(convolution(x, "value_convolution"), "value_norm"))
    hidden = relu(dense(value.reshape(len(x), -1), "value_hidden"))
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities, np.tanh(dense(hidden, "value"))[:, 0], logits


def test_the_network_is_the_specified_one(trainer_of, framework):
    config = dataclasses.replace(SMALL, precision="fp64")
    (values, _), = parity.evaluations(config)
    _, (batch,) = parity.training(config, 1)
    trainer = trainer_of(config, values)
    priors, outcomes = trainer.infer(batch["planes"])
    expected_priors, expected_outcomes, _ = by_hand(config, values, batch["planes"], False)
    np.testing.assert_allclose(priors, expected_priors, rtol=1e-10)
    np.testing.assert_allclose(outcomes, expected_outcomes, rtol=1e-9)
    _, outcomes, logits = by_hand(config, values, batch["planes"], True)
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = (-(batch["policy"] * logarithms).sum(axis=1).mean()
            + ((outcomes - batch["winner"]) ** 2).mean())
    assert float(framework.get(trainer.train_step(batch, 0))) == pytest.approx(loss, rel=1e-9)


def test_the_optimizer_is_momentum_with_decay_of_batch_norm_too(trainer_of, framework):
    config = dataclasses.replace(SMALL, **parity.EXACT, precision="fp64", weight_decay=0.25)
    config, batches = parity.training(config, 3)
    trainer = trainer_of(config)
    expected = trainer.state()
    specification = trainer.specification
    for step, batch in enumerate(batches):
        _, _, gradients = trainer.gradients(framework.put(batch))
        gradients = {n: framework.to_canonical(g, specification[n].role)
                     for n, g in gradients.items()}
        rate = 2e-2 if step == 0 else 2e-3
        trainer.load_state(expected)  # the statistics have moved
        trainer.train_step(batch, step)
        found = trainer.state()
        for name, g in gradients.items():
            decay = 0.25 if specification[name].decayed else 0.0
            w = expected["parameter"][name]
            v = 0.875 * expected["velocity"][name] + g + decay * w
            np.testing.assert_allclose(found["velocity"][name], v, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found["parameter"][name], w - rate * v, rtol=1e-9,
                                       atol=1e-12)  # fmt: skip
        expected = found


def test_a_bias_before_batch_norm_has_no_gradient(trainer_of, framework):
    _, (batch,) = parity.training(SMALL, 1)
    trainer = trainer_of(SMALL)
    _, _, gradients = trainer.gradients(framework.put(batch))
    silent = {name for name, gradient in gradients.items() if not framework.get(gradient).any()}
    assert silent == {name for name in gradients
                      if name.endswith(".bias") and ("convolution" in name or "stem." in name)}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_row_of_a_batch_does_not_depend_on_the_others(trainer_of, precision):
    """What the search relies on: rows of one full batch, in another order, are the same bits; in
    float64, where a product depends on a row's place in memory, once the search has rounded."""
    config = dataclasses.replace(QUICK, seed=1, precision=precision, batch_size=256)
    (values, _), = parity.evaluations(config)
    _, (batch,) = parity.training(config, 1)
    trainer = trainer_of(config, values)

    def searched(planes):
        priors, outcomes = trainer.infer(planes)
        return priors.astype(np.float32), np.rint(outcomes / search.VALUE_STEP)

    expected = searched(batch["planes"])
    order = np.random.default_rng(1).permutation(256)
    for found, array in zip(searched(batch["planes"][order]), expected):
        assert np.array_equal(found, array[order])
    few = np.zeros_like(batch["planes"])
    few[:5] = batch["planes"][:5]
    for found, array in zip(searched(few), expected):
        assert np.array_equal(found[:5], array[:5])


def played(config, trainer, **changes):
    found = {}
    config = dataclasses.replace(config, **changes)
    selfplay.play_all(config, trainer.infer, 1, range(12), found.__setitem__)
    return {n: (game.moves.tolist(), game.visits.tolist()) for n, game in found.items()}


def test_the_size_of_a_batch_moves_no_game_in_float64(trainer_of):
    config = dataclasses.replace(SMALL, precision="fp64")
    trainer = trainer_of(config)
    whole = played(config, trainer)
    assert played(config, trainer, network_rows=7) == whole
    assert played(config, trainer, games_at_once=3) == whole


def test_games_beside_each_other_move_none_in_float32(trainer_of):
    trainer = trainer_of(SMALL)
    assert played(SMALL, trainer, games_at_once=3) == played(SMALL, trainer)


def test_bfloat16_stays_near_float32(trainer_of, framework):
    config, batches = parity.training(SMALL, 4)
    expected = losses(trainer_of(config), framework, batches)
    half_config = dataclasses.replace(config, precision="bf16")
    if framework.__name__.endswith("paddlepaddle"):
        pytest.skip("PaddlePaddle has bfloat16 on GPUs alone")
    half = trainer_of(half_config)
    found = losses(half, framework, batches)
    assert np.abs(found - expected).max() < 0.1 * expected.max()
    assert (found != expected).any()  # it did compute otherwise
    assert all(a.dtype == np.float32 for a in half.state()["parameter"].values())


def test_a_compiled_step_computes_the_same(trainer_of, framework):
    config, batches = parity.training(dataclasses.replace(SMALL, precision="fp64"), 3)
    expected = losses(trainer_of(config), framework, batches)
    compiled = trainer_of(dataclasses.replace(config, compile=True))
    np.testing.assert_allclose(losses(compiled, framework, batches), expected, rtol=1e-9)


def test_the_full_network_learns_a_batch(trainer_of, framework):
    config = dataclasses.replace(REFERENCE, seed=1)
    config, (batch,) = parity.training(config, 1)
    config = dataclasses.replace(config, rate_steps=(100, 200))
    trainer = trainer_of(config)
    found = losses(trainer, framework, [batch] * 12)
    assert found[-1] < 0.8 * found[0]
    assert batch["planes"].shape == (16, 9, 9, features.NUM_PLANES)


def test_an_untrained_network_stays_far_below_the_quick_target(trainer_of):
    """32 games: a standard error of 0.09 at most."""
    config = data.prepare(dataclasses.replace(QUICK, seed=1, playout_games=32))
    assert baselines.searched(config, trainer_of(config).infer) < config.target - 0.27
