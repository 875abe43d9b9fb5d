"""Each framework's regions.py computes what boxes.py, anchors.py and masks.py define."""

import dataclasses
import importlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from object_detection import anchors, boxes, masks
from object_detection.config import QUICK

CONFIG = dataclasses.replace(QUICK, seed=1, precision="fp64")
CASES = hypothesis.settings(max_examples=25)
SEEDS = strategies.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def regions(framework):
    framework.start(CONFIG)
    return importlib.import_module(
        f"object_detection.{framework.__name__.rpartition('.')[2]}.regions")


@pytest.fixture(scope="module")
def call(framework):
    """call(function, *arguments): arrays go to the device, and come back."""

    def put(argument):
        if isinstance(argument, np.ndarray):
            return framework.put({"": argument})[""]
        return [put(one) for one in argument] if isinstance(argument, list) else argument

    def run(function, *arguments):
        found = function(*map(put, arguments))
        parts = tuple(map(framework.get, found)) if isinstance(found, tuple) else framework.get(
            found)
        return parts

    return run


def drawn(rng, count, side=100, whole=False):
    """float64 [count, 4]: boxes, many of them alike.  whole: of whole pixels, so that some overlap
    by exactly as much as others."""
    low = rng.uniform(0, side / 2, (count, 2))
    found = np.concatenate([low, low + rng.uniform(0, side / 2, (count, 2))], axis=1)
    return np.round(found / 8) * 8 if whole else found


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * (1 + abs(expected).max()))


def test_anchors(regions, call):
    found = call(regions.make_anchors, CONFIG, anchors.all_base_anchors(CONFIG), 96, 160)
    assert (found == anchors.anchors(CONFIG, 96, 160)).all()


@CASES
@hypothesis.given(SEEDS)
def test_overlaps_and_the_box_code(regions, call, seed):
    rng = np.random.default_rng(seed)
    one, other = drawn(rng, 12), drawn(rng, 12)
    close(call(regions.overlaps, one[None], other[None])[0], boxes.overlaps(one, other))
    code = boxes.encode(one, other, CONFIG.box_weights)
    close(call(regions.encode, one[None], other[None], CONFIG.box_weights)[0], code)
    code = rng.normal(0.0, 10.0, (12, 4))
    decoded = boxes.decode(code, other, CONFIG.box_weights)
    close(call(regions.decode, code[None], other[None], CONFIG.box_weights)[0], decoded)
    sizes = np.array([[40, 70], [0, 0]], np.int32)
    found = call(regions.clip, np.stack([decoded, decoded]), sizes)
    close(found[0], boxes.clip(decoded, 40, 70))
    assert (found[1] == 0.0).all()  # a filler's row


@CASES
@hypothesis.given(SEEDS, strategies.booleans(), strategies.sampled_from([0.3, 0.5, 0.7, 5 / 15]))
def test_suppression(regions, call, seed, whole, threshold):
    """With ties and without, exactly at the threshold too."""
    rng = np.random.default_rng(seed)
    own = np.stack([drawn(rng, 40, 60, whole), drawn(rng, 40, 60, whole)])
    found = call(regions.suppress, own, threshold)
    assert found.tolist() == [boxes.suppress(one, threshold).tolist() for one in own]


def test_suppression_along_a_chain(regions, call):
    """Each box overlaps its neighbours alone: as many guesses as boxes, every second is kept."""
    top = np.arange(60.0) * 4
    own = np.stack([0 * top, top, 0 * top + 9, top + 9], axis=1)
    assert call(regions.suppress, own[None], 0.4)[0].tolist() == [True, False] * 30


@CASES
@hypothesis.given(SEEDS, strategies.booleans())
def test_labels_of_anchors_and_of_regions(regions, call, seed, whole):
    rng = np.random.default_rng(seed)
    config = dataclasses.replace(CONFIG, anchor_high=0.5)
    sizes = np.array([[90, 80], [60, 70]], np.int32)
    given = np.stack([drawn(rng, 50, 100, whole), drawn(rng, 50, 100, whole) - 3])
    ground = np.stack([drawn(rng, 6, 60, whole), drawn(rng, 6, 60, whole)])
    exists = np.arange(6) < np.array([[4], [1]])
    found = call(regions.label_anchors, config, given[0], ground, exists, sizes)
    for row, count in enumerate((4, 1)):
        own = ground[row, :count]
        expected = boxes.label_anchors(given[0], own, *sizes[row], 0.5, config.anchor_low)
        assert all((a[row] == b).all() for a, b in zip(found, expected))
    valid = rng.random((2, 50)) < 0.9
    found = call(regions.label_regions, config, given, valid, ground, exists)
    for row, count in enumerate((4, 1)):
        shared = boxes.overlaps(given[row], ground[row, :count])
        positive = shared.max(axis=1) >= 0.5
        assert (found[0][row] == (positive & valid[row])).all()
        assert (found[1][row] == (~positive & valid[row])).all()
        assert (found[2][row] == shared.argmax(axis=1)).all()


@CASES
@hypothesis.given(SEEDS, strategies.integers(1, 8), strategies.floats(0.0, 1.0))
def test_sampling(regions, call, seed, most, share):
    rng = np.random.default_rng(seed)
    keys = np.stack([rng.permutation(30) for _ in range(2)]).astype(np.int32)
    positive = rng.random((2, 30)) < share
    negative = ~positive & (rng.random((2, 30)) < 0.4)
    places, kinds = call(regions.sample, keys, positive, negative, 12, most)
    for row in range(2):
        expected = boxes.sample(keys[row], positive[row], negative[row], 12, most)
        count = len(expected)
        assert list(zip(places[row], kinds[row]))[:count] == list(expected.items())
        assert (kinds[row, count:] == boxes.NONE).all()


@CASES
@hypothesis.given(SEEDS, strategies.booleans())
def test_proposals(regions, call, seed, ties):
    """Of each level the best, suppressed; then the best of all; ties to the lower index."""
    rng = np.random.default_rng(seed)
    own = anchors.anchors(CONFIG, 64, 64)
    counts = [3 * rows * columns for rows, columns in anchors.level_shapes(CONFIG, 64, 64)]
    logits = rng.normal(size=(2, len(own)))
    logits = np.round(logits) if ties else logits
    deltas = rng.normal(0.0, 0.3, (2, len(own), 4))
    sizes = np.array([[64, 50], [40, 64]], np.int32)
    for most, count in ((20, 30), (20, 100)):
        found = call(regions.propose, CONFIG, logits, deltas, own, sizes, counts, most, count)
        for row in range(2):
            kept, first = [], 0
            for total in counts:
                order = first + np.argsort(-logits[row, first : first + total], kind="stable")
                order = order[:most]
                decoded = boxes.decode(deltas[row, order], own[order], (1.0, 1.0, 1.0, 1.0))
                decoded = boxes.clip(decoded, *sizes[row])
                kept += order[boxes.suppress(decoded, CONFIG.proposal_overlap)].tolist()
                first += total
            kept = sorted(kept, key=lambda place: (-logits[row, place], place))[:count]
            assert found[row].tolist() == kept + [-1] * (count - len(kept))


def test_levels(regions, call):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (200, 2))
    own = np.concatenate([low, low + np.exp(rng.uniform(0, 5, (200, 2)))], axis=1)
    sides = np.arange(1.0, 140.0)
    squares = np.stack([0 * sides, 0 * sides, sides - 1, sides - 1], axis=1)
    own = np.concatenate([own, squares])
    found = call(regions.level_of, CONFIG, own[None])[0]
    assert found.tolist() == [boxes.level_of(CONFIG, box) for box in own]
    assert set(found) == {0, 1, 2}


def pyramid(framework, rng, pictures):
    """Canonical maps [B, C, H, W] of three levels, of 40 x 56 pixels."""
    return [rng.normal(size=(pictures, 5, 40 // stride, 56 // stride)) for stride in (4, 8, 16)]


def own_layout(framework, maps):
    """Maps as the framework lays them out."""
    if framework.__name__.endswith("tensorflow"):
        return [np.ascontiguousarray(one.transpose(0, 2, 3, 1)) for one in maps]
    return maps


def test_roi_align(framework, regions, call):
    """In the interior, across the border, beyond it, of no size, on each level."""
    rng = np.random.default_rng(3)
    maps = pyramid(framework, rng, 2)
    own = np.stack([drawn(rng, 9, 70) for _ in range(2)])
    own[0, 0] = 5.0, 5.0, 5.0, 5.0
    own[0, 1] = 0.0, 0.0, 55.0, 39.0
    own[1, 0] = 40.0, 30.0, 90.0, 80.0
    own[1, 1] = -9.0, -3.0, 20.0, 20.0
    levels = rng.integers(0, 3, (2, 9))
    for bins in (7, 3):
        found = call(regions.align, CONFIG, own_layout(framework, maps), own, levels, bins)
        for row in range(2):
            for place, level in enumerate(levels[row]):
                cells = maps[level][row].transpose(1, 2, 0)
                close(found[row, place],
                      masks.align(cells, own[row, place], 1 / CONFIG.strides[level], bins))


def test_roi_aligns_gradient(framework, regions):
    """By the definition, which is linear in the maps: what each cell gives to the outcome."""
    rng = np.random.default_rng(4)
    maps = pyramid(framework, rng, 1)
    own = drawn(rng, 4, 70)[None]
    levels = np.array([[0, 1, 2, 1]])
    weights = rng.normal(size=(1, 4, 3, 3, 5))
    found = gradients(framework, lambda given: regions.align(
        CONFIG, given, framework.put({"": own})[""], framework.put({"": levels})[""], 3),
        own_layout(framework, maps), weights)  # fmt: skip
    for level, one in enumerate(maps):
        expected = np.zeros_like(one)
        for row in range(one.shape[2]):
            for column in range(one.shape[3]):
                unit = np.zeros((*one.shape[2:], 1))
                unit[row, column] = 1.0
                for place in np.flatnonzero(levels[0] == level):
                    reached = masks.align(unit, own[0, place], 1 / CONFIG.strides[level], 3)
                    expected[0, :, row, column] += (weights[0, place] * reached).sum(axis=(0, 1))
        close(found[level], own_layout(framework, [expected])[0])


def gradients(framework, function, given, weights):
    """[array]: the gradients of the sum of function(given) times weights."""
    name = framework.__name__.rpartition(".")[2]
    given = [framework.put({"": one})[""] for one in given]
    weights = framework.put({"": weights})[""]
    if name == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(given)
            total = tf.reduce_sum(function(given) * weights)
        return [framework.get(one) for one in tape.gradient(total, given)]
    if name == "paddlepaddle":
        import paddle

        for one in given:
            one.stop_gradient = False
        return [framework.get(one)
                for one in paddle.grad((function(given) * weights).sum(), given)]
    import torch

    for one in given:
        one.requires_grad_()
    return [framework.get(one)
            for one in torch.autograd.grad((function(given) * weights).sum(), given)]


@hypothesis.settings(max_examples=4)  # the definition takes a second for each
@hypothesis.given(SEEDS)
def test_mask_targets(regions, call, seed):
    rng = np.random.default_rng(seed)
    bitmaps = rng.random((2, 3, 40, 56)) < 0.5
    bitmaps[:, 0] = False
    bitmaps[:, 0, 10:30, 20:40] = True
    own = np.stack([drawn(rng, 5, 50) for _ in range(2)])
    own[0, 0] = 10.0, 5.0, 38.0, 33.0  # bins of half a pixel: some are exactly half set
    matches = rng.integers(0, 3, (2, 5))
    matches[0, 0] = 0
    found = call(regions.mask_targets, CONFIG, masks.pack(bitmaps), matches, own)
    size = 2 * CONFIG.mask_bins
    for row in range(2):
        for place, match in enumerate(matches[row]):
            expected = masks.target(bitmaps[row, match], own[row, place], size)
            assert (found[row, place] == expected).all()
