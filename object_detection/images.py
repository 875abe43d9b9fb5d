"""Pictures as uint8: decoded, resized by the reference's rule, with a bound on what is decoded."""

import numpy as np
import simplejpeg
from PIL import Image

from common.errors import UserError
from common.files import open_regular
from object_detection.coco import MAX_PIXELS

MAX_BYTES = 1 << 26      # of a file; COCO's largest has half a million
# Of Pillow's modes those of eight bits a channel or less: it cuts others off at 255.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def read_image(path):
    """uint8 [H, W, 3]: the picture in RGB.  Raises UserError that names a damaged file.

    simplejpeg gives Pillow's very pixels of RGB and grey JPEGs, in less time; all others, and what
    it finds fault with, are Pillow's.  No other decoder of Pillow's is asked: some run programs on
    what they are given.
    """
    try:
        with open_regular(path) as opened:
            pixels = decode_jpeg(opened.read(MAX_BYTES))
            if pixels is not None:
                return pixels
            opened.seek(0)
            with Image.open(opened, formats=("JPEG", "PNG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width:,} x {image.height:,} pixels")
                if image.mode not in MODES:
                    raise ValueError(f"of Pillow's mode {image.mode}, expected 8 bits a channel")
                return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: damaged image ({error}). Fetch it again or remove it.") from None


def decode_jpeg(content):
    """uint8 [H, W, 3]; None for what is better left to Pillow."""
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if colors not in ("YCbCr", "RGB", "Gray") or height * width > MAX_PIXELS:
            return None
        return simplejpeg.decode_jpeg(content, "RGB")
    except ValueError:
        return None


def resized_size(height, width, config):
    """(height, width) of a picture as the network sees it.  T05 transforms.py.

    The short side becomes config.short_side; where the long one would pass config.long_side, the
    short one becomes what keeps to it, rounded half to even.  The other side is cut off.
    """
    short, long = min(height, width), max(height, width)
    side = config.short_side
    if long / short * side > config.long_side:
        side = max(1, round(config.long_side * short / long))
    if short == side:
        return height, width
    if width < height:
        return int(side * height / width), side
    return side, int(side * width / height)


def resize(pixels, size):
    """uint8 [*size, 3]: Pillow's bilinear, with its antialiasing, as the reference has it."""
    if pixels.shape[:2] == tuple(size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))
