"""The network in each framework against its definition in numpy, in float64."""

import dataclasses

import numpy as np
import pytest

from common.errors import UserError
from speech_recognition import data, features, parameters, parity
from speech_recognition.benchmark import infinite_losses
from speech_recognition.config import QUICK
from tests import trainers
from tests.speech_recognition import formulas
from tests.trainers import look

SMALL = dataclasses.replace(
    QUICK, seed=1, precision="fp64", batch_size=5, conv_channels=3, num_layers=2, hidden_size=6,
    frame_step=25,
)  # fmt: skip


@pytest.fixture(scope="module")
def make(framework):
    """Makes a Trainer of this session's framework, in float64, and what it starts from."""
    def trainer(config=SMALL):
        rng = np.random.default_rng(7)
        values = {
            # Louder than the initial values, and statistics and norms unlike the plain ones.
            name: value * 2.0 if parameter.initial.startswith("fan_in")
            else (value + rng.uniform(0.1, 0.5, value.shape)).astype(np.float32)
            for (name, value), parameter in zip(
                parameters.initial_parameters(config).items(),
                parameters.specification(config).values(),
            )
        }  # fmt: skip
        if framework.__name__.endswith("tensorflow") and config.recurrence == "fused":
            with pytest.raises(UserError, match="a kernel on GPUs alone"):
                trainers.started("speech_recognition", framework, config, values)
            pytest.skip("TensorFlow has no kernel for it on the CPU, and says so")
        return trainers.started("speech_recognition", framework, config, values)

    return trainer


def batch_of(config=SMALL, step=0):
    """Rows of each kind in parity.ROWS, one whose labels do not fit among them."""
    config, batches = parity.training(config, step + 1)
    return batches[step]


def rounded_up(batch, frames, rubbish=0.0):
    """The batch with so many frames more that do not exist."""
    more = np.full((len(batch["labels"]), frames, 161), rubbish, np.float32)
    return batch | {"spectrograms": np.concatenate([batch["spectrograms"], more], axis=1)}


SHAPES = {
    "both directions": SMALL,
    "one direction": dataclasses.replace(SMALL, bidirectional=False, norm_between=False),
    "kernel": dataclasses.replace(SMALL, recurrence="fused"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_activations_statistics_and_loss_are_those_of_the_definition(make, framework, shape):
    trainer = make(SHAPES[shape])
    before = trainer.state()["parameter"]
    batch = batch_of()
    expected, moved = formulas.network(SHAPES[shape], before, batch)
    loss, points, _ = look(trainer, framework, batch)
    steps = int(batch["steps"][0])
    for name, array in expected.items():
        found, time = points[name], 3 if name.startswith("convolutions") else 0
        length = array.shape[time]
        inside, beyond = np.split(found, [length], axis=time)
        np.testing.assert_allclose(inside, array, rtol=1e-10, atol=1e-12, err_msg=name)
        assert beyond.size and not beyond.any(), name
        assert length == steps + 10 * (name == "convolutions.0")
    losses = formulas.losses(expected["logits"], batch)
    assert np.isinf(losses).sum() == 1 == infinite_losses(batch)
    assert loss == pytest.approx(losses[np.isfinite(losses)].sum() / 5, rel=1e-11)
    after = trainer.state()["parameter"]
    assert moved.keys() == {n for n in after if "running" in n}
    for name, array in moved.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_heard_is_by_the_moving_statistics(make, framework, shape):
    trainer = make(SHAPES[shape])
    batch = batch_of()
    expected, _ = formulas.network(SHAPES[shape], trainer.state()["parameter"], batch, False)
    log_probabilities = formulas.log_softmax(expected["logits"]).max(axis=2)  # [T, B]
    symbols, scores = trainer.evaluate(batch)
    for row, length in enumerate(batch["lengths"]):
        assert scores[row] == pytest.approx(log_probabilities[:length, row].sum(), rel=1e-10)
    assert symbols.shape[0] == 5 and symbols.dtype == np.int64
    assert symbols.any()
    assert np.array_equal(trainer.predict(batch), symbols)


def test_gradients_are_those_of_the_loss(make, framework):
    """Central differences, in float64, at one place of each parameter."""
    trainer = make()
    batch = batch_of()
    state = trainer.state()
    _, _, gradients = look(trainer, framework, batch)
    rng = np.random.default_rng(1)
    for name, gradient in gradients.items():
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        if rng.random() < 0.5:
            place = tuple(rng.integers(size) for size in gradient.shape)
        losses = []
        for sign in (1, -1):
            changed = {n: array.copy() for n, array in state["parameter"].items()}
            changed[name][place] += sign * 1e-6
            trainer.load_state(state | {"parameter": changed})
            losses.append(look(trainer, framework, batch)[0])
        slope = (losses[0] - losses[1]) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-6), name
    # A bias before batch norm has none; nothing but rounding would be held against rounding.
    assert [name for name, gradient in gradients.items() if not gradient.any()] == [
        "convolutions.0.bias", "convolutions.1.bias",
    ]  # fmt: skip


def test_the_kernel_and_the_steps_by_hand_have_the_same_gradients(make, framework):
    batch = batch_of()
    for shape in ({}, {"bidirectional": False}):
        plain, fused = (
            look(make(dataclasses.replace(SMALL, recurrence=recurrence, **shape)), framework, batch)
            for recurrence in ("plain", "fused")
        )
        assert plain[0] == pytest.approx(fused[0], rel=1e-13)
        for name, gradient in plain[2].items():
            gap = np.linalg.norm(gradient - fused[2][name])
            assert gap <= 1e-11 * np.linalg.norm(gradient) + 1e-13, name


@pytest.mark.parametrize("recurrence", ["plain", "fused"])
def test_frames_that_are_rounded_up_change_nothing(make, framework, recurrence):
    """Not the loss, the gradients, the statistics or what is heard; whatever stands there."""
    config = dataclasses.replace(SMALL, recurrence=recurrence)
    batch = batch_of()
    exact = 2 * int(batch["steps"][0]) + 29
    batch = batch | {"spectrograms": batch["spectrograms"][:, :exact]}
    trainer = make(config)
    loss, _, gradients = look(trainer, framework, batch)
    statistics = trainer.state()["parameter"]
    symbols, scores = trainer.evaluate(batch)
    for frames, rubbish in ((1, 0.0), (2, 3.0), (77, -5.0)):
        other = make(config)
        padded = rounded_up(batch, frames, rubbish)
        found_loss, _, found_gradients = look(other, framework, padded)
        assert found_loss == pytest.approx(loss, rel=1e-12)
        for name, gradient in gradients.items():
            gap = np.linalg.norm(gradient - found_gradients[name])
            assert gap <= 1e-12 * max(1.0, np.linalg.norm(gradient)), name
        for name, array in other.state()["parameter"].items():
            np.testing.assert_allclose(array, statistics[name], rtol=1e-12, atol=1e-14)
        found_symbols, found_scores = other.evaluate(padded)
        assert np.array_equal(found_symbols[:, : symbols.shape[1]], symbols)
        assert not found_symbols[:, symbols.shape[1] :].any()
        np.testing.assert_allclose(found_scores, scores, rtol=1e-12)


def test_padding_within_the_batch_is_heard(make, framework):
    """As in the reference: the longest utterance's company changes what all others give."""
    trainer = make()
    batch = batch_of()
    _, points, _ = look(trainer, framework, batch)
    short = batch["lengths"].argmin()
    changed = {n: array.copy() for n, array in batch.items()}
    changed["spectrograms"][short, -40:] = 1.0  # far behind its end
    _, others, _ = look(make(), framework, changed)
    assert np.abs(points["logits"][0, short] - others["logits"][0, short]).max() > 1e-6


def test_a_batch_of_no_utterance_gives_numbers(make, framework):
    """What a process has that got none of a short batch: a row of zeros, of length 0."""
    trainer = make()
    batch = batch_of()
    empty = {n: np.zeros_like(array[:1]) for n, array in batch.items()} | {"steps": batch["steps"]}
    loss, _, gradients = look(trainer, framework, empty)
    assert loss == 0.0
    assert all(not gradient.any() for gradient in gradients.values())
    assert all(np.isfinite(array).all() for array in trainer.state()["parameter"].values())


@pytest.mark.parametrize("name", ["convolutions.0.weight", "layers.0.hidden_weight", "norm.bias",
                                  "output.weight"])
def test_a_loss_that_is_no_number_stays_none(make, framework, name):
    """Or a run that has diverged would look like one of infinite losses, and go on."""
    trainer = make()
    state = trainer.state()
    state["parameter"][name].flat[0] = np.nan
    trainer.load_state(state)
    assert np.isnan(look(trainer, framework, batch_of())[0])


def test_a_single_step_leaves_the_statistics_numbers(make, framework):
    """One utterance of 0.3 s, alone: a variance over one less would be 0 / 0."""
    trainer = make()
    spectrogram = np.random.default_rng(1).standard_normal((features.MIN_FRAMES, 161), np.float32)
    batch = data.padded(SMALL, [spectrogram], [[3]], features.MIN_FRAMES, 1)
    assert batch["steps"] == 1
    before = trainer.state()["parameter"]
    look(trainer, framework, batch)
    after = trainer.state()["parameter"]
    for name, array in after.items():
        assert np.isfinite(array).all(), name
    np.testing.assert_allclose(
        after["norm.running_var"], 0.9 * before["norm.running_var"], rtol=1e-12
    )
