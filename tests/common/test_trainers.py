"""Each application's Trainer inside each framework: where it starts, and what bfloat16 touches."""

import dataclasses
import re

import numpy as np
import pytest

from common import benchmark
from common.errors import UserError
from tests import trainers
from tests.cells import APPLICATIONS
from tests.speech_recognition import formulas
from translation.formulas import smoothed_label


def started(application, framework, **changes):
    """(the module train, a config of the quick profile with its counts, a batch of training)."""
    profile = benchmark.module(application, "config").QUICK
    config = dataclasses.replace(profile, application=application, **changes)
    config, (batch,) = benchmark.module(application, "parity").training(config, 1)
    framework.start(config)
    return trainers.train_module(application, framework), config, batch


class Begun(Exception):
    """A run has come to its first step."""


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_runs_seed_gives_the_initial_values(application, framework, monkeypatch):
    """By main itself, up to where a resumed run takes back its state."""

    class Run:
        def __init__(self, config, facts, own):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *reason):
            pass

        def restore(self, trainer):
            self.__class__.trainer = trainer
            raise Begun

    found = {}
    for seed in (1, 2):
        module, config, _ = started(application, framework, seed=seed, precision="fp32")
        monkeypatch.setattr(module, "Run", Run)
        with pytest.raises(Begun):
            module.main(config)
        state = Run.trainer.state()
        found[seed] = state.pop("parameter")
        assert not any(array.any() for sums in state.values() for array in sums.values())
        values = benchmark.module(application, "parameters").initial_parameters(config)
        assert found[seed].keys() == values.keys()
        for name, array in values.items():
            assert found[seed][name].tobytes() == array.tobytes(), name
    drawn = [name for name, array in found[1].items() if array.std() > 0.0]
    assert drawn
    assert all(np.abs(found[1][name] - found[2][name]).max() > 0.0 for name in drawn)


def softmax_loss(config, logits, batch):
    labels = np.eye(logits.shape[1])[batch["labels"]]
    smoothing = getattr(config, "label_smoothing", 0.0)
    labels = (1.0 - smoothing) * labels + smoothing / logits.shape[1]
    return -(labels * log_softmax(logits)).sum(axis=1).mean()


def sigmoid_loss(config, logits, batch):
    signs = 2.0 * batch["labels"] - 1.0
    return np.log1p(np.exp(-signs * logits)).mean()


def translation_loss(config, logits, batch):
    filled = batch["targets"] != 0
    logits, targets = logits[filled], batch["targets"][filled]
    other, entropy = smoothed_label(logits.shape[1], config.label_smoothing)
    labels = np.full_like(logits, other)
    labels[np.arange(len(labels)), targets] = 1.0 - config.label_smoothing
    return -(labels * log_softmax(logits)).sum(axis=1).mean() - entropy


def ctc_loss(config, logits, batch):
    losses = formulas.losses(logits, batch)
    return losses[np.isfinite(losses)].sum() / len(losses)


def detection_loss(config, losses, batch):
    """losses: [5, B], of each picture."""
    return losses.sum(axis=0)[batch["classes"].any(axis=1)].mean()


def minigo_loss(config, logits, batch):
    cross_entropy = -(batch["policy"] * log_softmax(logits)).sum(axis=1).mean()
    return cross_entropy + ((batch["value"] - batch["winner"]) ** 2).mean()


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


LOSSES = {
    "image_classification": softmax_loss,
    "object_detection": detection_loss,
    "recommendation": sigmoid_loss,
    "reinforcement": minigo_loss,
    "sentiment_analysis": softmax_loss,
    "speech_recognition": ctc_loss,
    "translation": translation_loss,
}
# The points that are bfloat16: products of matrices, and what is no sum with a float32.
BFLOAT16 = {
    "image_classification": ".*",
    "object_detection": "stem|blocks.*|pyramid.*|.*_features",
    "recommendation": "mlp[.].*|logits",
    "reinforcement": "(?!value$).*",
    "sentiment_analysis": "logits",
    "speech_recognition": "logits",
    "translation": "logits",
}


@pytest.mark.parametrize("application", APPLICATIONS)
def test_bfloat16_ends_before_the_loss(application, framework):
    """Its logits are bfloat16; loss, gradients, sums and parameters are float32, and so is what
    layer norms give; a batch norm, which gives bfloat16, has summed in float32."""
    if framework.__name__.endswith("paddlepaddle"):
        pytest.skip("PaddlePaddle has bfloat16 on GPUs alone")
    module, config, batch = started(application, framework, seed=1, precision="bf16")
    parameters = benchmark.module(application, "parameters")
    trainer = module.Trainer(config, parameters.initial_parameters(config))
    loss, points, gradients = trainer.gradients(framework.put(batch))
    for name, point in points.items():
        short = re.fullmatch(BFLOAT16[application], name)
        assert ("bfloat16" in str(point.dtype)) == bool(short), name
    last = ["logits"] if "logits" in points else [n for n in points if n.startswith("loss_")]
    logits = np.float64([framework.to_canonical(points[name], "plain") for name in last])
    beside = {n: np.float64(framework.get(points[n])) for n in ("value",) if n in points}
    expected = LOSSES[application](config, logits[0] if len(last) == 1 else logits, batch | beside)
    assert float(framework.get(loss)) == pytest.approx(expected, rel=1e-6)
    for tensor in (loss, *gradients.values(), *trainer.weights.values(),
                   *(one for sums in trainer.sums.values() for one in sums.values())):
        assert "float32" in str(tensor.dtype)
    for name, point in points.items():
        if name.endswith("shortcut_norm"):
            normed = framework.to_canonical(point, "activation")
            assert abs(normed.mean(axis=(0, 2, 3), dtype=np.float64)).max() < 1e-3, name


# What makes a few steps of the quick profile quick.
SMALL = {
    "image_classification": {"image_size": 32, "resize_size": 32, "warmup_epochs": 0.01},
    "object_detection": {},
    "recommendation": {},
    "reinforcement": {"playout_games": 0, "prediction_readouts": 16, "network_rows": 16},
    "sentiment_analysis": {},
    "speech_recognition": {
        "batch_size": 5, "conv_channels": 4, "hidden_size": 16, "frame_step": 25,
    },
    "translation": {
        "vocabulary_size": 30, "hidden_size": 16, "filter_size": 24, "num_heads": 2,
        "num_layers": 2, "dropout": 0.0, "learning_rate": 0.5, "warmup_steps": 3,
        "extra_decode_length": 6,
    },
}  # fmt: skip


def shapes_of(predicted):
    """{name: shape} of what predict gave: an array, or several by name."""
    arrays = predicted if isinstance(predicted, dict) else {"": predicted}
    return {name: array.shape for name, array in arrays.items()}


@pytest.mark.parametrize("application", APPLICATIONS)
def test_bfloat16_stays_near_float32(application, framework):
    profile = benchmark.module(application, "config").QUICK
    config = dataclasses.replace(profile, seed=1, **SMALL[application])
    parity = benchmark.module(application, "parity")
    config, batches = parity.training(config, 4)
    evaluation = parity.evaluations(config)[0][1]
    full = trainers.started(application, framework, config)
    expected = trainers.losses(full, framework, batches)
    shapes = shapes_of(full.predict(evaluation))
    half_config = dataclasses.replace(config, precision="bf16")
    if framework.__name__.endswith("paddlepaddle"):
        with pytest.raises(UserError, match="bfloat16 on GPUs alone"):
            trainers.started(application, framework, half_config)
        return
    half = trainers.started(application, framework, half_config)
    found = trainers.losses(half, framework, batches)
    print(application, np.abs(found - expected).max() / expected.max())
    assert np.abs(found - expected).max() < 0.1 * expected.max()
    assert (found != expected).any()  # it did compute otherwise
    assert all(a.dtype == np.float32 for a in half.state()["parameter"].values())
    assert shapes_of(half.predict(evaluation)) == shapes
