"""Batches: order, shapes, boxes, masks and keys, the same for any number of processes."""

import dataclasses
import os
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as reference

from common.data.batches import dealt
from common.data.ragged import Ragged
from common.errors import UserError
from object_detection import coco, data, images
from object_detection.config import QUICK, REFERENCE
from tests.object_detection import scenes


def prepared(folder, **changes):
    return data.prepare(scenes.own(folder, **changes))


def num_batches(config):
    """Of a pass."""
    return data.batches_per_pass(os.path.join(config.data_dir, config.index), config.batch_size)


def unpacked(masks):
    """bool [..., H, W] of packed bitmaps."""
    return np.unpackbits(masks, axis=-1, bitorder="little").astype(bool)


def made(sizes, counts):
    """coco.Pictures of these sizes and counts of objects, whose boxes and masks say nothing."""
    first = np.cumsum([0, *counts]).astype(np.int64)
    number = int(first[-1])
    names = Ragged(np.zeros(0, np.uint8), np.zeros(len(sizes) + 1, np.int64))
    return coco.Pictures(
        np.arange(1, len(sizes) + 1), np.array(sizes, np.int32), names, first,
        np.ones((number, 4), np.float32), np.ones(number, np.int32),
        np.arange(number + 1), Ragged(np.zeros(6 * number, np.float32),
                                      np.arange(number + 1) * 6), np.array([1]), ("a",), 0,
    )  # fmt: skip


def imagined(sizes, counts=None, **changes):
    """(patch that gives these pictures, the reference's config of as many)."""
    pictures = made(sizes, counts or [1] * len(sizes))
    changes = {"seed": 1, "index": str(hash((tuple(sizes), tuple(changes.items())))),
               "num_train_images": len(sizes)} | changes
    patch = mock.patch.object(coco, "load_from", lambda folder, split: pictures)
    data.order_of_pass.cache_clear()
    data.batches_per_pass.cache_clear()
    return patch, dataclasses.replace(REFERENCE, **changes)


SIZES = st.lists(st.tuples(st.integers(20, 700), st.integers(20, 700)), min_size=1, max_size=40)


def grouped(order, portrait, size):
    """T05 grouped_batch_sampler.py in its own terms: a list of batches, as they come."""
    batches, waiting = [], {False: None, True: None}
    for number in order.tolist():
        kind = bool(portrait[number])
        if waiting[kind] is None or len(waiting[kind]) == size:
            waiting[kind] = []
            batches.append(waiting[kind])  # a batch's place is that of its first picture
        waiting[kind].append(number)
    return batches


@settings(max_examples=100, deadline=None)
@given(SIZES, st.integers(1, 9), st.integers(1, 4))
def test_an_epoch_is_the_references(sizes, batch_size, epoch):
    """floor(N / B) + 1 batches of an endless row of passes; one orientation in each; no batch is
    filled up from another pass."""
    patch, config = imagined(sizes, batch_size=batch_size)
    with patch:
        batches = data.batches(config, "train", epoch)
        length = len(sizes) // batch_size + 1
        assert len(batches.indices) == length == data.steps_per_epoch(config)
        portrait = [h >= w for h, w in sizes]
        row = [batch for number in range(1, 2 * epoch + 2) for batch in grouped(
            data.permutation(len(sizes), number, 1), portrait, batch_size)]
        for step, numbers in enumerate(batches.indices, (epoch - 1) * length):
            pictures, _ = data.look_up_train(config, numbers)
            found = [picture.number - 1 for picture in pictures if picture]
            assert found == row[step] and len(pictures) == batch_size
            assert [n >= 0 for n in numbers] == [p is not None for p in pictures]
        assert len(batches.following().indices) == length


def test_every_picture_comes_once_a_pass():
    patch, config = imagined([(30, 40)] * 9 + [(40, 30)] * 7, batch_size=4)
    with patch:
        count = num_batches(config)
        assert count == 3 + 2
        orders = [np.concatenate([data.members_of(config, step)[1] for step in range(
            first, first + count)]) for first in (0, count)]
        for order in orders:
            assert sorted(order[order >= 0]) == list(range(16)) and (order < 0).sum() == 4
        assert not np.array_equal(*orders)
        other = dataclasses.replace(config, seed=2)
        assert not np.array_equal(orders[0][:4], data.members_of(other, 0)[1])


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data(), st.integers(3, 8))
def test_shapes_are_few_and_the_whole_batchs(sizes, drawn, batch_size):
    """Each part of 1, 2 or 3 processes has the shape that all pictures together need."""
    counts = drawn.draw(st.lists(st.integers(1, 200), min_size=len(sizes), max_size=len(sizes)))
    patch, config = imagined(sizes, counts, batch_size=batch_size)
    with patch:
        for numbers in data.batches(config, "train", 1).indices:
            pictures, shape = data.look_up_train(config, numbers)
            kept = [picture for picture in pictures if picture]
            resized = [images.resized_size(*picture.size, config) for picture in kept]
            height, width, rows = shape
            assert height >= max(h for h, _ in resized) and width >= max(w for _, w in resized)
            assert height % 32 == width % 32 == 0 and min(height, width) == 800
            assert max(height, width) % 64 == 0
            assert rows >= max(len(picture.boxes) for picture in kept)
            assert rows in (16, 32, 128, 256)
            for world_size in (1, 2, 3):
                parts = [data.look_up_train(config, part)
                         for part in np.array_split(numbers, world_size)]
                assert {found for _, found in parts} == {shape}
                together = [one and one.number for own, _ in parts for one in own]
                assert together == [one and one.number for one in pictures]


def test_the_references_shapes_are_eighteen():
    """Of any pictures up to twice as long as wide, or rather more: nine an orientation."""
    shapes = {data.padded(REFERENCE, np.array([(a, b)]))
              for a in range(300, 660, 4) for b in range(300, 660, 4)}
    assert len(shapes) == 18
    assert {max(shape) for shape in shapes} == set(range(832, 1345, 64))


def expected_masks(config, picture, ratios, flipped, size):
    """[bool [H, W]]: pycocotools' masks of the scaled polygons."""
    found = []
    for polygons in picture:
        scaled = [(part.reshape(-1, 2) * ratios).astype(float) for part in polygons]
        if flipped:
            scaled = [np.stack([size[1] - part[:, 0], part[:, 1]], axis=1) for part in scaled]
        runs = reference.frPyObjects([part.ravel().tolist() for part in scaled], *size)
        found.append(reference.decode(reference.merge(runs)).astype(bool))
    return found


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_training_batch_by_its_definition(folder, flip):
    config = prepared(folder, flip=flip, short_side=96, long_side=120)
    pictures = coco.load(config, "train")
    seen = []
    steps = num_batches(config)
    for step in range(steps):
        _, members = data.members_of(config, step)
        numbers = np.where(members >= 0, step * 2 + np.arange(2), -1 - step * 2)
        batch = data.batches(config, "train", 1).at(numbers)
        height, width = batch["images"].shape[1:3]
        assert batch["masks"].shape == (2, 8, height, width // 8)
        num_anchors = 3 * sum(-(-height // s) * -(-width // s) for s in config.strides)
        for row, member in enumerate(members.tolist()):
            keys = batch["anchor_keys"][row], batch["roi_keys"][row]
            assert [sorted(k.tolist()) for k in keys] == [list(range(num_anchors)),
                                                          list(range(config.proposals + 8))]
            if member < 0:
                assert not any(batch[name][row].any()
                               for name in ("images", "sizes", "boxes", "classes", "masks"))
                continue
            seen.append(member)
            own = pictures.sizes[member].tolist()
            size = images.resized_size(*own, config)
            assert batch["sizes"][row].tolist() == list(size)
            path = folder / "train2017" / pictures.name(member)
            pixels = np.asarray(Image.open(path).resize(size[::-1], Image.Resampling.BILINEAR))
            pixels = pixels[:, ::-1] if flip else pixels
            found = batch["images"][row]
            assert np.array_equal(found[: size[0], : size[1]], pixels)
            assert not found[size[0] :].any() and not found[:, size[1] :].any()
            ratios = np.array([size[1] / own[1], size[0] / own[0]])
            slots = slice(pictures.first[member], pictures.first[member + 1])
            boxes = pictures.boxes[slots].astype(float) * np.tile(ratios, 2)
            if flip:
                boxes = np.stack([size[1] - boxes[:, 2] - 1, boxes[:, 1],
                                  size[1] - boxes[:, 0] - 1, boxes[:, 3]], axis=1)
            count = len(boxes)
            assert np.allclose(batch["boxes"][row, :count], boxes, atol=1e-4)
            assert np.array_equal(batch["classes"][row, :count], pictures.classes[slots])
            masks = unpacked(batch["masks"][row])
            expected = expected_masks(config, pictures.polygons_of(member), ratios, flip, size)
            for found, wanted in zip(masks, expected):
                assert np.array_equal(found[: size[0], : size[1]], wanted)
                assert found.sum() == wanted.sum()
            assert not any(batch[name][row, count:].any()
                           for name in ("boxes", "classes", "masks"))
    assert sorted(seen) == [0, 1, 2, 3]


def test_draws_are_a_pictures_own_in_a_pass(folder):
    """Whatever the batch; another pass draws anew."""
    def keys(config, epoch):
        found = {}
        batches = data.batches(config, "train", epoch)
        for numbers in batches.indices:
            looked_up = data.look_up_train(config, numbers)
            batch = batches.read(looked_up)
            for row, picture in enumerate(looked_up[0]):
                if picture:
                    found[picture.number, picture.draws[1]] = batch["roi_keys"][row].tobytes()
        return found

    two, three = (keys(prepared(folder, batch_size=size, flip=0.5), 1) for size in (2, 3))
    same = two.keys() & three.keys()
    assert len(same) >= 3 and all(two[key] == three[key] for key in same)
    later = keys(prepared(folder), 3)
    assert len({*two.values(), *later.values()}) == len(two) + len(later)
    other = keys(prepared(folder, seed=2), 1)
    assert not {*other.values()} & {*two.values()}


def test_processes_read_parts_of_one_batch(folder):
    config = prepared(folder, batch_size=3)
    batches = data.batches(config, "train", 1)
    for step in range(len(batches)):
        [whole] = list(batches.stream(first=step))[:1]
        for world_size in (2, 3):
            parts = [next(batches.stream(first=step, rank=rank, world_size=world_size))
                     for rank in range(world_size)]
            for name, value in whole.items():
                assert np.array_equal(np.concatenate([part[name] for part in parts]), value)


def test_reading_starts_at_any_batch_in_any_worker(folder):
    batches = data.batches(prepared(folder), "train", 2)
    whole = list(batches.stream())
    rest = list(batches.stream(first=1, workers=1))
    assert len(whole) == 3 and len(rest) == 2
    for expected, batch in zip(whole[1:], rest):
        assert all(np.array_equal(batch[name], expected[name]) for name in expected)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(1, 9), st.integers(1, 4))
def test_the_evaluation_has_every_picture_once(sizes, size, world_size):
    patch, config = imagined(sizes, eval_batch_size=size)
    with patch:
        batches = data.batches(config, "test")
        shares = [dealt(batches.indices, rank, world_size) for rank in range(world_size)]
        numbers = sorted(int(n) for own in shares for part in own for n in part)
        assert numbers == list(range(len(sizes)))
        for part in batches.indices:
            found, (height, width, rows) = data.look_up_test(config, part)
            kept = [one for one in found if one]
            assert len(found) == size and len(kept) == len(part) and rows == 0
            assert len({one.size[0] >= one.size[1] for one in kept}) == 1
            resized = [images.resized_size(*one.size, config) for one in kept]
            assert height >= max(h for h, _ in resized) and width >= max(w for _, w in resized)


def test_an_evaluation_batch(folder):
    config = prepared(folder, eval_batch_size=2)
    first, second = data.batches(config, "test").stream()
    assert first["image_ids"].tolist() == [20, 0] and second["image_ids"].tolist() == [30, 10]
    assert first["original_sizes"].tolist() == [[60, 80], [0, 0]]
    assert second["original_sizes"].tolist() == [[60, 60], [80, 60]]
    assert second["sizes"].tolist() == [[128, 128], [170, 128]]
    assert set(first) == {"images", "sizes", "image_ids", "original_sizes"}
    pixels = np.asarray(Image.open(folder / "val2017" / "000000000010.jpg").resize(
        (128, 170), Image.Resampling.BILINEAR))
    assert np.array_equal(second["images"][1, :170, :128], pixels)
    assert not first["images"][1].any() and not first["sizes"][1].any()


def test_a_picture_of_ones_own(folder, tmp_path):
    """The batch of a picture is its row of the evaluation's."""
    config = prepared(folder)
    whole = next(data.batches(config, "test").stream())
    own = data.own_batch(config, str(folder / "val2017" / "000000000020.jpg"))
    assert own["image_ids"].tolist() == [1] and set(own) == set(whole)
    for name in ("images", "sizes", "original_sizes"):
        assert np.array_equal(own[name], whole[name][:1])
    with pytest.raises(UserError, match="no such file"):
        data.own_batch(config, str(tmp_path / "none.jpg"))


def test_a_picture_of_another_size_than_annotated(folder):
    config = prepared(folder)
    for path in (folder / "val2017").iterdir():
        Image.fromarray(scenes.noise(20, 30)).save(path, "JPEG")
    with pytest.raises(UserError, match="20 x 30 pixels, and the annotations say 60 x 80") as told:
        list(data.batches(config, "test").stream())
    assert "\n" not in str(told.value)


def test_a_damaged_picture(folder):
    config = prepared(folder)
    for path in (folder / "train2017").iterdir():
        path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match=r"train2017/.*jpg: damaged image") as told:
        list(data.batches(config, "train").stream())
    assert "\n" not in str(told.value)


def test_rows_of_ground_truth():
    counts = {1: 16, 16: 16, 17: 32, 33: 128, 128: 128, 129: 256, 300: 384}
    assert {count: data.num_rows(REFERENCE, count) for count in counts} == counts


def test_anchors_of_the_full_size():
    """The sheet's: 201,600, 50,400, 12,600, 3,150 and 819, of 800 x 1344."""
    assert data.num_anchors(REFERENCE, 800, 1344) == 268_569


def test_more_sampled_anchors_than_the_smallest_batch_has_are_refused(folder):
    """32 x 64 pixels: 3 x (8 x 16 + 4 x 8 + 2 x 4 + 1 x 2) anchors; a step takes as many, whatever
    they are."""
    changes = {"short_side": 20, "long_side": 20, "anchors_per_image": 510}
    config = prepared(folder, **changes)
    shapes = [b["anchor_keys"].shape[1] for b in data.batches(config, "train", 1).stream()]
    assert min(shapes) == 510
    with pytest.raises(UserError, match="anchors_per_image=511: expected at most 510, which the"):
        prepared(folder, **changes | {"anchors_per_image": 511})


def test_the_backbone_is_asked_for_before_anything_is_read(tmp_path):
    config = dataclasses.replace(REFERENCE, seed=1, data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"R-50.pkl: no such file.*download_dataset.sh"):
        data.prepare(config)
    with pytest.raises(UserError, match="needs --data_dir"):
        data.prepare(dataclasses.replace(config, data_dir=""))


def test_parity_batches():
    """Full-size networks get small pictures; the classes stay the network's."""
    config = dataclasses.replace(REFERENCE, seed=1, batch_size=2, short_side=96, long_side=160,
                                 proposals=50)
    counted, batches = data.parity_batches(config, 2)
    assert counted.num_classes == 80 and counted.num_train_images == 600 and len(batches) == 2
    assert batches[0]["images"].shape == (2, 128, 96, 3)
    again = data.parity_batches(config, 2)[1]
    for one, other in zip(batches, again):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    quick = data.parity_batches(dataclasses.replace(QUICK, seed=1), 1)[1][0]
    assert quick["images"].shape == (QUICK.batch_size, 128, 128, 3)
    assert (quick["classes"] > 0).any(axis=1).all()
