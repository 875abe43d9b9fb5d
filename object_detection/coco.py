"""COCO 2017 on disk, and its annotations as arrays, made once for all runs.

    DATA_DIR/train2017/*.jpg and DATA_DIR/val2017/*.jpg
    DATA_DIR/annotations/instances_train2017.json and instances_val2017.json
    DATA_DIR/index-*/    made by `make`; its name changes with the two .json files

A picture is a number in a split, in the order of the ids; training's are those with an object.
A class is the rank of its category's id among the sorted ids, from 1; 0 is the background.
"""

import array
import contextlib
import functools
import hashlib
import json
import mmap
import os
import re
from dataclasses import dataclass

import numpy as np

from common.data import folder as folders
from common.data.ragged import Ragged
from common.errors import UserError, is_finite, printable
from common.files import open_regular

VERSION = 1                 # of the index folder: another number, another folder
FOLDERS = {"train": "train2017", "test": "val2017"}
LISTS = ("images", "annotations", "categories")
MAX_SIDE = 1 << 14          # pixels of a picture's side
MAX_PIXELS = 1 << 26        # of a picture
MAX_BYTES = 1 << 32         # of a .json; COCO's has 470 million
REPAIR = "Fetch the annotations again, or mend them."


def refuse_constant(name):
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a split, and the objects that training learns from: no crowds.

    ids: int64 [N].  sizes: int32 [N, 2], height and width.  names: Ragged, uint8: UTF-8.
    first: int64 [N + 1]: picture n has the objects first[n] to before first[n + 1].
    boxes: float32 [M, 4]: x1, y1, x2, y2, inclusive, within the picture.
    classes: int32 [M], from 1.
    parts: int64 [M + 1]: object m has the polygons parts[m] to before parts[m + 1].
    polygons: Ragged, float32: x, y, x, y, ... of each, in pixels from the picture's upper left.
    categories: int64 [classes], the id of each class, from class 1 on.  labels: their names.
    listed: how many pictures the .json has, whether used or not.
    """

    ids: np.ndarray
    sizes: np.ndarray
    names: Ragged
    first: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    parts: np.ndarray
    polygons: Ragged
    categories: np.ndarray
    labels: tuple[str, ...]
    listed: int

    def __len__(self):
        return len(self.ids)

    def name(self, number):
        """str: of a picture's file."""
        return os.fsdecode(self.names[number].tobytes())

    def polygons_of(self, number):
        """[[float32 [2 P] of each polygon] of each object] of a picture."""
        objects = range(self.first[number], self.first[number + 1])
        return [[self.polygons[p] for p in range(self.parts[m], self.parts[m + 1])]
                for m in objects]


def json_path(data_dir, split):
    """Path of a split's annotations."""
    return os.path.join(data_dir, "annotations", f"instances_{FOLDERS[split]}.json")


def picture_path(data_dir, split, name):
    """Path of a split's picture."""
    return os.path.join(data_dir, FOLDERS[split], name)


class Text:
    """A JSON text and a place in it: it is read item by item, for as a whole it takes memory."""

    SPACE = re.compile(r"[ \t\n\r]*")
    DECODER = json.JSONDecoder(parse_constant=refuse_constant)

    def __init__(self, text):
        self.text, self.place = text, 0

    def next(self):
        """The symbol at the place, behind any space; "" at the end."""
        self.place = self.SPACE.match(self.text, self.place).end()
        return self.text[self.place : self.place + 1]

    def take(self, known):
        """The symbol at the place, one of these; the place moves behind it.  Raises ValueError."""
        found = self.next()
        if not found or found not in known:
            raise ValueError(f"expected {' or '.join(known)} at byte {self.place:,}")
        self.place += 1
        return found

    def value(self):
        """The value at the place, which moves behind it.  Raises ValueError."""
        self.next()
        value, self.place = self.DECODER.raw_decode(self.text, self.place)
        return value

    def entries(self, opening, closing):
        """Yields at the place of each entry of a list or object.  Raises ValueError."""
        self.take(opening)
        if self.next() == closing:
            self.take(closing)
            return
        while True:
            yield
            if self.take(f",{closing}") == closing:
                return


def items(text):
    """Yields (name, item) of each item of LISTS.  Raises ValueError.

    text: str, of an object with these lists.
    """
    text, found = Text(text), set()
    for _ in text.entries("{", "}"):
        name = text.value()
        text.take(":")
        if name in LISTS and name in found:
            raise ValueError(f"has {name!r} twice")
        found.add(name)
        if name in LISTS:
            for _ in text.entries("[", "]"):
                yield name, text.value()
        else:
            text.value()
    if text.next():
        raise ValueError("goes on behind its end")
    for name in LISTS:
        if name not in found:
            raise ValueError(f"has no {name!r}")


class Fault(ValueError):
    """What is wrong with an item of the .json."""


def require(holds, item, words):
    """Raises Fault of an item where a condition does not hold."""
    if not holds:
        shown = item.get("id", item) if isinstance(item, dict) else item
        raise Fault(f"{printable(repr(shown))[:40]}: {words}")


def whole(value, low=0, high=(1 << 53) - 1):
    """Whether a value is a whole number from low to high."""
    return type(value) is int and low <= value <= high


class Lists:
    """The items of a .json as columns, as they come.

    exact: a polygon that is none is a Fault; else it is left out and counted, and with it an object
    that has no other.
    """

    def __init__(self, exact=True):
        self.exact = exact
        self.left_out = {"polygons": 0, "objects": 0}
        self.categories = {}                     # id: name
        self.pictures = {}                       # id: (height, width, name)
        self.names = set()
        self.seen = set()                        # ids of annotations
        self.of_picture = array.array("q")       # an id, of each annotation that is no crowd
        self.of_category = array.array("q")
        self.boxes = array.array("d")            # x, y, width, height
        self.parts = array.array("q", [0])       # ends, in lengths
        self.lengths = array.array("q")          # of polygons
        self.polygons = array.array("f")
        self.crowds = []                         # (annotation's id, picture, size, counts' sum)
        self.objects = array.array("q")          # ids of those that are no crowd
        self.used_categories = set()

    def add_categories(self, item):
        require(isinstance(item, dict) and whole(item.get("id")), item, "expected an id")
        name = item.get("name")
        require(isinstance(name, str) and name.isprintable(), item, "expected a name")
        require(item["id"] not in self.categories, item, "this id stands twice")
        self.categories[item["id"]] = name

    def add_images(self, item):
        require(isinstance(item, dict) and whole(item.get("id"), 1), item, "expected an id from 1")
        require(item["id"] not in self.pictures, item, "this id stands twice")
        size = item.get("height"), item.get("width")
        fits = all(whole(side, 1, MAX_SIDE) for side in size) and size[0] * size[1] <= MAX_PIXELS
        require(fits, item, f"expected height and width from 1 to {MAX_SIDE:,}")
        name = item.get("file_name")
        fits = (isinstance(name, str) and name.isprintable() and 0 < len(name.encode()) <= 255
                and "/" not in name and name not in (".", "..") and name not in self.names)
        require(fits, item, "expected a file_name of its own, without a folder")
        self.names.add(name)
        self.pictures[item["id"]] = (*size, name)

    def add_annotations(self, item):
        require(isinstance(item, dict) and whole(item.get("id"), 1), item, "expected an id from 1")
        require(item["id"] not in self.seen, item, "this id stands twice")
        self.seen.add(item["id"])
        picture, category = item.get("image_id"), item.get("category_id")
        require(whole(picture), item, "expected an image_id")
        require(whole(category), item, "expected a category_id")
        self.used_categories.add(category)
        require(is_finite(item.get("area")) and item["area"] >= 0, item, "expected an area")
        box, mask, crowd = item.get("bbox"), item.get("segmentation"), item.get("iscrowd")
        fits = (isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))
                and max(map(abs, box)) <= 2 * MAX_SIDE and min(box[2:]) >= 0)
        require(fits, item, "expected a bbox [x, y, width, height]")
        require(crowd in (0, 1), item, "expected iscrowd 0 or 1")
        if isinstance(mask, dict) and crowd:
            self.crowds.append((item["id"], picture, *run_lengths(item, mask)))
            return
        polygons = self.polygons_of(item, mask)
        if crowd:
            self.crowds.append((item["id"], picture, None, None))
        elif not polygons:
            self.left_out["objects"] += 1
        else:
            self.objects.append(item["id"])
            self.of_picture.append(picture)
            self.of_category.append(category)
            self.boxes.extend(box)
            for polygon in polygons:
                self.lengths.append(len(polygon))
                self.polygons.extend(polygon)
            self.parts.append(len(self.lengths))

    def polygons_of(self, item, mask):
        """[[x, y, x, y, ...]] of an annotation's segmentation.  Raises Fault."""
        words = "expected polygons [[x, y, x, y, x, y, ...], ...] as segmentation"
        require(isinstance(mask, list) and (mask or not self.exact), item, words)
        found = []
        for polygon in mask:
            require(isinstance(polygon, list) and all(map(is_finite, polygon)), item, words)
            fits = len(polygon) >= 6 and len(polygon) % 2 == 0
            require(fits or not self.exact, item, words)
            if fits:
                require(max(map(abs, polygon)) <= 2 * MAX_SIDE, item, "a polygon is far outside")
                found.append(polygon)
        self.left_out["polygons"] += len(mask) - len(found)
        return found


def run_lengths(item, mask):
    """([height, width], sum of the counts) of a crowd's mask.  Raises Fault.

    It goes to the evaluation's library, which trusts it.
    """
    size, counts = mask.get("size"), mask.get("counts")
    fits = (isinstance(size, list) and len(size) == 2 and all(whole(s, 1, MAX_SIDE) for s in size)
            and isinstance(counts, list) and all(whole(n, 0, MAX_PIXELS) for n in counts))
    require(fits, item, "expected size and a list of counts as a crowd's segmentation")
    return size, sum(counts)


def read_json(path, exact=True):
    """The Lists of a .json.  Raises UserError for whatever is not as COCO has it."""
    lists, name = Lists(exact), "the file"
    try:
        with open_regular(path) as opened, mapped(opened) as content:
            for name, item in items(str(content, "utf-8")):
                getattr(lists, f"add_{name}")(item)
        check_references(lists)
    except Fault as fault:
        raise UserError(f"{path}: {name}: {fault}. {REPAIR}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Expected COCO 2017's annotations there.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise UserError(f"{path}: lists within lists without an end. {REPAIR}") from None
    except ValueError as error:
        raise UserError(f"{path}: no JSON of COCO's form ({error}). {REPAIR}") from None
    return lists


@contextlib.contextmanager
def mapped(opened):
    """An open file's content, not copied.  Raises ValueError for an empty one, or one too long."""
    size = os.fstat(opened.fileno()).st_size
    if not 0 < size <= MAX_BYTES:
        raise ValueError(f"{size:,} bytes")
    with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def check_references(lists):
    """Raises ValueError where an annotation's picture or category is not there, or does not fit."""
    for category in lists.used_categories:
        if category not in lists.categories:
            raise ValueError(f"annotations of category {category}, which is not among them")
    for number, picture in zip(lists.objects, lists.of_picture):
        if picture not in lists.pictures:
            raise ValueError(f"annotation {number} is of image {picture}, which is not there")
    for number, picture, size, count in lists.crowds:
        if picture not in lists.pictures:
            raise ValueError(f"annotation {number} is of image {picture}, which is not there")
        height, width, _ = lists.pictures[picture]
        if size is not None and (size != [height, width] or count != height * width):
            raise ValueError(f"annotation {number}: its mask's size is not image {picture}'s")


def arrays(lists, every):
    """{name: array} of a Pictures, and its labels and `listed`.

    every: pictures without an object too.
    """
    ids = np.array(sorted(lists.pictures), np.int64)
    sizes = np.array([lists.pictures[i][:2] for i in ids.tolist()], np.int32).reshape(-1, 2)
    categories = np.array(sorted(lists.categories), np.int64)
    picture = np.searchsorted(ids, np.frombuffer(lists.of_picture, np.int64))
    boxes, kept = inclusive(np.frombuffer(lists.boxes, np.float64), sizes[picture])
    if not every:
        wanted = np.zeros(len(ids), bool)
        wanted[picture[kept]] = True
        picture = (np.cumsum(wanted) - 1)[picture]
        ids, sizes = ids[wanted], sizes[wanted]
    order = np.flatnonzero(kept)
    order = order[np.argsort(picture[order], kind="stable")]
    first = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(np.bincount(picture[order], minlength=len(ids)), out=first[1:])
    classes = np.searchsorted(categories, np.frombuffer(lists.of_category, np.int64)) + 1
    ends = np.frombuffer(lists.parts, np.int64)
    parts, chosen = gathered(ends, order)
    starts = np.cumsum([0, *lists.lengths], dtype=np.int64)
    lengths, places = gathered(starts, chosen)
    names = [os.fsencode(lists.pictures[i][2]) for i in ids.tolist()]
    return {
        "ids": ids,
        "sizes": sizes,
        "names": np.frombuffer(b"".join(names), np.uint8),
        "names.starts": np.cumsum([0, *map(len, names)], dtype=np.int64),
        "first": first,
        "boxes": boxes[order],
        "classes": classes[order].astype(np.int32),
        "parts": parts,
        "polygons": np.frombuffer(lists.polygons, np.float32)[places],
        "polygons.starts": lengths,
        "categories": categories,
    }, [lists.categories[c] for c in categories.tolist()], len(lists.pictures)


def gathered(starts, order):
    """(starts, places) of the items of a concatenation in another order.

    starts: int64 [N + 1].  order: int [K].  Returns the items' new starts, int64 [K + 1], and the
    old place of each of their values.
    """
    lengths = np.diff(starts)[order]
    new = np.zeros(len(order) + 1, np.int64)
    np.cumsum(lengths, out=new[1:])
    return new, np.arange(new[-1]) + np.repeat(starts[order] - new[:-1], lengths)


def inclusive(boxes, sizes):
    """(float32 [M, 4]: x1, y1, x2, y2, and whether each is left), as the reference has it.

    boxes: [4 M], x, y, width, height.  sizes: int [M, 2], height and width of the picture.
    x2 = x + max(width - 1, 0), in float32; clipped to the picture; of one pixel's width: dropped.
    """
    boxes = boxes.reshape(-1, 4).astype(np.float32)
    low, high = boxes[:, :2], boxes[:, :2] + np.maximum(boxes[:, 2:] - 1, 0)
    last = sizes[:, ::-1].astype(np.float32) - 1
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    return np.concatenate([low, high], axis=1), (high > low).all(axis=1)


# The index folder.


def survey(data_dir):
    """The name of the index folder: it is of all that the index depends on.  Raises UserError."""
    digest = hashlib.sha256(str(VERSION).encode())
    for split in FOLDERS:
        path = json_path(data_dir, split)
        try:
            with open_regular(path) as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file. Expected COCO 2017 in --data_dir={data_dir}."
                            ) from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    return f"index-{digest.hexdigest()[:16]}"


def make(data_dir, name):
    """Makes the index folder, once for all runs, whole or not at all.  Raises UserError."""
    advice = "Make room, or start once from a copy of the dataset in a folder that can be written."
    path = os.path.join(data_dir, name)
    folders.make(path, functools.partial(write, data_dir), "the index of annotations", advice)


def write(data_dir, folder):
    """Fills an empty folder: per split SPLIT.NAME.npy of each array of Pictures, SPLIT.json."""
    known = None
    for split in FOLDERS:
        path = json_path(data_dir, split)
        # The test's are read again by COCO's evaluation, whose decoder trusts them.
        lists = read_json(path, exact=split == "test")
        known = known or lists.categories
        if lists.categories != known:
            raise UserError(f"{path}: its categories are not those of training. {REPAIR}")
        found, labels, listed = arrays(lists, every=split == "test")
        # Of the test: without an object no class has an AP, and COCO's evaluation gives -1.
        if not len(found["ids"]) or not lists.objects:
            raise UserError(f"{path}: no image with an object to use. {REPAIR}")
        if any(lists.left_out.values()):
            print("{}: left out: {polygons:,} polygons of fewer than three points or an odd number "
                  "of values, {objects:,} objects without any other.".format(printable(path),
                                                                 **lists.left_out), flush=True)
        for name, values in found.items():
            np.save(os.path.join(folder, f"{split}.{name}.npy"), values)
        with open(os.path.join(folder, f"{split}.json"), "w", encoding="ascii") as opened:
            json.dump({"labels": labels, "listed": listed}, opened)


@functools.lru_cache(maxsize=4)
def load_from(folder, split):
    """The Pictures of an index folder's split; polygons and names are left on disk."""
    def saved(name, mode=None):
        return np.load(os.path.join(folder, f"{split}.{name}.npy"), mmap_mode=mode)

    def ragged(name):
        return Ragged(saved(name, "r"), saved(f"{name}.starts"))

    with open(os.path.join(folder, f"{split}.json"), encoding="ascii") as opened:
        more = json.load(opened)
    plain = ("ids", "sizes", "first", "boxes", "classes", "parts", "categories")
    return Pictures(
        **{name: saved(name) for name in plain},
        names=ragged("names"),
        polygons=ragged("polygons"),
        labels=tuple(more["labels"]),
        listed=more["listed"],
    )


def load(config, split):
    """load_from of a prepared config."""
    return load_from(os.path.join(config.data_dir, config.index), split)


def require_pictures(config, split):
    """Raises UserError for a picture whose file is not there."""
    folder = os.path.join(config.data_dir, FOLDERS[split])
    try:
        there = {entry.name for entry in os.scandir(folder)}
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}). Expected the pictures of "
                        f"{os.path.basename(json_path(config.data_dir, split))}.") from None
    pictures = load(config, split)
    for number in range(len(pictures)):
        if pictures.name(number) not in there:
            raise UserError(f"{picture_path(config.data_dir, split, pictures.name(number))}: no "
                            "such file. Fetch the pictures again.")
