"""Pictures: the resizing rule by hand, Pillow's pixels, and damaged files in one line."""

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from common.errors import UserError
from object_detection import images
from object_detection.config import REFERENCE
from tests.object_detection import scenes

# COCO's commonest sizes, by the rule: T05 transforms.py, Resize.get_size.
SIZES = {
    (480, 640): (800, 1066),     # 1066.67 is cut off
    (427, 640): (800, 1199),
    (640, 427): (1199, 800),
    (640, 640): (800, 800),
    (800, 900): (800, 900),      # as it is
    (360, 640): (750, 1333),     # 1422 would be too long: 1333 x 360 / 640 = 749.8
    (200, 640): (417, 1334),     # 416.56 is rounded, so that the long side passes 1333
    (640, 51): (1330, 106),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes_by_hand(size):
    assert images.resized_size(*size, REFERENCE) == SIZES[size]


def get_size(h, w, min_size, max_size):
    """T05 transforms.py, Resize.get_size, its text but for the random choice of one size."""
    size = min_size
    min_original_size = float(min((w, h)))
    max_original_size = float(max((w, h)))
    if max_original_size / min_original_size * size > max_size:
        size = round(max_size * min_original_size / max_original_size)
    if (w <= h and w == size) or (h <= w and h == size):
        return (h, w)
    if w < h:
        ow = size
        oh = int(size * h / w)
    else:
        oh = size
        ow = int(size * w / h)
    return (oh, ow)


@settings(max_examples=300)
@given(st.integers(20, 3000), st.integers(20, 3000), st.integers(30, 900), st.integers(0, 800))
def test_sizes_are_the_references(height, width, short, more):
    config = dataclasses.replace(REFERENCE, short_side=short, long_side=short + more)
    found = images.resized_size(height, width, config)
    expected = get_size(height, width, short, short + more)
    assert found == expected or min(expected) == 0


def test_resizing_is_pillows():
    pixels = scenes.noise(60, 80)
    theirs = Image.fromarray(pixels).resize((53, 40), Image.Resampling.BILINEAR)
    assert np.array_equal(images.resize(pixels, (40, 53)), np.asarray(theirs))
    assert images.resize(pixels, (60, 80)) is pixels


def jpeg(pixels, kind="JPEG"):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, kind)
    return made.getvalue()


@pytest.mark.parametrize("kind", ["rgb", "grey", "cmyk", "progressive", "png"])
def test_all_kinds_of_pictures_are_pillows(kind, tmp_path):
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(scenes.noise(33, 47))
    if kind in ("grey", "cmyk"):
        picture = picture.convert({"grey": "L", "cmyk": "CMYK"}[kind])
    picture.save(path, "PNG" if kind == "png" else "JPEG",
                 **({"progressive": True} if kind == "progressive" else {}))
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    found = images.read_image(str(path))
    assert found.dtype == np.uint8 and np.array_equal(found, expected)


def bomb():
    """A JPEG whose header says 65,500 x 65,500 pixels."""
    content = bytearray(jpeg(scenes.noise(16, 16)))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = (65_500).to_bytes(2, "big") * 2
    return bytes(content)


def png(values):
    made = io.BytesIO()
    Image.fromarray(values).save(made, "PNG")
    return made.getvalue()


DAMAGED = {
    "sixteen bits": png(np.full((9, 9), 40_000, np.uint16)),  # Pillow would make it white
    "empty": b"",
    "text": b"no picture at all\n",
    "cut": jpeg(scenes.noise(60, 80))[:900],
    "header alone": jpeg(scenes.noise(60, 80))[:30],
    "bomb": bomb(),
    "gif": jpeg(scenes.noise(16, 16), "GIF"),    # whole, but of a decoder that is not asked
    "bmp": jpeg(scenes.noise(16, 16), "BMP"),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_pictures_end_in_one_line(name, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(UserError, match=r"a.jpg: damaged image") as caught:
        images.read_image(str(path))
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        images.read_image(str(tmp_path / "none.jpg"))
    with pytest.raises(UserError, match="damaged image"):
        images.read_image(str(tmp_path))
