"""What each framework's Trainer promises beside the network: optimizer, --compile, full size."""

import dataclasses
import functools

import numpy as np
import pytest

from common.errors import UserError
from speech_recognition import parity
from speech_recognition.config import QUICK, REFERENCE
from speech_recognition.decoding import beam_search
from tests import trainers

SMALL = dataclasses.replace(
    QUICK, seed=1, batch_size=5, conv_channels=4, hidden_size=16, frame_step=25
)


@pytest.fixture
def trainer_of(framework):
    """Makes the framework's Trainer for a config."""
    return functools.partial(trainers.started, "speech_recognition", framework)


@pytest.mark.parametrize("clip_norm", [1e6, 3.0])
def test_the_optimizer_is_nesterovs_momentum_of_clipped_gradients(trainer_of, framework, clip_norm):
    config = dataclasses.replace(SMALL, **parity.EXACT, precision="fp64", clip_norm=clip_norm)
    config, batches = parity.training(config, 3)
    config = dataclasses.replace(config, num_train_utterances=10)  # the third step: a new epoch
    trainer = trainer_of(config)
    expected = trainer.state()
    for step, batch in enumerate(batches):
        _, _, gradients = trainers.look(trainer, framework, batch)
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        assert 3.0 < norm < 1e6
        rate = 1e-2 / 1.1 ** (step // 2)
        trainer.load_state(expected)  # the statistics have moved
        trainer.train_step(batch, step)
        found = trainer.state()
        for name, gradient in gradients.items():
            g = gradient * min(1.0, clip_norm / (norm + 1e-6))
            v = 0.875 * expected["velocity"][name] + g
            w = expected["parameter"][name] - rate * (g + 0.875 * v)
            np.testing.assert_allclose(found["velocity"][name], v, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found["parameter"][name], w, rtol=1e-9, atol=1e-12)
        expected = found


def test_the_mean_over_the_processes_is_clipped(trainer_of, framework, monkeypatch):
    """Not what each process brings to it."""
    mean_gradients = framework.mean_gradients

    def with_others(differentiate, weights, count, beside):
        """As if the other processes had gradients that are far longer."""
        loss, means = mean_gradients(differentiate, weights, count, beside)
        return loss, {n: 1e6 * mean if n in weights else mean for n, mean in means.items()}

    monkeypatch.setattr(framework, "mean_gradients", with_others)
    config = dataclasses.replace(SMALL, precision="fp64", clip_norm=0.5)
    config, (batch,) = parity.training(config, 1)
    trainer = trainer_of(config)
    trainer.train_step(batch, 0)
    velocity = trainer.state()["velocity"].values()
    assert np.sqrt(sum((v**2).sum() for v in velocity)) == pytest.approx(0.5, rel=1e-9)


def test_a_beam_search_on_the_networks_own_output(trainer_of, framework):
    """Wide enough, it finds symbols at least as likely as the likeliest path's."""
    config, batches = parity.training(SMALL, 1)
    trainer = trainer_of(config)
    _, path_scores = trainer.evaluate(batches[0])
    found = framework.get(trainer.evaluate_on_device(framework.put(batches[0])))
    trainer.config = dataclasses.replace(config, beam_size=8)
    symbols, scores = trainer.evaluate(batches[0])
    assert (scores > path_scores).all()
    assert np.array_equal(beam_search(found, batches[0]["lengths"], 8)[0], symbols)


def test_a_compiled_step_computes_the_same(trainer_of, framework):
    # In fp64: over steps the limits of the convolutions' output make much of a rounding.
    config, batches = parity.training(dataclasses.replace(SMALL, precision="fp64"), 3)
    if framework.__name__.endswith("paddlepaddle"):
        with pytest.raises(UserError, match="write out every step"):
            trainer_of(dataclasses.replace(config, compile=True))
        config = dataclasses.replace(config, recurrence="fused")
    trainers.assert_compiled_alike(
        "speech_recognition", framework, config, batches, losses_apart=1e-9, weights_apart=1e-9
    )


def test_the_full_network_learns_a_batch(trainer_of, framework):
    """At the published size, on two short utterances that it must fit."""
    config = dataclasses.replace(REFERENCE, seed=1, batch_size=2, learning_rate=3e-3, frame_step=1)
    config, (batch,) = parity.training(config, 1)
    trainer = trainer_of(config)
    first = trainers.losses(trainer, framework, [batch])
    # Clipped; a float32 sum of squares, one after another, would be far off at this size.
    velocity = np.concatenate([v.ravel() for v in trainer.state()["velocity"].values()])
    assert np.sqrt(np.square(velocity, dtype=np.float64).sum()) == pytest.approx(200.0, rel=1e-4)
    assert trainers.losses(trainer, framework, [batch] * 3)[-1] < 0.8 * first[0]
    assert trainer.predict(batch).shape == (2, batch["steps"][0])
