"""The network in each framework against one written out in numpy, a review at a time."""

import dataclasses

import numpy as np
import pytest

from common.parameters import draw
from sentiment_analysis import data
from sentiment_analysis.config import REFERENCE
from sentiment_analysis.parameters import initial_parameters, specification
from tests import trainers

CONFIG = dataclasses.replace(
    REFERENCE, seed=1, precision="fp64", vocabulary_size=30, embedding_size=5, num_filters=6,
    block_size=4, stream_multiple=64, blocks_multiple=4, batch_size=8, min_count=1,
    num_train_reviews=8, num_eval_reviews=8,
)  # fmt: skip
LENGTHS = (1, 2, 3, 4, 5, 8, 61, 17)


@pytest.fixture(scope="module")
def trainer(framework):
    return trainers.started("sentiment_analysis", framework, CONFIG, parameters())


def parameters():
    """Values large enough that ELU bends and every filter has words on both sides of zero."""
    return draw(specification(CONFIG), 5, lambda p, rng: rng.normal(0, 0.7, p.shape))


def reviews(lengths=LENGTHS):
    rng = np.random.default_rng(7)
    return [rng.integers(0, CONFIG.vocabulary_size, n).astype(np.int32) for n in lengths]


def packed(found):
    return data.pack(CONFIG, found, np.arange(len(found)) % 2)


def by_hand(values, review):
    """(logits, [features of each window]) of one review, straight from the definition."""
    words = values["embedding.weight"][review]
    features = []
    for index, window in enumerate(CONFIG.windows):
        weight, bias = (values[f"convolutions.{index}.{what}"] for what in ("weight", "bias"))
        places = []
        for place in range(len(review)):
            total = bias.copy()
            for k in range(window):
                at = place - window // 2 + k
                if 0 <= at < len(review):
                    total += weight[:, :, k] @ words[at]
            places.append(np.where(total > 0, total, np.expm1(np.minimum(total, 0))))
        features.append(np.max(places, axis=0))
    return values["classifier.weight"] @ np.concatenate(features) + values["classifier.bias"], (
        features
    )


def test_logits_and_loss_are_those_of_the_definition(framework, trainer):
    batch = packed(reviews())
    loss, points, _ = trainer.gradients(framework.put(batch))
    values = parameters()
    logits, features = zip(*(by_hand(values, review) for review in reviews()))
    for index in range(2):
        expected = np.array([both[index] for both in features])
        found = framework.get(points[f"convolutions.{index}"])
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(framework.get(points["logits"]), logits, rtol=1e-12, atol=1e-12)
    logits = np.array(logits)
    picked = logits[np.arange(8), batch["labels"]]
    expected = np.mean(np.log(np.exp(logits).sum(1)) - picked)
    assert float(framework.get(loss)) == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_the_slope_of_the_loss(framework, trainer):
    """Against central differences of the definition, a few elements of each parameter."""
    batch = packed(reviews())
    _, _, gradients = trainer.gradients(framework.put(batch))
    rng = np.random.default_rng(3)

    def loss(values):
        logits = np.array([by_hand(values, review)[0] for review in reviews()])
        picked = logits[np.arange(8), batch["labels"]]
        return np.mean(np.log(np.exp(logits).sum(1)) - picked)

    for name, parameter in specification(CONFIG).items():
        found = framework.to_canonical(gradients[name], parameter.role)
        for flat in rng.integers(0, found.size, 4):
            values = parameters()
            place = np.unravel_index(flat, found.shape)
            values[name][place] += 1e-6
            above = loss(values)
            values[name][place] -= 2e-6
            slope = (above - loss(values)) / 2e-6
            assert found[place] == pytest.approx(slope, rel=1e-5, abs=1e-8), (name, place)


def test_a_review_is_told_alike_alone_and_among_others(framework, trainer):
    together = trainer.gradients(framework.put(packed(reviews())))[1]["logits"]
    for row, review in enumerate(reviews()):
        alone = trainer.gradients(framework.put(packed([review])))[1]["logits"]
        np.testing.assert_allclose(
            framework.get(alone)[0], framework.get(together)[row], rtol=1e-12, atol=1e-13
        )


def test_equal_windows_share_one_gradient(framework, trainer):
    """A review of one word, many times over: its maxima are equal at every inner place."""
    review = np.full(30, 4, np.int32)
    _, _, gradients = trainer.gradients(framework.put(packed([review])))
    short = np.full(12, 4, np.int32)
    _, _, expected = trainer.gradients(framework.put(packed([short])))
    for name in gradients:
        np.testing.assert_allclose(
            framework.get(gradients[name]), framework.get(expected[name]), rtol=1e-9, atol=1e-12,
            err_msg=name,
        )  # fmt: skip


def test_adam_by_hand_and_rows_of_absent_words_stay(framework, trainer):
    before = trainer.state()
    batch = packed([np.array([3, 4, 5], np.int32)])
    _, _, gradients = trainer.gradients(framework.put(batch))
    trainer.train_step(batch, 0)
    trainer.train_step(batch, 1)
    after = trainer.state()
    trainer.load_state(before)
    for name, parameter in specification(CONFIG).items():
        gradient = framework.to_canonical(gradients[name], parameter.role)
        moved = after["parameter"][name] - before["parameter"][name]
        if name == "embedding.weight":
            assert not moved[[0, 1, 2, *range(6, 30)]].any()
            assert not after["first_moment"][name][6:].any()
            moved, gradient = moved[3:6], gradient[3:6]
        # Two steps along nearly the same gradient, each of nearly the learning rate.
        sure = np.abs(gradient) > 1e-3
        assert sure.any()
        np.testing.assert_allclose(
            moved[sure], -2 * CONFIG.learning_rate * np.sign(gradient[sure]), rtol=2e-2
        )


def test_the_reference_network_holds_every_parameter(framework):
    config = dataclasses.replace(REFERENCE, seed=1)
    values = initial_parameters(config)
    state = trainers.started("sentiment_analysis", framework, config).state()
    assert sum(array.size for array in state["parameter"].values()) == 12_616_706
    for part in ("first_moment", "second_moment"):
        assert state[part].keys() == values.keys()
        assert not any(array.any() for array in state[part].values())
    for parameter, array in state["parameter"].items():
        assert array.tobytes() == values[parameter].tobytes()


def test_one_graph_serves_batches_of_every_shape(framework):
    if not framework.__name__.endswith("tensorflow"):
        pytest.skip("PyTorch and PaddlePaddle build no graph without --compile")
    config = dataclasses.replace(CONFIG, precision="fp32")
    trainer = trainers.started("sentiment_analysis", framework, config)
    for longest in (5, 30, 61, 100, 200, 300):
        batch = packed(reviews((1, 2, longest, longest // 2)))
        trainer.train_step(batch, 0)
        trainer.predict(batch)
    assert trainer.step_on_device.experimental_get_tracing_count() == 1
    assert trainer.evaluate_on_device.experimental_get_tracing_count() == 1
