"""R-50.pkl: a file of its form is read, and a hostile one ends in one line without being run."""

import dataclasses
import io
import os
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import pytest

from common.errors import UserError
from object_detection import backbone
from object_detection.config import REFERENCE


class Writer:
    """Python 2's pickle, protocol 2, of a dictionary of float32 arrays: opcode by opcode."""

    def __init__(self):
        self.out = io.BytesIO()
        self.out.write(b"\x80\x02")

    def text(self, value):
        data = value if isinstance(value, bytes) else value.encode()
        if len(data) < 256:
            self.out.write(b"U" + bytes([len(data)]) + data)         # SHORT_BINSTRING
        else:
            self.out.write(b"T" + struct.pack("<i", len(data)) + data)  # BINSTRING

    def whole(self, value):
        self.out.write(b"J" + struct.pack("<i", value))              # BININT

    def array(self, values, descr="f4", order="<", order_of_axes=b"\x89"):
        out = self.out
        out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n")
        out.write(b"K\x00\x85")                                      # (0,)
        self.text("b")
        out.write(b"\x87R(K\x01(")                                   # call; state (1, shape ...
        for side in values.shape:
            self.whole(side)
        out.write(b"tcnumpy\ndtype\n")
        self.text(descr)
        out.write(b"K\x00K\x01\x87R(K\x03")
        self.text(order)
        out.write(b"NNN")
        self.whole(-1)
        self.whole(-1)
        out.write(b"K\x00tb" + order_of_axes)                         # dtype's state; not Fortran's
        self.text(values.tobytes())
        out.write(b"tb")

    def dictionary(self, entries):
        self.out.write(b"}(")
        for name, values in entries.items():
            self.text(name)
            if isinstance(values, dict):
                self.dictionary(values)
            else:
                self.array(values)
        self.out.write(b"u")

    def content(self):
        return self.out.getvalue() + b"."


def arrays(seed=0):
    """{name: array} of the published file: 214 entries."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, (_, shape) in backbone.table().items():
        found[name] = rng.standard_normal(shape, np.float32)
        if name.endswith("_w"):
            found[f"{name[:-2]}_b"] = np.zeros(shape[0], np.float32)
    found["fc1000_w"] = np.zeros((1000, 2), np.float32)
    found["fc1000_b"] = np.zeros(1000, np.float32)
    return found


@pytest.fixture(autouse=True)
def narrow(monkeypatch, request):
    """Layers of few channels, so that the files are short."""
    if "full" not in request.fixturenames:
        monkeypatch.setattr(backbone, "WIDTHS", (4, 8, 16, 32))


@pytest.fixture
def full():
    """What a test of the published widths asks for."""


@pytest.fixture
def whole(narrow):
    """(the arrays, the file's bytes)."""
    made, writer = arrays(), Writer()
    writer.dictionary(made)
    return made, writer.content()


def load(tmp_path, content):
    path = tmp_path / "R-50.pkl"
    path.write_bytes(content)
    return backbone.load(str(path))


def refused(tmp_path, content, match=r"no R-50.pkl of Detectron's"):
    with pytest.raises(UserError, match=match) as told:
        load(tmp_path, content)
    assert "\n" not in str(told.value) and "download_dataset.sh" in str(told.value)


def test_the_files_form_is_pickles(whole):
    """The hand-made stream is what numpy itself reads."""
    made, content = whole
    theirs = pickle.loads(content, encoding="latin1")
    assert len(theirs) == 214
    assert all(np.array_equal(theirs[name], values) for name, values in made.items())


def test_it_is_read_by_the_table(full, whole, tmp_path):
    made, content = whole
    found = load(tmp_path, content)
    assert len(found) == 159 and all(values.dtype == np.float32 for values in found.values())
    pairs = {
        "stem.weight": "conv1_w", "stem.scale": "res_conv1_bn_s", "stem.shift": "res_conv1_bn_b",
        "blocks.0.convolution1.weight": "res2_0_branch2a_w",
        "blocks.0.shortcut.shift": "res2_0_branch1_bn_b",
        "blocks.2.convolution2.scale": "res2_2_branch2b_bn_s",
        "blocks.3.convolution3.weight": "res3_0_branch2c_w",
        "blocks.12.convolution3.weight": "res4_5_branch2c_w",
        "blocks.13.shortcut.weight": "res5_0_branch1_w",
        "blocks.15.convolution3.shift": "res5_2_branch2c_bn_b",
    }  # fmt: skip
    for ours, theirs in pairs.items():
        assert np.array_equal(found[ours], made[theirs]), ours


def test_the_table_is_resnet_50s(full):
    """The sheet's 53 convolutions, of 23,454,912 weights, and 53,120 scales and shifts."""
    shapes = dict(backbone.table().values())
    weights = [shape for name, shape in shapes.items() if name.endswith(".weight")]
    assert len(shapes) == len(backbone.table()) == 159 and len(weights) == 53
    assert sum(map(np.prod, weights)) == 23_454_912
    assert sum(s[0] for n, s in shapes.items() if not n.endswith(".weight")) == 53_120
    # Strides apart, a block takes what the one before gives.
    assert shapes["blocks.3.convolution1.weight"] == (128, 256, 1, 1)
    assert shapes["blocks.15.convolution3.weight"] == (2048, 512, 1, 1)


def test_the_form_with_blobs_and_momentum(whole, tmp_path):
    made, _ = whole
    writer = Writer()
    writer.dictionary({"blobs": made | {"conv1_w_momentum": made["conv1_w"]}})
    assert np.array_equal(load(tmp_path, writer.content())["stem.weight"], made["conv1_w"])


def spoilt(**changes):
    """A file in which these arrays are others; None: not there."""
    made = {n: v for n, v in (arrays() | changes).items() if v is not None}
    writer = Writer()
    writer.dictionary(made)
    return writer.content()


@pytest.mark.parametrize(("changes", "match"), [
    ({"conv1_w": None}, "conv1_w: expected an array of shape"),
    ({"conv1_w": np.zeros((64, 3, 7, 8), np.float32)}, r"found of shape \(64, 3, 7, 8\)"),
    ({"res2_0_branch1_bn_s": np.full(16, np.nan, np.float32)}, "not all of its values"),
    ({"res2_0_branch1_bn_s": np.full(16, -np.inf, np.float32)}, "not all of its values"),
    ({"conv1_w": np.zeros((64, 3, 7, 7), np.float16)}, "bytes are not those of its shape"),
])  # fmt: skip
def test_wrong_arrays(changes, match, tmp_path):
    refused(tmp_path, spoilt(**changes), match)


@pytest.mark.parametrize("more", [
    {"descr": "f8"}, {"descr": "O8"}, {"order": ">"}, {"order_of_axes": b"\x88"},
])  # fmt: skip
def test_arrays_that_nobody_uses_may_have_any_form(more, whole, tmp_path):
    made, content = whole
    writer = Writer()
    writer.out.write(b"}")
    writer.text("fc1000_w")
    writer.array(np.zeros((3, 5), np.float32), **more)
    used = content.removeprefix(b"\x80\x02}").removesuffix(b".")
    writer.out.write(b"s" + used)
    assert np.array_equal(load(tmp_path, writer.content())["stem.weight"], made["conv1_w"])


def one(**more):
    writer = Writer()
    writer.out.write(b"}U\x07conv1_w")
    writer.array(np.zeros((64, 3, 7, 7), np.float32), **more)
    writer.out.write(b"s")
    return writer.content()


@pytest.mark.parametrize(("changes", "match"), [
    ({}, "res_conv1_bn_s: expected an array"),  # the first array is taken
    ({"descr": "O8"}, "not of little-endian float32"),
    ({"descr": "i4,(2,3)f8"}, "not of little-endian float32"),
    ({"order": ">"}, "not of little-endian float32"),
    ({"order_of_axes": b"\x88"}, "bytes are not those of its shape"),
])
def test_arrays_of_another_form(changes, match, tmp_path):
    refused(tmp_path, one(**changes), match)


class Evil:
    """What pickle would run."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    """{name: bytes}; whatever is run leaves a file of this name."""
    command = f"touch {marker}"
    calls = {
        "os.system": Evil(os.system, command),
        "eval": Evil(eval, f"open({str(marker)!r}, 'w')"),
        "open": Evil(open, str(marker), "w"),
        "getattr": Evil(getattr, "", "join"),
        "numpy.load": Evil(np.load, str(marker)),
        "memmap": Evil(np.memmap, str(marker), "u1", "w+", 0, (10,)),
        "dataclass": dataclasses.replace(REFERENCE),
        "array of objects": np.array([Evil(os.system, command)], object),
        "array of protocol 4": np.zeros(3, np.float32),
    }
    found = {name: pickle.dumps({"conv1_w": value}, 4 if "4" in name else 2)
             for name, value in calls.items()}
    call = f"cposix\nsystem\nU{chr(len(command))}{command}\x85R.".encode("latin1")
    found |= {
        "posix.system": b"\x80\x02" + call,
        "instance": f"(S'{command}'\nios\nsystem\n.".encode(),
        "object": f"(cos\nsystem\nS'{command}'\no.".encode(),
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__class__\x93.",
        "numpy's own loader": b"\x80\x02cnumpy.core.multiarray\nfromfile\n.",
        "persistent": b"Pos.system\n.",
        "extension": b"\x80\x02\x82\x01.",
        "state of a function": b"\x80\x02cnumpy\ndtype\n}U\x08functionNsb.",
        "new of a function": b"\x80\x02cnumpy\ndtype\n)\x81.",
        "ndarray is called": b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
        "no dictionary": b"\x80\x02K\x01.",
        "a list": b"\x80\x02].",
        "nothing": b"",
        "text": b"<html>404 Not Found</html>\n",
        "cut": b"\x80\x02}U\x07conv1_wcnumpy",
        "empty stack": b"\x80\x020.",
        "a long text": b"\x80\x02T\xff\xff\xff\x7fx.",
        "a negative text": b"\x80\x02T\xff\xff\xff\xffx.",
        "a long frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        "a far memo": b"\x80\x02Nr\xff\xff\xff\xff.",
        "memo of none": b"\x80\x02j\xff\xff\xff\x00.",
        "a protocol to come": b"\x80\xff}.",
        "a dictionary of lists": b"\x80\x02}]]s.",
        "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    }
    return found


@pytest.mark.parametrize("name", hostile("x"))
def test_a_hostile_file_is_not_run(name, tmp_path):
    marker = tmp_path / "was-run"
    refused(tmp_path, hostile(marker)[name])
    assert not marker.exists()


def test_the_hostile_files_would_be_run(tmp_path):
    """By pickle itself: so that the test above can fail."""
    ran = []
    for name in ("os.system", "eval", "open", "posix.system", "instance", "object"):
        marker = tmp_path / name
        made = pickle.loads(hostile(marker)[name], encoding="latin1")
        ran.append(marker.exists())
        del made
    assert all(ran) and len(ran) == 6


@pytest.mark.parametrize(("content", "match"), [
    (b"\x80\x05\x96" + struct.pack("<q", 1 << 28) + b".", "operation 150 is not protocol 2's"),
    (b"\x80\x04\x95" + struct.pack("<q", 2 << 20) + b"]" * (2 << 20), "operation 149 is not"),
    (b"\x80\x02" + b"]" * (2 << 20) + b".", "more values than it has arrays for"),
], ids=["bytearray", "lists in a frame", "lists"])  # fmt: skip
def test_a_short_file_takes_little_memory(content, match, tmp_path, monkeypatch):
    monkeypatch.setattr(backbone, "MAX_READS", 100_000)
    monkeypatch.setattr(backbone, "MAX_BYTES", 4 << 20)  # of which a buffer is made
    tracemalloc.start()
    try:
        refused(tmp_path, content, match)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_the_published_form_takes_few_reads(whole, tmp_path, monkeypatch):
    made, content = whole
    monkeypatch.setattr(backbone, "MAX_READS", backbone.MAX_READS // 10)
    assert np.array_equal(load(tmp_path, content)["stem.weight"], made["conv1_w"])


def test_any_cut_and_any_byte(whole, tmp_path):
    """A file cut or changed anywhere in an array's head is refused, or its arrays are whole."""
    content = one()
    heads = [place for _, _, place in pickletools.genops(content)][:40]
    for place in heads:
        refused(tmp_path, content[:place])
        for value in (b"\x00", b"c", b"R", b"b", b"\xff"):
            refused(tmp_path, content[:place] + value + content[place + 1 :])


def test_what_is_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        backbone.load(str(tmp_path / "R-50.pkl"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="cannot be read"):
        backbone.load(str(tmp_path / "pipe"))


def test_a_file_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(backbone, "MAX_BYTES", 100)
    refused(tmp_path, one(), "more than 100 bytes")
