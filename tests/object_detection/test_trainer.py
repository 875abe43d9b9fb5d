"""What each framework's Trainer computes, held against numpy where that is short."""

import dataclasses
import importlib

import numpy as np
import pytest

from common.errors import UserError
from object_detection import anchors, boxes, masks, parity
from object_detection.config import QUICK, REFERENCE, learning_rate
from object_detection.parameters import initial_parameters

SMALL = dataclasses.replace(
    QUICK, seed=1, batch_size=3, pyramid_width=8, widths=(8, 8, 8), stem_width=8, box_size=16,
    mask_width=8, mask_layers=1, box_bins=3, mask_bins=4, **parity.EXACT,
)  # fmt: skip
FP64 = dataclasses.replace(SMALL, precision="fp64")


@pytest.fixture()
def trainer_of(framework):
    """Makes the framework's Trainer for a config."""
    name = framework.__name__.rpartition(".")[2]

    def make(config, values=parity.initial_parameters):
        framework.start(config)
        module = importlib.import_module(f"object_detection.{name}.train")
        return module.Trainer(config, values(config))

    return make


def losses(trainer, framework, batches):
    return np.array([float(framework.get(trainer.train_step(b, k))) for k, b in enumerate(batches)])


def points_of(trainer, framework, batch):
    """(loss, {name: canonical array of a point that is plain})."""
    loss, points, _ = trainer.gradients(framework.put(batch))
    return float(framework.get(loss)), {
        name: framework.to_canonical(point, "plain") for name, point in points.items()}


def test_what_is_decided_is_what_the_definitions_decide(trainer_of, framework):
    """From the network's own scores and deltas, picture by picture."""
    config, (batch,) = parity.training(FP64, 1)
    _, found = points_of(trainer_of(config), framework, batch)
    own = anchors.anchors(config, *batch["images"].shape[1:3])
    for row, (height, width) in enumerate(batch["sizes"][:2]):
        ground = np.float64(batch["boxes"][row][batch["classes"][row] > 0])
        labels = boxes.label_anchors(own, ground, height, width, 0.7, 0.3)
        chosen = boxes.sample(batch["anchor_keys"][row], *labels[:2], config.anchors_per_image,
                              config.positive_anchors)  # fmt: skip
        count = len(chosen)
        assert found["decision.anchors"][row, :count].tolist() == list(chosen)
        assert found["decision.anchor_kinds"][row, :count].tolist() == list(chosen.values())

        places = found["decision.proposals"][row]
        places = places[places >= 0]
        decoded = boxes.decode(found["deltas"][row, places], own[places], np.ones(4))
        decoded = boxes.clip(decoded, height, width)
        padded = np.zeros((config.proposals, 4))
        padded[: len(decoded)] = decoded
        rows = np.zeros((batch["boxes"].shape[1], 4))
        rows[: len(ground)] = ground
        candidates = np.concatenate([padded, rows])
        valid = np.zeros(len(candidates), bool)
        valid[: len(places)] = valid[config.proposals : config.proposals + len(ground)] = True
        shared = boxes.overlaps(candidates, ground)
        positive = shared.max(axis=1) >= config.roi_overlap
        chosen = boxes.sample(batch["roi_keys"][row], positive & valid, ~positive & valid,
                              config.rois_per_image, config.positive_rois)  # fmt: skip
        count = len(chosen)
        assert found["decision.regions"][row, :count].tolist() == list(chosen)
        assert found["decision.region_kinds"][row, :count].tolist() == list(chosen.values())
        assert (found["decision.regions"][row, count:] == -1).all()
        regions = candidates[list(chosen)]
        np.testing.assert_allclose(found["rois"][row, :count], regions, atol=1e-9)
        levels = [boxes.level_of(config, region) for region in regions]
        assert found["decision.region_levels"][row, :count].tolist() == levels
        matches = shared.argmax(axis=1)[list(chosen)]
        bitmaps = masks.unpack(batch["masks"][row])
        for place in np.flatnonzero(np.array(list(chosen.values())) == boxes.POSITIVE):
            expected = masks.target(bitmaps[matches[place]], regions[place], 2 * config.mask_bins)
            assert (found["decision.mask_targets"][row, place] == expected).all()


def test_the_losses_by_their_formulas(trainer_of, framework):
    """From the recorded scores, deltas and decisions; the last row is no picture."""
    config, (batch,) = parity.training(FP64, 1)
    loss, found = points_of(trainer_of(config), framework, batch)
    own = anchors.anchors(config, *batch["images"].shape[1:3])
    total = 0.0
    for row in range(2):
        at, kinds, matches = (found[f"decision.{name}"][row]
                              for name in ("anchors", "anchor_kinds", "anchor_matches"))
        positive, count = kinds == boxes.POSITIVE, (kinds != boxes.NONE).sum()
        signs = np.where(positive, 1.0, -1.0)
        logits = found["objectness"][row, at]
        code = boxes.encode(np.float64(batch["boxes"][row, matches]), own[at], np.ones(4))
        apart = smooth_l1(found["deltas"][row, at] - code, config.anchor_beta)
        expected = {"objectness": np.log1p(np.exp(-signs * logits))[kinds != boxes.NONE].mean(),
                    "anchors": apart[positive].sum() / count}  # fmt: skip
        kinds, matches = (found[f"decision.{name}"][row]
                          for name in ("region_kinds", "region_matches"))
        positive, exists = kinds == boxes.POSITIVE, kinds != boxes.NONE
        classes = batch["classes"][row, matches] * positive
        logits, places = found["class_logits"][row], np.arange(len(classes))
        shifted = logits - logits.max(axis=1, keepdims=True)
        picked = np.log(np.exp(shifted).sum(axis=1)) - shifted[places, classes]
        code = boxes.encode(np.float64(batch["boxes"][row, matches]), found["rois"][row],
                            np.array(config.box_weights))  # fmt: skip
        apart = smooth_l1(found["box_deltas"][row, places, classes] - code, 1.0)
        expected |= {"classes": picked[exists].mean(),
                     "boxes": apart[positive].sum() / exists.sum()}  # fmt: skip
        first = positive[: config.positive_rois]
        logits = found["mask_logits"][row, first]
        signs = 2.0 * found["decision.mask_targets"][row, first] - 1.0
        expected["masks"] = np.log1p(np.exp(-signs * logits)).mean()
        assert positive.sum() >= 2
        for name, value in expected.items():
            assert found[f"loss_{name}"][row] == pytest.approx(value, rel=1e-9), name
        total += sum(expected.values())
    assert loss == pytest.approx(total / 2, rel=1e-9)


def smooth_l1(x, beta):
    x = abs(x)
    return np.where(x < beta, 0.5 * x**2 / beta, x - beta / 2)


def test_given_decisions_are_taken(trainer_of, framework):
    """The levels: RoIAlign reads other cells."""
    config, (batch,) = parity.training(FP64, 1)
    trainer = trainer_of(config)
    _, found = points_of(trainer, framework, batch)
    own = np.int64(found["decision.region_levels"])
    _, same = points_of(trainer, framework, batch | {"decision.region_levels": own})
    assert np.array_equal(same["box_pooled"], found["box_pooled"])
    _, other = points_of(trainer, framework, batch | {"decision.region_levels": (own + 1) % 3})
    assert np.array_equal(other["decision.region_levels"], own)
    assert np.abs(other["box_pooled"] - found["box_pooled"]).max() > 0.01


def test_the_optimizer_is_momentum_with_faster_undecayed_biases(trainer_of, framework):
    config, batches = parity.training(dataclasses.replace(FP64, warmup_steps=3), 3)
    trainer = trainer_of(config)
    expected = trainer.state()
    for step, batch in enumerate(batches):
        _, _, gradients = trainer.gradients(framework.put(batch))
        # Before the step, which may write over them.
        gradients = {n: framework.to_canonical(gradient, trainer.specification[n].role)
                     for n, gradient in gradients.items()}
        trainer.train_step(batch, step)
        found = trainer.state()
        rate = learning_rate(config, step)
        for name, g in gradients.items():
            w, v = expected["parameter"][name], expected["velocity"][name]
            bias = name.endswith(".bias")
            v = config.momentum * v + g + (0.0 if bias else config.weight_decay) * w
            w = w - (2.0 if bias else 1.0) * rate * v
            np.testing.assert_allclose(found["velocity"][name], v, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found["parameter"][name], w, rtol=1e-9, atol=1e-12)
        for name, array in expected["parameter"].items():
            if name not in gradients:
                assert np.array_equal(found["parameter"][name], array), name
        expected = found


def test_what_predict_gives(trainer_of, framework):
    """By falling score, zeros behind the last, suppressed class by class."""
    config, _ = parity.training(FP64, 1)
    [(values, batch)] = parity.evaluations(config)
    found = trainer_of(config, lambda config: values).predict(batch)
    count, most = len(batch["images"]), config.detections
    assert found["boxes"].shape == (count, most, 4)
    assert found["masks"].shape == (count, most, 8, 8)
    exists = found["classes"] > 0
    assert exists.any() and (found["classes"] <= config.num_classes).all()
    assert (np.diff(found["scores"], axis=1) <= 0).all()
    assert (found["scores"][exists] > config.score_threshold).all()
    assert not found["scores"][~exists].any() and not found["boxes"][~exists].any()
    limits = np.stack([batch["sizes"][:, 1], batch["sizes"][:, 0]] * 2, axis=1)[:, None]
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= limits - 1).all()
    assert ((found["masks"] > 0) & (found["masks"] < 1)).all()
    for row in range(count):
        for label in range(1, config.num_classes + 1):
            own = found["boxes"][row][found["classes"][row] == label]
            assert boxes.suppress(own, config.detection_overlap).all()


def test_bfloat16_stays_near_float32(trainer_of, framework):
    config, batches = parity.training(SMALL, 3)
    expected = losses(trainer_of(config), framework, batches)
    half_config = dataclasses.replace(config, precision="bf16")
    if framework.__name__.endswith("paddlepaddle"):
        with pytest.raises(UserError, match="bfloat16 on GPUs alone"):
            trainer_of(half_config)
        return
    half = trainer_of(half_config)
    found = losses(half, framework, batches)
    assert np.abs(found - expected).max() < 0.2 * expected.max()
    assert (found != expected).any()  # it did compute otherwise
    assert all(a.dtype == np.float32 for a in half.state()["parameter"].values())


def test_the_full_network_learns_a_picture(trainer_of, framework):
    """At the published width, on one small picture that it must fit."""
    config = dataclasses.replace(
        REFERENCE, seed=1, batch_size=1, short_side=128, long_side=128, warmup_steps=0,
        learning_rate_per_16=0.08, **parity.CHANGES["reference"],
    )  # fmt: skip
    config, (batch,) = parity.training(config, 1)
    trainer = trainer_of(config, initial_parameters)
    found = losses(trainer, framework, [batch] * 4)
    assert found[-1] < 0.8 * found[0], found
