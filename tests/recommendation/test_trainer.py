"""Inside each framework: Adam by its formula, dense; gradients; scores; a step from anywhere."""

import dataclasses

import numpy as np
import pytest

from recommendation.config import QUICK
from tests import trainers

SMALL = dataclasses.replace(
    QUICK, seed=1, precision="fp64", num_users=7, num_items=9, num_ratings=70, mf_size=3,
    mlp_sizes=(8, 6, 4), learning_rate=0.1,
)


def batch_of(rng, size=20):
    return {
        "users": rng.integers(0, 5, size),  # users 5 and 6 are never met
        "items": rng.integers(0, 9, size),
        "labels": (rng.random(size) < 0.3).astype(np.float32),
    }


@pytest.fixture(scope="module")
def make(framework):
    """Makes a Trainer of this session's framework, in float64."""
    return lambda config=SMALL: trainers.started("recommendation", framework, config)


def gradients_of(trainer, framework, batch):
    """{name: array}, canonical."""
    return trainers.look(trainer, framework, batch)[2]


def test_adam_is_that_of_the_paper_on_every_row(make, framework):
    trainer = make()
    rng = np.random.default_rng(0)
    expected = trainer.state()
    for step in range(4):
        batch = batch_of(rng)
        gradients = gradients_of(trainer, framework, batch)
        trainer.train_step(batch, step)
        found = trainer.state()
        for name, g in gradients.items():
            m = 0.9 * expected["first_moment"][name] + 0.1 * g
            v = 0.999 * expected["second_moment"][name] + 0.001 * g**2
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            w = expected["parameter"][name] - 0.1 * m_hat / (np.sqrt(v_hat) + 1e-8)
            for group, array in (("first_moment", m), ("second_moment", v), ("parameter", w)):
                np.testing.assert_allclose(found[group][name], array, rtol=1e-11, atol=1e-13)
        expected = found
    assert (gradients["mf_user.weight"][5:] == 0).all()


def test_gradients_are_those_of_the_loss(make, framework):
    """Central differences through the network's own loss, in float64."""
    trainer = make()
    rng = np.random.default_rng(1)
    batch = batch_of(rng)
    gradients = gradients_of(trainer, framework, batch)
    state = trainer.state()
    for name in gradients:
        place = np.unravel_index(rng.integers(state["parameter"][name].size),
                                 state["parameter"][name].shape)
        if name.endswith("user.weight"):
            place = (batch["users"][0], place[1])
        losses = []
        for sign in (1, -1):
            changed = {n: array.copy() for n, array in state["parameter"].items()}
            changed[name][place] += sign * 1e-5
            trainer.load_state(state | {"parameter": changed})
            loss, _, _ = trainer.gradients(framework.put(batch))
            losses.append(float(framework.get(loss)))
        slope = (losses[0] - losses[1]) / 2e-5
        assert gradients[name][place] == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def test_predict_gives_the_training_networks_logits(make, framework):
    trainer = make()
    rng = np.random.default_rng(2)
    users, items = np.arange(7), rng.integers(0, 9, (7, 4))
    scores = trainer.predict({"users": users, "items": items})
    assert scores.shape == (7, 4)
    labels = np.zeros(28, np.float32)
    flat = {"users": np.repeat(users, 4), "items": items.ravel(), "labels": labels}
    _, points, _ = trainer.gradients(framework.put(flat))
    np.testing.assert_allclose(scores.ravel(), framework.get(points["logits"]), rtol=1e-12)
    empty = trainer.predict({"users": users[:0], "items": items[:0]})
    assert empty.shape == (0, 4)


def test_a_step_from_a_saved_state_is_bitwise_the_same(make, framework):
    rng = np.random.default_rng(3)
    batches = [batch_of(rng) for _ in range(6)]
    one = make()
    for step, batch in enumerate(batches[:3]):
        one.train_step(batch, step)
    saved = one.state()
    other = make(dataclasses.replace(SMALL, seed=2))
    other.load_state(saved)
    for trainer in (one, other):
        for step in (3, 4, 5):
            trainer.train_step(batches[step], step)
    for group, arrays in one.state().items():
        for name, array in arrays.items():
            assert array.tobytes() == other.state()[group][name].tobytes(), (group, name)


def test_the_mean_of_two_parts_gradients_is_the_wholes(make, framework):
    trainer = make()
    batch = batch_of(np.random.default_rng(4))
    whole = gradients_of(trainer, framework, batch)
    halves = [
        gradients_of(trainer, framework, {n: array[part] for n, array in batch.items()})
        for part in (slice(10), slice(10, 20))
    ]
    for name, gradient in whole.items():
        mean = (halves[0][name] + halves[1][name]) / 2
        np.testing.assert_allclose(mean, gradient, rtol=1e-9, atol=1e-15)
