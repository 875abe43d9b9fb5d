"""The reader of ImageNet's folders: transforms against TensorFlow's rules; every user's fault."""

import dataclasses
import math
import os
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from common.errors import UserError
from image_classification import data
from image_classification.config import QUICK, REFERENCE

sides = st.integers(1, 90)


def resize_bilinear(image, height, width):
    """float64 [height, width, 3]: TensorFlow 1's kernel, pixel by pixel; align_corners=False."""
    image = image.astype(np.float64)
    out = np.empty((height, width, 3))
    for i in range(height):
        y = i * (image.shape[0] / height)
        top = math.floor(y)
        bottom = min(top + 1, image.shape[0] - 1)
        for j in range(width):
            x = j * (image.shape[1] / width)
            left = math.floor(x)
            right = min(left + 1, image.shape[1] - 1)
            above = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            below = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            out[i, j] = above + (below - above) * (y - top)
    return out


def config_of(folder="", **changes):
    return dataclasses.replace(QUICK, data_dir=str(folder), **{"seed": 5} | changes)


def random_image(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path):
    """Saves pixels without loss; returns the path."""

    def save(pixels):
        path = tmp_path / "image.png"
        Image.fromarray(pixels).save(path)
        return str(path)

    return save


@pytest.fixture
def folder(tmp_path):
    """Three classes of two training images and one validation image each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for name in ("n03", "n01", "n02"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(random_image(rng, 40, 30))
                image.save(tmp_path / split / name / f"{name}_{number}.JPEG")
    return tmp_path


def prepared(folder, **changes):
    return data.prepare(config_of(folder, **{"num_classes": 3, "batch_size": 2} | changes))


# Transforms.


def test_resize_by_hand():
    # From 2 to 4 pixels: places 0, 0.5, 1, and 1.5, past the last pixel's centre.
    pixels = np.repeat(np.array([[10, 20]], np.uint8)[..., None], 3, axis=2)
    image = data.resample(pixels, np.arange(1.0), np.arange(4) * 0.5)
    assert image[0, :, 0].tolist() == [10, 15, 20, 20]


@settings(deadline=None, max_examples=25)
@given(sides, sides, st.integers(1, 24), st.integers(0, 99))
def test_resize_is_tensorflows(height, width, size, seed):
    pixels = random_image(np.random.default_rng(seed), height, width)
    steps = np.arange(size)
    ours = data.resample(pixels, steps * (height / size), steps * (width / size))
    theirs = resize_bilinear(pixels, size, size)
    assert np.abs(ours - theirs).max() < 0.5 + 1e-3  # float32 between; then whole levels


def plain(pixels, rows, columns):
    """uint8: the four neighbours of each place in float32, down, then across; the rule in full."""
    pixels = pixels.astype(np.float32)
    top, left = (np.floor(places).astype(int) for places in (rows, columns))
    down, across = ((p - f).astype(np.float32) for p, f in ((rows, top), (columns, left)))
    corners = {}
    for y, row in enumerate((top, top + 1)):
        for x, column in enumerate((left, left + 1)):
            row, column = row.clip(max=len(pixels) - 1), column.clip(max=pixels.shape[1] - 1)
            corners[y, x] = pixels[row[:, None], column]
    sides = [corners[0, x] + down[:, None, None] * (corners[1, x] - corners[0, x]) for x in (0, 1)]
    return (sides[0] + across[:, None] * (sides[1] - sides[0]) + np.float32(0.5)).astype(np.uint8)


@settings(deadline=None, max_examples=100)
@given(sides, sides, st.integers(1, 130), st.integers(1, 40), st.booleans(), st.integers(0, 999))
def test_resize_is_the_plain_form_bit_for_bit(height, width, rows, columns, flipped, seed):
    rng = np.random.default_rng(seed)
    whole = random_image(rng, height + 7, width + 5)
    pixels = whole[3 : 3 + height, 2 : 2 + width]  # a crop is a view into its picture
    rows = np.sort(rng.uniform(0, height, rows))
    columns = np.sort(rng.uniform(0, width, columns))
    ours = data.resample(pixels, rows, columns, flipped)
    mirrored = pixels[:, ::-1] if flipped else pixels
    assert np.array_equal(ours, plain(mirrored, rows, columns))


def test_training_image_is_cropped_then_flipped_then_resized(saved):
    rng = np.random.default_rng(3)
    config = config_of(image_size=20, crop_area=(0.05, 1.0))
    pixels = random_image(rng, 50, 70)
    path = saved(pixels)
    flips = 0
    for number in range(12):
        draws = np.random.default_rng([config.seed, 2, number])
        left, top, width, height = data.random_crop(70, 50, config, draws)
        crop = pixels[top : top + height, left : left + width]
        if draws.random() < 0.5:
            crop = crop[:, ::-1]
            flips += 1
        ours = data.train_image(config, path, 2, number)
        assert ours.dtype == np.uint8
        assert np.abs(ours - resize_bilinear(crop, 20, 20)).max() < 0.501
    assert 0 < flips < 12


@settings(deadline=None, max_examples=15)
@given(st.integers(8, 60), st.integers(8, 60))
def test_evaluation_image_is_resized_then_cropped(height, width):
    pixels = random_image(np.random.default_rng([height, width]), height, width)
    config = config_of(image_size=14, resize_size=16)
    scale = 16 / min(height, width)
    whole = resize_bilinear(
        pixels, int(height * scale + 1e-9), int(width * scale + 1e-9)
    )
    top, left = (whole.shape[0] - 14) // 2, (whole.shape[1] - 14) // 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "decode", lambda path: pixels)
        ours = data.eval_image(config, "any")
    assert np.abs(ours - whole[top : top + 14, left : left + 14]).max() < 0.501


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (80, 64)])
def test_crops_have_the_areas_and_shapes_of_the_rule(size):
    width, height = size
    rng = np.random.default_rng(1)
    crops = np.array([data.random_crop(width, height, REFERENCE, rng) for _ in range(4000)])
    left, top, w, h = crops.T
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + w <= width).all() and (top + h <= height).all()
    whole = (w == width) & (h == height)
    share = w * h / (width * height)
    # min_object_covered 0.1 of the whole image overrules the smallest area, 0.05.
    assert share.min() >= 0.1 and share.max() <= 1.0
    assert share.min() < 0.13 and share[~whole].max() > 0.75
    # Half a pixel of rounding at the smallest height.
    aspect = w[~whole] / h[~whole]
    slack = 1 / h[~whole].min()
    assert 0.75 - slack < aspect.min() < 0.78 and 1.28 < aspect.max() < 1.33 + slack
    # The height is uniform in its range: area's square root is near uniform, not the area.
    assert np.sqrt(share).mean() == pytest.approx(0.6, abs=0.07)


def test_a_crop_that_never_fits_is_the_whole_image():
    # A strip: no aspect within 0.75..1.33 reaches a tenth of its area.
    crop = data.random_crop(1000, 10, REFERENCE, np.random.default_rng(0))
    assert crop == (0, 0, 1000, 10)


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 99))
def test_crops_lie_within_images_of_any_size(width, height, seed):
    left, top, w, h = data.random_crop(width, height, REFERENCE, np.random.default_rng(seed))
    assert w > 0 and h > 0 and left >= 0 and top >= 0
    assert left + w <= width and top + h <= height


def test_reference_sizes(saved):
    path = saved(random_image(np.random.default_rng(0), 375, 500))
    config = dataclasses.replace(REFERENCE, seed=1)
    assert data.train_image(config, path, 1, 0).shape == (224, 224, 3)
    assert data.eval_image(config, path).shape == (224, 224, 3)


# Files.


def test_labels_are_ranks_of_the_folders_names(folder):
    paths, labels = data.list_images(str(folder), "train", 3)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [os.path.basename(path) for path in paths[:3]] == [
        "n01_0.JPEG", "n01_1.JPEG", "n02_0.JPEG",
    ]


def test_batches_hold_images_and_labels(folder):
    config = prepared(folder, eval_batch_size=2)
    assert (config.num_train_images, config.num_eval_images) == (6, 3)
    batches = list(data.batches(config, "train", 1).stream())
    assert [batch["images"].shape for batch in batches] == [(2, 64, 64, 3)] * 3
    assert sorted(np.concatenate([b["labels"] for b in batches])) == [0, 0, 1, 1, 2, 2]
    assert batches[0]["images"].dtype == np.uint8 and batches[0]["labels"].dtype == np.int64
    assert [len(b["labels"]) for b in data.batches(config, "test").stream()] == [2, 1]


def test_an_empty_part_has_the_shape_of_a_batch(folder):
    config = prepared(folder, eval_batch_size=2)
    last = list(data.batches(config, "test").stream(rank=1, world_size=2))[-1]
    assert last["images"].shape == (0, 64, 64, 3) and last["labels"].shape == (0,)


def test_images_depend_on_seed_epoch_and_example_alone(folder):
    config = prepared(folder)

    def first(config, epoch, **how):
        return next(data.batches(config, "train", epoch).stream(**how))["images"]

    expected = first(config, 1)
    for changed in (first(prepared(folder, seed=6), 1), first(config, 2)):
        assert not np.array_equal(changed, expected)
    assert np.array_equal(first(config, 1, workers=1), expected)
    halves = [first(config, 1, rank=rank, world_size=2) for rank in (0, 1)]
    assert np.array_equal(np.concatenate(halves), expected)


def pillows(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(20, 98), st.booleans(),
       st.sampled_from([{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2},
                        {"keep_rgb": True}, {"mode": "L"}, {"mode": "CMYK"}]),
       st.integers(0, 99))
def test_pixels_are_pillows(height, width, quality, progressive, kind, seed):
    coarse = Image.fromarray(random_image(np.random.default_rng(seed), 6, 7))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    kind = dict(kind)
    image = image.convert(kind.pop("mode", "RGB"))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image.JPEG")
        image.save(path, "JPEG", quality=quality, progressive=progressive, **kind)
        assert np.array_equal(data.decode(path), pillows(path))
        with open(path, "rb") as opened:
            fast = data._decode_jpeg(opened.read())
    assert (fast is None) == (image.mode == "CMYK")


def test_what_simplejpeg_finds_fault_with_is_pillows(tmp_path):
    """Lost bytes in the picture itself: libjpeg warns and goes on, and so does Pillow."""
    path = tmp_path / "image.JPEG"
    Image.fromarray(random_image(np.random.default_rng(0), 40, 30)).save(path, "JPEG")
    content = path.read_bytes()
    path.write_bytes(content[:-40] + content[-2:])
    assert data._decode_jpeg(path.read_bytes()) is None
    assert np.array_equal(data.decode(str(path)), pillows(path))


def test_a_picture_too_large_for_pillow_is_refused(folder, monkeypatch):
    monkeypatch.setattr(data, "MAX_PIXELS", 40 * 30 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    fails("n02_1.JPEG: damaged image", data.decode, str(folder / "train" / "n02" / "n02_1.JPEG"))


def test_no_pipe_is_read_as_a_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.JPEG")
    fails("pipe.JPEG: damaged image .*no regular file", data.decode, str(tmp_path / "pipe.JPEG"))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_every_kind_of_file_becomes_rgb(tmp_path, mode):
    path = tmp_path / "odd.JPEG"
    image = Image.new("RGB", (20, 10), (204, 204, 204)).convert(mode)
    image.save(path, "JPEG" if mode in ("L", "CMYK") else "PNG")
    pixels = data.decode(str(path))
    assert pixels.shape == (10, 20, 3)
    assert np.abs(pixels.astype(int) - 204).max() <= 2


def fails(match, call, *arguments, **more):
    with pytest.raises(UserError, match=match) as caught:
        call(*arguments, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["EPS", "GIF", "TIFF", "PPM", "BMP"])
def test_no_other_decoder_is_asked(folder, kind):
    """Pillow would hand an EPS to Ghostscript, which runs the program in it."""
    path = folder / "train" / "n02" / "n02_1.JPEG"
    Image.new("RGB", (9, 9)).save(path, kind)
    fails("n02_1.JPEG: damaged image", data.decode, str(path))


@pytest.mark.parametrize("keep", [0, 10, 0.5, -2])
def test_a_damaged_file_is_named(folder, keep):
    path = folder / "train" / "n02" / "n02_1.JPEG"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if 0 < keep < 1 else keep])
    fails("n02_1.JPEG: damaged image", data.decode, str(path))


def test_a_missing_file_is_named(folder):
    fails("n09.JPEG: gone", data.decode, str(folder / "n09.JPEG"))


def test_faults_of_the_folder(folder, tmp_path):
    fails("nowhere.train: no such folder. Expected train/", prepared, tmp_path / "nowhere")
    fails("expected 10 class folders, found 3", prepared, folder, num_classes=10)
    fails("train: expected 7 for train images, found 6", prepared, folder, num_train_images=7)
    fails("val: expected 50 for eval images, found 3", prepared, folder, num_eval_images=50)
    reference = dataclasses.replace(REFERENCE, seed=1)
    fails("reference profile needs --data_dir", data.prepare, reference)


def test_flat_validation_folder(folder):
    """As the archive unpacks: images beside each other, no class folders."""
    for name in ("n01", "n02", "n03"):
        path = folder / "val" / name
        (path / f"{name}_0.JPEG").rename(folder / "val" / f"{name}_0.JPEG")
        path.rmdir()
    fails("val: images lie beside each other", prepared, folder)


def test_classes_that_differ(folder):
    (folder / "val" / "n02").rename(folder / "val" / "n04")
    fails("class folder n02 is in one of train/ and val/ only", prepared, folder)


def test_an_empty_class(folder):
    for path in (folder / "train" / "n02").iterdir():
        path.unlink()
    fails("train/n02: no .*JPEG in this class folder", prepared, folder)


def test_other_files_are_passed_over(folder):
    (folder / "train" / "n02" / "._n02_7.txt").write_text("no image")
    (folder / "train" / "LICENSE").write_text("no class")
    assert prepared(folder).num_train_images == 6


def test_real_photographs(real_images):
    """CIFAR-10's photographs in ImageNet's layout: as many as their README says."""
    config = data.prepare(config_of(real_images, batch_size=256))
    assert (config.num_train_images, config.num_eval_images) == (5000, 1000)
    labels = []
    for batch in data.batches(config, "train", 1).stream():
        assert batch["images"].shape == (256, 64, 64, 3)
        assert batch["images"].std(axis=(1, 2, 3)).min() > 0
        labels.append(batch["labels"])
    # 20 batches of 256 are 5,120 examples: an epoch, and 120 of the next.
    assert np.bincount(np.concatenate(labels)[:5000]).tolist() == [500] * 10
    test = np.concatenate([b["labels"] for b in data.batches(config, "test").stream()])
    assert np.bincount(test).tolist() == [100] * 10
