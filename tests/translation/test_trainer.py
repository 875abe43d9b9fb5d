"""Inside each framework: padding, decoding, the smoothed loss, dropout, a step from anywhere."""

import dataclasses
import importlib
import itertools

import numpy as np
import pytest

from tests import trainers
from tests.trainers import look
from translation import parameters, parity
from translation.config import QUICK, REFERENCE
from translation.data import bucket_bounds
from translation.formulas import positions

SMALL = dataclasses.replace(
    QUICK, seed=1, precision="fp64", vocabulary_size=30, hidden_size=16, filter_size=24,
    num_heads=2, num_layers=2, dropout=0.0, learning_rate=0.5, warmup_steps=3,
    extra_decode_length=6,
)  # fmt: skip


def sentences(rng, lengths, width):
    """int32 [B, width]: pieces 2 and above, the end, zeros.  lengths: with the end; 0 is empty."""
    found = np.zeros((len(lengths), width), np.int32)
    for row, length in zip(found, lengths):
        row[:length] = rng.integers(2, 30, length)
        if length:
            row[length - 1] = 1
    return found


def batch_of(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "sources": sentences(rng, [7, 3, 1, 5, 0], 8),
        "targets": sentences(rng, [4, 9, 1, 6, 0], 9),
    }


@pytest.fixture(scope="module")
def make(framework):
    """Makes a Trainer of this session's framework, in float64."""
    framework.start(SMALL)  # once: TensorFlow's starts anew what dropout draws from
    module = trainers.train_module("translation", framework)

    def trainer(config=SMALL):
        values = parameters.initial_parameters(config)
        # Louder than the initial values, which would foretell the same piece everywhere.
        values = {n: 2.0 * v for n, v in values.items()}
        return module.Trainer(config, values)

    return trainer


def test_loss_is_the_cross_entropy_with_smoothed_labels(make, framework):
    """By the definition, from the logits: soft labels, a mean over the pieces, less the entropy."""
    batch = batch_of()
    loss, points, _ = look(make(), framework, batch)
    logits = points["logits"]
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    labels = np.full((30, 30), 0.1 / 29) + np.eye(30) * (0.9 - 0.1 / 29)
    soft = labels[batch["targets"]]
    losses = -(soft * log_probabilities).sum(axis=2)
    least = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1 / 29))
    filled = batch["targets"] != 0
    assert loss == pytest.approx((losses - least)[filled].mean(), rel=1e-12)


def test_embedding_is_scaled_and_zero_where_no_piece_is(make, framework):
    trainer = make()
    batch = batch_of()
    _, points, _ = look(trainer, framework, batch)
    table = trainer.state()["parameter"]["embedding.weight"]
    vectors = table[batch["sources"]] * 4.0 * (batch["sources"] != 0)[:, :, None]
    np.testing.assert_allclose(points["source"], vectors + positions(8, 16), atol=1e-14)
    # What is foretold at a place is not seen there: zeros first, then the target's pieces.
    vectors = table[batch["targets"]] * 4.0 * (batch["targets"] != 0)[:, :, None]
    shifted = np.concatenate([np.zeros((5, 1, 16)), vectors[:, :-1]], axis=1)
    np.testing.assert_allclose(points["target"], shifted + positions(9, 16), atol=1e-14)


def test_no_place_sees_a_later_target(make, framework):
    trainer = make()
    batch = batch_of()
    changed = {n: array.copy() for n, array in batch.items()}
    changed["targets"][1, 5] = 7 if batch["targets"][1, 5] != 7 else 8
    one, other = (look(trainer, framework, b)[1]["logits"] for b in (batch, changed))
    np.testing.assert_allclose(one[1, :6], other[1, :6], rtol=1e-11)
    assert np.abs(one[1, 6:] - other[1, 6:]).max() > 1e-3
    np.testing.assert_allclose(one[[0, 2, 3]], other[[0, 2, 3]], rtol=1e-11)


def test_padding_changes_nothing(make, framework):
    """A pair alone, without empty places, has the logits and gradients that it has in a batch."""
    trainer = make()
    batch = batch_of()
    _, points, _ = look(trainer, framework, batch)
    total = 0
    for row, (length, target_length) in enumerate([(7, 4), (3, 9), (1, 1), (5, 6)]):
        alone = {
            "sources": batch["sources"][row : row + 1, :length],
            "targets": batch["targets"][row : row + 1, :target_length],
        }
        _, found, gradients = look(trainer, framework, alone)
        here = points["logits"][row, :target_length]
        np.testing.assert_allclose(found["logits"][0], here, rtol=1e-9, atol=1e-12)
        total = total + target_length * gradients["encoder.0.self_attention.value.weight"]
    whole = look(trainer, framework, batch)[2]["encoder.0.self_attention.value.weight"]
    np.testing.assert_allclose(total / 20, whole, rtol=1e-8, atol=1e-12)


def test_gradients_are_those_of_the_loss(make, framework):
    """Central differences, in float64, at one place of each parameter."""
    trainer = make()
    batch = batch_of()
    _, _, gradients = look(trainer, framework, batch)
    state = trainer.state()
    rng = np.random.default_rng(1)
    for name, gradient in gradients.items():
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        if rng.random() < 0.5:
            place = tuple(rng.integers(size) for size in gradient.shape)
        losses = []
        for sign in (1, -1):
            changed = {n: array.copy() for n, array in state["parameter"].items()}
            changed[name][place] += sign * 1e-5
            trainer.load_state(state | {"parameter": changed})
            losses.append(look(trainer, framework, batch)[0])
        slope = (losses[0] - losses[1]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-8), name


def test_adam_is_that_of_the_paper(make, framework):
    trainer = make()
    expected = trainer.state()
    peak = 0.5 * 16**-0.5
    for step in range(4):
        batch = batch_of(step)
        _, _, gradients = look(trainer, framework, batch)
        trainer.train_step(batch, step)
        found = trainer.state()
        rate = peak * min(1.0, step / 3) / np.sqrt(max(step, 3))
        for name, g in gradients.items():
            m = 0.9 * expected["first_moment"][name] + 0.1 * g
            v = 0.997 * expected["second_moment"][name] + 0.003 * g**2
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.997 ** (step + 1))
            w = expected["parameter"][name] - rate * m_hat / (np.sqrt(v_hat) + 1e-9)
            for group, array in (("first_moment", m), ("second_moment", v), ("parameter", w)):
                np.testing.assert_allclose(found[group][name], array, rtol=1e-10, atol=1e-13)
        expected = found


def test_decoding_by_pieces_scores_as_the_whole_network_does(make, framework):
    """The score of what beam search finds, from its cached keys and values, against one pass."""
    trainer = make()
    batch = batch_of()
    batch = {"sources": batch["sources"][:4]}
    pieces, scores = trainer.evaluate(batch)
    assert pieces.shape == (4, 14)
    assert pieces.dtype == np.int64
    assert len(np.unique(pieces)) > 4  # no constant answer
    _, points, _ = look(trainer, framework, batch | {"targets": pieces.astype(np.int32)})
    logits = points["logits"]
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    for row, sentence in enumerate(pieces):
        ends = np.flatnonzero(sentence == 1)
        length = ends[0] + 1 if len(ends) else len(sentence)
        total = log_probabilities[row, np.arange(length), sentence[:length]].sum()
        expected = total / ((5.0 + length) / 6.0) ** 0.6 if len(ends) else total
        assert scores[row] == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(trainer.predict(batch), pieces)


def test_a_translation_does_not_depend_on_the_batchs_other_sentences(make):
    trainer = make()
    sources = batch_of()["sources"][:4]
    together, scores = trainer.evaluate({"sources": sources})
    for first in (2, 3):
        pieces, some = trainer.evaluate({"sources": sources[first:]})
        width = pieces.shape[1]
        np.testing.assert_array_equal(together[first:, :width], pieces)
        assert not together[first:, width:].any()
        np.testing.assert_allclose(scores[first:], some, rtol=1e-10)


def test_wide_beam_finds_the_best_of_all_sentences(make, framework):
    """Five pieces and four places: each of the 85 sentences that end is scored in one pass."""
    config = dataclasses.replace(SMALL, vocabulary_size=5, beam_size=64, extra_decode_length=2)
    trainer = make(config)
    others, limit = [0, 2, 3, 4], 4
    sentences = [(*beginning, 1) for length in range(limit)
                 for beginning in itertools.product(others, repeat=length)]
    targets = np.zeros((len(sentences), limit), np.int32)
    for row, sentence in zip(targets, sentences):
        row[: len(sentence)] = sentence
    sources = np.array([[2, 1], [3, 1], [1, 0]], np.int32)
    found, scores = trainer.evaluate({"sources": sources})
    for number, source in enumerate(sources):
        batch = {"sources": np.tile(source, (len(sentences), 1)), "targets": targets}
        logits = look(trainer, framework, batch)[1]["logits"]
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
        each = np.take_along_axis(log_probabilities, targets[:, :, None].astype(int), 2)[:, :, 0]
        lengths = np.array([len(sentence) for sentence in sentences])
        sums = (each * (np.arange(limit) < lengths[:, None])).sum(axis=1)
        expected = sums / ((5.0 + lengths) / 6.0) ** 0.6
        assert found[number].tolist() == targets[expected.argmax()].tolist()
        assert scores[number] == pytest.approx(expected.max(), rel=1e-9)


def test_dropout_is_a_function_of_seed_and_step(make, framework):
    """Runs alike draw alike, from whatever step on; another step or another seed draws anew."""
    config = dataclasses.replace(SMALL, dropout=0.5, learning_rate=0.0)
    batch = batch_of()

    def losses(config, steps):
        trainer = make(config)
        return [float(framework.get(trainer.train_step(batch, step))) for step in steps]

    first = losses(config, [0, 1, 2])
    assert len(set(first)) == 3
    assert losses(config, [1, 2]) == first[1:]
    plain = losses(SMALL, [0])
    assert abs(np.mean(first) - plain[0]) > 1e-3  # something was dropped


def test_dropout_is_of_the_runs_seed_and_of_the_process(make, framework, monkeypatch):
    """From the same values on: alike in two runs alike, otherwise with another seed or rank."""
    config = dataclasses.replace(SMALL, dropout=0.5, learning_rate=0.0)
    trainer = make(config)

    def loss(seed, rank):
        trainer.config = dataclasses.replace(config, seed=seed)
        monkeypatch.setattr(framework, "rank", lambda: rank)
        return float(framework.get(trainer.train_step(batch_of(), 3)))

    first = loss(1, 0)
    assert loss(1, 0) == first
    assert len({first, loss(2, 0), loss(1, 1), loss(2, 1)}) == 4


def test_dropout_stands_at_each_of_its_places(make, framework, dropped):
    """In forward order, as in a record of given masks: its shapes, and the share of the config."""
    config = dataclasses.replace(SMALL, dropout=0.3)
    batch = batch_of()
    batch["sources"] = np.pad(batch["sources"], [(0, 0), (0, 1)])  # as wide as the targets
    make(config).gradients(framework.put(batch))
    places = parity.places_of_dropout(config, 5, 9).values()
    assert len(places) == 22
    assert dropped == [(shape, 0.3) for _, shape in places]


def test_nothing_is_dropped_in_decoding(make, dropped):
    sources = {"sources": batch_of()["sources"]}
    pieces, scores = make(dataclasses.replace(SMALL, dropout=0.3)).evaluate(sources)
    assert {share for _, share in dropped} == {0.0}
    expected = make().evaluate(sources)
    assert pieces.tobytes() == expected[0].tobytes()
    assert scores.tobytes() == expected[1].tobytes()


@pytest.fixture
def dropped(framework, monkeypatch):
    """[(shape, share)] of what the network drops from now on, the weights of attention too."""
    name = framework.__name__.rpartition(".")[2]
    model = importlib.import_module(f"translation.{name}.model")
    found = []
    drop = model.drop

    def see(x, share):
        found.append((tuple(x.shape), share))
        return drop(x, share)

    monkeypatch.setattr(model, "drop", see)
    if name == "tensorflow":  # which has no shapes while it makes a graph
        model.tf.config.run_functions_eagerly(True)
        yield found
        model.tf.config.run_functions_eagerly(False)
        return
    attention = model.F.scaled_dot_product_attention
    heads, places = {"pytorch": (1, 2), "paddlepaddle": (2, 1)}[name]

    def attend(queries, keys, values, mask, dropout_p, is_causal):
        shape = queries.shape[0], queries.shape[heads], queries.shape[places], keys.shape[places]
        found.append((shape, dropout_p))
        return attention(queries, keys, values, mask, dropout_p=dropout_p, is_causal=is_causal)

    monkeypatch.setattr(model.F, "scaled_dot_product_attention", attend)
    yield found


def test_dropout_drops_its_share_and_scales_the_rest(framework):
    name = framework.__name__.rpartition(".")[2]
    drop = importlib.import_module(f"translation.{name}.model").drop
    framework.start(SMALL)
    framework.seed(1, 0)
    ones = framework.put({"x": np.ones((100, 200))})["x"]
    values = framework.get(drop(ones, 0.1))
    np.testing.assert_allclose(np.unique(values), [0.0, 1.0 / 0.9])
    assert (values == 0.0).mean() == pytest.approx(0.1, abs=0.01)
    assert drop(ones, 0.0) is ones


def test_a_step_from_a_saved_state_is_bitwise_the_same(make, framework):
    config = dataclasses.replace(SMALL, dropout=0.1)
    one = make(config)
    for step in range(3):
        one.train_step(batch_of(step), step)
    saved = one.state()
    other = make(dataclasses.replace(config, seed=1))
    other.load_state(saved)
    for trainer in (one, other):
        for step in (3, 4, 5):
            trainer.train_step(batch_of(step), step)
    for group, arrays in one.state().items():
        for name, array in arrays.items():
            assert array.tobytes() == other.state()[group][name].tobytes(), (group, name)


def test_a_step_is_not_rebuilt_for_each_shape(make, framework):
    """Five shapes: one graph in TensorFlow, and PyTorch's compiler sees at most three."""
    rng = np.random.default_rng(5)
    batches = [
        {"sources": sentences(rng, [size, 2], size), "targets": sentences(rng, [3, size], size)}
        for size in (4, 5, 7, 8, 11)
    ]
    trainer = make()
    if framework.__name__.endswith("pytorch"):
        import torch
        from torch._dynamo.testing import CompileCounter

        counter = CompileCounter()
        trainer.loss = torch.compile(trainer.loss, backend=counter)
    for step, batch in enumerate(batches):
        trainer.train_step(batch, step)
    if framework.__name__.endswith("pytorch"):
        assert 1 <= counter.frame_count <= 3
    if framework.__name__.endswith("tensorflow"):
        assert trainer.step_on_device.experimental_get_tracing_count() == 1
    # PaddlePaddle builds nothing unless --compile asks, and then a graph a shape: 42 at most.
    shapes = len(bucket_bounds(REFERENCE.max_length))
    assert shapes == 42


def test_the_full_network_learns_a_batch(framework):
    """Transformer big as the reference trains it, two pairs that it must fit."""
    config = dataclasses.replace(REFERENCE, seed=1, warmup_steps=4, learning_rate=0.02)
    trainer = trainers.started("translation", framework, config)
    count = sum(int(np.prod(weight.shape)) for weight in trainer.weights.values())
    assert count == 210_804_736
    batch = {"sources": np.array([[5, 6, 7, 1], [8, 9, 1, 0]], np.int32),
             "targets": np.array([[11, 12, 1, 0], [13, 14, 15, 1]], np.int32)}
    losses = trainers.losses(trainer, framework, [batch] * 4)
    # A uniform guess: the smoothed cross-entropy's log V, less the label's entropy.
    assert losses[0] == pytest.approx(np.log(33_708) - 1.3676, rel=0.15)
    assert losses[-1] < losses[0] - 1.0
