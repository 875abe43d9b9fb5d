"""The pretrained ResNet-50 of Detectron, R-50.pkl, read without running what a pickle says.

MSRA's ImageNet weights for pictures in B, G, R; batch norm is folded into a scale and a shift.
T05 c2_model_loading.py.
"""

import io
import os
import pickle
import pickletools

import numpy as np

from common.errors import UserError, printable
from common.files import open_regular

MAX_BYTES = 1 << 28      # of the file; the published one has some 102 million
MAX_READS = 1 << 20      # of it by the unpickler; the published one takes some 100,000
BLOCKS = (3, 4, 6, 3)    # of res2 to res5
WIDTHS = (64, 128, 256, 512)


def require(config):
    """Raises UserError where the config's file is not there."""
    if config.backbone and not os.path.isfile(path(config)):
        raise UserError(
            f"{path(config)}: no such file. The network starts from its weights: "
            f"object_detection/download_dataset.sh {config.data_dir} fetches it."
        )


def path(config):
    """Path of the config's file."""
    return os.path.join(config.data_dir, config.backbone)


def table():
    """{name in the file: (our name, shape)} of the 159 arrays that the detector uses.

    Not used are 53 biases of convolutions, zeros or made up for by the shifts, and the classifier.
    """
    found = {}

    def add(convolution, norm, ours, shape):
        found[f"{convolution}_w"] = f"{ours}.weight", shape
        found[f"{norm}_s"] = f"{ours}.scale", shape[:1]
        found[f"{norm}_b"] = f"{ours}.shift", shape[:1]

    add("conv1", "res_conv1_bn", "stem", (64, 3, 7, 7))
    inputs, number = 64, 0
    for stage, (blocks, width) in enumerate(zip(BLOCKS, WIDTHS), 2):
        for block in range(blocks):
            theirs, ours = f"res{stage}_{block}_branch", f"blocks.{number}"
            convolutions = {
                "2a": ("convolution1", (width, inputs, 1, 1)),
                "2b": ("convolution2", (width, width, 3, 3)),
                "2c": ("convolution3", (4 * width, width, 1, 1)),
            }
            if block == 0:
                convolutions["1"] = "shortcut", (4 * width, inputs, 1, 1)
            for branch, (name, shape) in convolutions.items():
                add(f"{theirs}{branch}", f"{theirs}{branch}_bn", f"{ours}.{name}", shape)
            inputs, number = 4 * width, number + 1
    return found


def load(path):
    """{our name: float32 array}, convolutions [out, in, height, width].  Raises UserError."""
    try:
        with open_regular(path) as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        stored = Unpickler(Counted(content), encoding="latin1").load()
        if isinstance(stored, dict) and isinstance(stored.get("blobs"), dict):
            stored = stored["blobs"]
        if not isinstance(stored, dict):
            raise ValueError("no dictionary of arrays")
        return {ours: array(stored, name, shape) for name, (ours, shape) in table().items()}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. object_detection/download_dataset.sh fetches it."
                        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception as error:  # a pickle that nobody vouches for fails in any way
        reason = printable(str(error) or type(error).__name__)[:200]
        raise UserError(f"{path}: no R-50.pkl of Detectron's ({reason}). Remove it; "
                        "object_detection/download_dataset.sh fetches it again.") from None


def array(stored, name, shape):
    """float32 of this shape.  Raises ValueError."""
    found = stored.get(name)
    if isinstance(found, Stored) and found.fault:
        raise ValueError(f"{name}: {found.fault}")
    if not isinstance(found, Stored) or found.shape != shape:
        what = f"of shape {found.shape}" if isinstance(found, Stored) else "none"
        raise ValueError(f"{name}: expected an array of shape {shape}, found {what}")
    values = np.frombuffer(found.content, "<f4").astype(np.float32).reshape(shape)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: not all of its values are numbers")
    return values


# What stands in the file for numpy's functions: nothing of numpy is called on what is in it.


class Global:
    """A function that a pickle names, and can do nothing to but call."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def __setstate__(self, state):
        raise ValueError("a state for what has none")


class Kind:
    """A dtype: float32, little-endian, or one that we do not take."""

    __slots__ = ("fits",)

    def __init__(self, name="", *_):
        self.fits = name == "f4"

    def __setstate__(self, state):
        self.fits = self.fits and state[1] == "<"


class Stored:
    """An array: its shape and its bytes; or its fault, for there may be others that nobody uses."""

    __slots__ = ("content", "fault", "shape")

    def __init__(self, *_):
        self.shape, self.content, self.fault = None, b"", "an array without its bytes"

    def __setstate__(self, state):
        _, shape, kind, by_columns, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        self.shape, self.content, self.fault = shape, content, None
        if not isinstance(kind, Kind) or not kind.fits:
            self.fault = "an array that is not of little-endian float32"
        elif by_columns or not self.is_whole():
            self.fault = "an array whose bytes are not those of its shape"

    def is_whole(self):
        """Whether the bytes are those of the shape."""
        sides, content = self.shape, self.content
        return (isinstance(content, bytes) and isinstance(sides, tuple) and len(sides) <= 4
                and all(type(n) is int and 0 < n <= MAX_BYTES for n in sides)
                and 4 * int(np.prod(sides, dtype=object)) == len(content))


KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): Global(Stored),
    ("numpy._core.multiarray", "_reconstruct"): Global(Stored),
    ("numpy", "dtype"): Global(Kind),
    ("numpy", "ndarray"): Global(None),
}


# Of each operation's code, what Python does with it, as far as protocol 2 has it.
OPERATIONS = {ord(operation.code): pickle._Unpickler.dispatch[ord(operation.code)]
              for operation in pickletools.opcodes if operation.proto <= 2}  # fmt: skip


class Counted(io.BytesIO):
    """A file that is read so many times: each byte of it may be a container, of 64 in memory."""

    reads = 0

    def read(self, *size):
        self.reads += 1
        if self.reads > MAX_READS:
            raise ValueError("more values than it has arrays for")
        return super().read(*size)


class Unpickler(pickle._Unpickler):
    """Numbers, text, plain containers, and arrays as Stored, as protocol 2 writes them.

    Python's own and not C's: that one makes room for as many values as a file says it has.  So does
    a later protocol's bytearray; and its frames are read around Counted.
    """

    dispatch = OPERATIONS

    def load(self):
        try:
            return super().load()
        except KeyError as error:
            raise pickle.UnpicklingError(f"operation {error} is not protocol 2's") from None

    def find_class(self, module, name):
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return KNOWN[module, name]

    def get_extension(self, code):
        raise pickle.UnpicklingError("it asks for an extension")
