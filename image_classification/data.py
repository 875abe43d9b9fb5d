"""ImageNet's folders as batches: files, labels, MLPerf's transforms, numpy out.

    DATA_DIR/train/<wnid>/*.JPEG and DATA_DIR/val/<wnid>/*.JPEG

A label is the rank of its folder's name among the sorted names.  Images leave as uint8 [H, W, 3] in
RGB; the device subtracts the mean colour.
"""

import functools
import math
import os

import numpy as np
import simplejpeg
from PIL import Image

from common.data.batches import Batches, examples_at, in_order, mixed_epochs
from common.data.dataset import with_counts, with_folder
from common.errors import UserError
from common.files import open_regular
from image_classification import quick_data

FOLDERS = {"train": "train", "test": "val"}


def prepare(config):
    """The config with its data found, checked and counted.  Raises UserError.

    Without --data_dir, the quick profile writes the embedded data to the cache folder.
    """
    config = with_folder(config, "image_classification", "ImageNet", quick_data.ensure)
    for split, field in (("train", "num_train_images"), ("test", "num_eval_images")):
        paths, _ = list_images(config.data_dir, split, config.num_classes)
        folder = os.path.join(config.data_dir, FOLDERS[split])
        config = with_counts(config, folder, {field: len(paths)})
    return config


@functools.lru_cache(maxsize=4)
def list_images(data_dir, split, num_classes):
    """(paths, labels) of a split: a list of str, and int64 [N].  Raises UserError."""
    folder = os.path.join(data_dir, FOLDERS[split])
    names = {s: _class_names(data_dir, s) for s in FOLDERS}
    if names["train"] != names["test"]:
        odd = sorted(set(names["train"]) ^ set(names["test"]))[0]
        raise UserError(f"{data_dir}: the class folder {odd} is in one of train/ and val/ only.")
    if len(names[split]) != num_classes:
        raise UserError(
            f"{folder}: expected {num_classes} class folders, found {len(names[split])}. "
            f"For a dataset of your own say --set num_classes={len(names[split])}."
        )
    paths, labels = [], []
    for label, name in enumerate(names[split]):
        with os.scandir(os.path.join(folder, name)) as entries:
            files = sorted(entry.path for entry in entries if _is_image(entry))
        if not files:
            raise UserError(f"{os.path.join(folder, name)}: no *.JPEG in this class folder. "
                "Fetch the dataset again or remove the folder.")
        paths += files
        labels += [label] * len(files)
    return paths, np.array(labels, np.int64)


def _class_names(data_dir, split):
    folder = os.path.join(data_dir, FOLDERS[split])
    layout = "Expected train/<class>/*.JPEG and val/<class>/*.JPEG"
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder. {layout} in --data_dir={data_dir}.")
    with os.scandir(folder) as entries:
        entries = list(entries)
    names = sorted(entry.name for entry in entries if entry.is_dir())
    if not names and any(_is_image(entry) for entry in entries):
        raise UserError(
            f"{folder}: images lie beside each other, not in class folders. {layout}; "
            "sort them by class."
        )
    return names


def _is_image(entry):
    return entry.name.lower().endswith((".jpeg", ".jpg"))


def batches(config, split, epoch=1):
    """The Batches of an epoch of "train", counted from 1, or of "test".

    A batch: images uint8 [B, size, size, 3], labels int64 [B].
    """
    if split == "train":
        indices = mixed_epochs(config.num_train_images, config.batch_size, epoch)
        following = functools.partial(batches, config, split, epoch + 1)
    else:
        indices, following = in_order(config.num_eval_images, config.eval_batch_size), None
    return Batches(
        indices,
        functools.partial(read, config, split),
        functools.partial(look_up, config, split),
        following,
    )


def look_up(config, split, numbers):
    """(paths, labels, epochs, examples) of one batch; in the test all epochs are 0.

    numbers: positions in the training stream, or example numbers of the test.
    """
    paths, labels = list_images(config.data_dir, split, config.num_classes)
    epochs = np.zeros_like(numbers)
    if split == "train":
        epochs, numbers = examples_at(numbers, config.num_train_images, config.seed)
    return [paths[number] for number in numbers], labels[numbers], epochs, numbers


def read(config, split, found):
    """One batch.  found: by look_up."""
    paths, labels, epochs, examples = found
    images = np.empty((len(paths), config.image_size, config.image_size, 3), np.uint8)
    for row, (path, epoch, example) in enumerate(zip(paths, epochs, examples)):
        if split == "train":
            images[row] = train_image(config, path, epoch, example)
        else:
            images[row] = eval_image(config, path)
    return {"images": images, "labels": labels}


def decode(path):
    """uint8 [H, W, 3]: the picture in RGB.  Raises UserError that names a damaged file.

    ImageNet holds a PNG and 22 CMYK files with JPEG names: all become RGB.  simplejpeg gives
    Pillow's very pixels of RGB and grey JPEGs, in less time; all others, and what it finds fault
    with, are Pillow's.  No other decoder of Pillow's is asked: some run programs on what they are
    given.
    """
    try:
        with open_regular(path) as opened:
            pixels = _decode_jpeg(opened.read(MAX_JPEG))
            if pixels is not None:
                return pixels
            opened.seek(0)
            with Image.open(opened, formats=("JPEG", "PNG")) as image:
                return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path}: gone since the start. Put it back, or start again.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: damaged image ({error}). Fetch it again or remove it.") from None


MAX_JPEG = 1 << 26     # bytes of a file that simplejpeg is given
MAX_PIXELS = 1 << 26   # of its picture; Pillow warns of more than 89 million, and refuses 179


def _decode_jpeg(content):
    """uint8 [H, W, 3]; None for what is better left to Pillow."""
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if colors not in ("YCbCr", "RGB", "Gray") or height * width > MAX_PIXELS:
            return None
        return simplejpeg.decode_jpeg(content, "RGB")
    except ValueError:
        return None


def train_image(config, path, epoch, number):
    """uint8 [size, size, 3]: a random crop, flipped half of the time, resized."""
    rng = np.random.default_rng([config.seed, int(epoch), int(number)])
    pixels = decode(path)
    left, top, width, height = random_crop(pixels.shape[1], pixels.shape[0], config, rng)
    pixels = pixels[top : top + height, left : left + width]
    flipped = rng.random() < 0.5
    steps = np.arange(config.image_size)
    return resample(
        pixels, steps * (height / len(steps)), steps * (width / len(steps)), flipped
    )


def eval_image(config, path):
    """uint8 [size, size, 3]: the centre crop after the short side became resize_size."""
    pixels = decode(path)
    height, width = pixels.shape[:2]
    short = min(height, width)
    resized_height = height * config.resize_size // short
    resized_width = width * config.resize_size // short
    steps = np.arange(config.image_size)
    rows = steps + (resized_height - config.image_size) // 2
    columns = steps + (resized_width - config.image_size) // 2
    return resample(pixels, rows * (height / resized_height), columns * (width / resized_width))


def resample(pixels, rows, columns, flipped=False):
    """uint8 [len(rows), len(columns), 3]: pixels at fractional places, bilinear, no antialiasing.

    pixels: uint8 [H, W, 3], mirrored left to right first if flipped.  rows, columns: float, 0 being
    the first pixel's centre, as on the grid of TensorFlow 1's resize_bilinear with
    align_corners=False; the last pixel goes on past the end.
    Rounded to whole levels, where TF keeps fractions.  Pillow's own affine transform cuts them off.
    """
    height, width = pixels.shape[:2]
    top, bottom, down = _neighbours(rows, height)
    left, right, across = _neighbours(columns, width)
    if flipped:  # the places alone: pixels in reverse are slow to read
        left, right = width - 1 - left, width - 1 - right
    # Flat: taking single numbers is faster than taking threes.
    left, right = (((places * 3)[:, None] + np.arange(3)).ravel() for places in (left, right))
    across = np.repeat(across, 3)
    resized = np.empty((len(rows), 3 * len(columns)), np.uint8)
    # Each step in place, and of so few rows that a core's cache holds them.
    for first in range(0, len(rows), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        image = pixels[top[block]].reshape(-1, 3 * width).astype(np.float32)
        other = pixels[bottom[block]].reshape(-1, 3 * width).astype(np.float32)
        other -= image
        other *= down[block, None]
        image += other
        other = image.take(right, axis=1, mode="clip")
        image = image.take(left, axis=1, mode="clip")
        other -= image
        other *= across
        image += other
        image += 0.5
        resized[block] = image
    return resized.reshape(len(rows), len(columns), 3)


BLOCK_ROWS = 56


def _neighbours(places, size):
    """(pixel before, pixel after, share of the one after) of each place among `size` pixels."""
    before = np.floor(places).astype(np.intp)
    share = (places - before).astype(np.float32)
    return np.minimum(before, size - 1), np.minimum(before + 1, size - 1), share


def random_crop(image_width, image_height, config, rng):
    """(left, top, width, height) as TensorFlow's sample_distorted_bounding_box draws it.

    The object is the whole image.  The aspect ratio is uniform, then the height among those whose
    area is allowed.  The whole image where no attempt fits.
    """
    image_area = image_width * image_height
    smallest, largest = (share * image_area for share in config.crop_area)
    covered = config.min_object_covered * image_area
    for _ in range(config.crop_attempts):
        aspect = rng.uniform(*config.crop_aspect)
        low = round(math.sqrt(smallest / aspect))
        high = round(math.sqrt(largest / aspect))
        if round(high * aspect) > image_width:
            high = int((image_width + 0.5 - 1e-7) / aspect)
        high = min(high, image_height)
        height = int(rng.integers(min(low, high), high + 1))
        # Rounding may have left the allowed areas: one row more or less may be within.
        if height * round(height * aspect) < smallest:
            height += 1
        if height * round(height * aspect) > largest:
            height -= 1
        width = round(height * aspect)
        area = height * width
        if not (0 < width <= image_width and 0 < height <= image_height):
            continue
        if not (max(smallest, covered) <= area <= largest):
            continue
        # TF never draws the last place: its upper bound is exclusive.
        left = int(rng.integers(max(image_width - width, 1)))
        top = int(rng.integers(max(image_height - height, 1)))
        return left, top, width, height
    return 0, 0, image_width, image_height
