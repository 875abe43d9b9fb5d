"""The annotations as arrays: by hand, against json.loads, and every fault of a hostile .json."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from object_detection import coco, data
from tests.object_detection import scenes


def prepared(folder, **changes):
    return data.prepare(scenes.own(folder, **changes))


def fails(match, folder, **changes):
    with pytest.raises(UserError, match=match) as caught:
        prepared(folder, **changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


def test_what_training_sees(folder):
    """Without crowds, objects of one pixel's width, and pictures that are left without an object;
    boxes inclusive and clipped; classes by the rank of the ids."""
    pictures = coco.load(prepared(folder), "train")
    assert pictures.ids.tolist() == [3, 5, 8, 12] and pictures.listed == 7
    assert pictures.categories.tolist() == [2, 7, 40] and pictures.labels == ("dog", "cat", "egg")
    assert pictures.sizes.tolist() == [[80, 60], [60, 80], [90, 30], [60, 60]]
    assert [pictures.name(n) for n in range(2)] == ["000000000003.jpg", "000000000005.jpg"]
    assert pictures.first.tolist() == [0, 1, 4, 5, 6]
    assert pictures.boxes.tolist() == [
        [0.5, 10.25, 19.5, 39.25], [10, 20, 39, 34], [50.5, 5, 79, 24], [12, 22, 16, 26],
        [2, 2, 21, 71], [5, 5, 54, 54],
    ]  # fmt: skip
    assert pictures.classes.tolist() == [1, 2, 3, 2, 3, 1]
    (square,), = pictures.polygons_of(3)
    assert square.tolist() == [5, 5, 55, 5, 55, 55, 5, 55]


def test_the_test_keeps_every_picture(folder):
    pictures = coco.load(prepared(folder), "test")
    assert pictures.ids.tolist() == [10, 20, 30] and pictures.first.tolist() == [0, 1, 3, 3]


def test_several_polygons_stay_with_their_object(tmp_path):
    pieces = [[0, 0, 9, 0, 9, 9.5], [20, 20, 30, 20, 30, 30, 20, 30], [1, 1, 2, 1, 2, 2]]
    train = ([scenes.image(2), scenes.image(1)],
             [scenes.box(5, 2, 7, 0, 0, 40, 40, segmentation=pieces),
              scenes.box(3, 1, 7, 5, 5, 9, 9),
              scenes.box(4, 2, 2, 5, 5, 8, 9, segmentation=pieces[:1])])
    pictures = coco.load(prepared(scenes.write(tmp_path, train)), "train")
    found = [[[part.tolist() for part in one] for one in pictures.polygons_of(n)] for n in (0, 1)]
    assert found == [[[[5, 5, 14, 5, 14, 14, 5, 14]]], [pieces, pieces[:1]]]


def test_counts(folder):
    config = prepared(folder)
    assert (config.num_listed_images, config.num_train_images, config.num_eval_images) == (7, 4, 3)
    assert config.num_classes == 3
    fails("annotations: expected 9 for listed images, found 7", folder, num_listed_images=9)
    fails("expected 7 for train images, found 4", folder, num_train_images=7)
    fails("expected 80 for classes, found 3", folder, num_classes=80)


def test_the_index_follows_the_annotations(folder):
    first = prepared(folder)
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace('"egg"', '"ham"'))
    test = folder / "annotations" / "instances_val2017.json"
    fails("its categories are not those of training", folder)
    test.write_text(test.read_text().replace('"egg"', '"ham"'))
    second = prepared(folder)
    assert first.index != second.index
    assert coco.load(second, "train").labels == ("dog", "cat", "ham")
    # A damaged one is made again.
    victim = folder / second.index / "train.boxes.npy"
    victim.write_bytes(victim.read_bytes()[:-4])
    coco.load_from.cache_clear()
    assert len(coco.load(prepared(folder), "train").boxes) == 6


def test_a_picture_that_is_not_there(folder):
    (folder / "val2017" / "000000000030.jpg").unlink()
    fails("val2017/000000000030.jpg: no such file", folder)
    (folder / "train2017").rename(folder / "elsewhere")
    fails("train2017: cannot be read", folder)


def test_no_annotations(tmp_path):
    fails("instances_train2017.json: no such file. Expected COCO 2017 in", tmp_path)


@pytest.mark.parametrize(("width", "kept"), [(0, False), (1, False), (1.5, True), (2, True)])
def test_boxes_of_a_pixel_are_dropped(width, kept):
    """T05: x2 = x + max(width - 1, 0), and a box needs x2 > x1."""
    boxes, found = coco.inclusive(np.array([3.0, 4, width, 9]), np.array([[60, 80]]))
    assert found.tolist() == [kept]
    assert boxes.tolist() == [[3, 4, 3 + max(width - 1, 0), 12]]


# The JSON.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner,
                                                                max_size=3),
    max_leaves=6,
)


@settings(max_examples=100)
@given(st.fixed_dictionaries({name: st.lists(VALUES, max_size=4) for name in coco.LISTS}),
       st.dictionaries(st.text(max_size=5), VALUES, max_size=3), st.randoms(),
       st.sampled_from((None, 1, "\t")), st.booleans())
def test_items_are_those_of_json(lists, more, random, indent, ascii_only):
    """In any order of the keys, with any space between."""
    whole = [*({name: value for name, value in more.items() if name not in lists} | lists).items()]
    random.shuffle(whole)
    text = json.dumps(dict(whole), indent=indent, ensure_ascii=ascii_only)
    expected = [(name, item) for name, value in whole if name in lists for item in value]
    assert list(coco.items(f" {text}\r\n")) == expected


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_json_is_no_json(data):
    """Cut anywhere, or with a byte changed: what json.loads refuses is refused."""
    text = json.dumps(scenes.content([scenes.image(1)], [scenes.box(1, 1, 7, 1, 1, 9, 9)]))
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = data.draw(st.sampled_from(
        (text[:place], text[:place] + data.draw(st.characters()) + text[place + 1 :])))
    try:
        whole = json.loads(damaged, parse_constant=coco.refuse_constant)
    except ValueError:
        whole = None
    try:
        found = list(coco.items(damaged))
    except ValueError:
        found = None
    if whole is None:
        assert found is None
    elif found is not None:
        assert found == [(n, item) for n in whole if n in coco.LISTS for item in whole[n]]


def changed(place, **fields):
    """The .json with these fields of its first item of a list."""
    made = scenes.content([scenes.image(1)], [scenes.box(3, 1, 7, 1, 1, 9, 9)])
    made["categories"] = [{"id": 7, "name": "cat"}]
    made[place][0].update(fields)
    return json.dumps(made)


RUNS = {"size": [60, 80], "counts": [4800]}
HOSTILE = {
    "": "0 bytes",
    "[]": "expected { at byte 0",
    "{": "Expecting value",
    "{}": "has no 'images'",
    '{"images": [], "images": []}': "has 'images' twice",
    '{"images": {}}': r"expected \[ at byte 11",
    '{"images": [] "x": 1}': "expected , or } at byte 14",
    '{"images": [NaN]}': "NaN is not JSON",
    '{"x": 1e999999}': "has no 'images'",
    '{"images": [' + "9" * 5000 + "]}": "no JSON of COCO's form",
    '{"images": [' + "[" * 200_000: "lists within lists",
    '\ufeff{"images": []}': "expected { at byte 0",
    changed("images") + "x": "goes on behind its end",
    changed("images", id=0): "images: 0: expected an id from 1",
    changed("images", id=True): "images: True: expected an id",
    changed("images", id=1 << 60): "expected an id from 1",
    changed("images", height=0): "expected height and width from 1 to 16,384",
    changed("images", width=-4): "images: 1: expected height and width",
    changed("images", height=60.0): "images: 1: expected height and width",
    changed("images", height=16384, width=16384): "images: 1: expected height and width",
    changed("images", file_name="../x.jpg"): "expected a file_name of its own, without a folder",
    changed("images", file_name="/etc/passwd"): "expected a file_name",
    changed("images", file_name=".."): "expected a file_name",
    changed("images", file_name="a\nb.jpg"): "expected a file_name",
    changed("images", file_name="\x00"): "expected a file_name",
    changed("images", file_name="\ud800.jpg"): "expected a file_name",
    changed("images", file_name=5): "expected a file_name",
    changed("images", file_name="x" * 300): "expected a file_name",
    changed("categories", id="7"): "categories: '7': expected an id",
    changed("categories", name=None): "categories: 7: expected a name",
    changed("categories", id=8): "annotations of category 7, which is not among them",
    changed("annotations", id=0): "annotations: 0: expected an id from 1",
    changed("annotations", image_id=2): "annotation 3 is of image 2, which is not there",
    changed("annotations", image_id=[1]): "annotations: 3: expected an image_id",
    changed("annotations", category_id=None): "annotations: 3: expected a category_id",
    changed("annotations", area="big"): "expected an area",
    changed("annotations", area=-1): "expected an area",
    changed("annotations", bbox=[1, 2, 3]): r"expected a bbox \[x, y, width, height\]",
    changed("annotations", bbox=[1, 2, -3, 4]): "expected a bbox",
    changed("annotations", bbox=[1e300, 2, 3, 4]): "expected a bbox",
    changed("annotations", bbox=[10**400, 2, 3, 4]): "expected a bbox",
    changed("annotations", bbox=["1", 2, 3, 4]): "expected a bbox",
    changed("annotations", iscrowd=2): "expected iscrowd 0 or 1",
    changed("annotations", iscrowd=None): "expected iscrowd 0 or 1",
    changed("annotations", iscrowd=[]): "expected iscrowd 0 or 1",
    changed("annotations", segmentation=RUNS): "expected polygons",
    changed("annotations", segmentation=[1, 2, 3, 4, 5, 6]): "expected polygons",
    changed("annotations", segmentation=[[1, 2, 3, 4]]): "no image with an object to use",
    changed("annotations", segmentation=[[1, 2, 3, 4, 5, None]]): "expected polygons",
    changed("annotations", segmentation=[[1, 2, 3, 4, 5, 1e9]]): "a polygon is far outside",
    changed("annotations", iscrowd=1, segmentation={"size": [60, 80], "counts": "abc"}):
        "expected size and a list of counts",
    changed("annotations", iscrowd=1, segmentation={"size": [60, 80], "counts": [-1, 4801]}):
        "expected size and a list of counts",
    changed("annotations", iscrowd=1, segmentation={"size": [60, 80], "counts": [1 << 40]}):
        "expected size and a list of counts",
    changed("annotations", iscrowd=1, segmentation={"size": [80, 60], "counts": [4800]}):
        "annotation 3: its mask's size is not image 1's",
    changed("annotations", iscrowd=1, segmentation={"size": [60, 80], "counts": [4801]}):
        "annotation 3: its mask's size is not image 1's",
    json.dumps(scenes.content([scenes.image(1)] * 2, [])): "images: 1: this id stands twice",
    json.dumps(scenes.content([scenes.image(1)], [scenes.box(1, 1, 7, 1, 1, 9, 9)] * 2)):
        "annotations: 1: this id stands twice",
    json.dumps(scenes.content([scenes.image(1), scenes.image(2) | {"file_name": "000000000001.jpg"}
                               ], [])): "images: 2: expected a file_name of its own",
    json.dumps(scenes.content([5], [])): "images: 5: expected an id",
    json.dumps(scenes.content([], [])): "no image with an object to use",
    json.dumps(scenes.content([scenes.image(1)], [])): "no image with an object to use",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24])
def test_a_hostile_json_ends_in_one_line(text, folder):
    path = folder / "annotations" / "instances_train2017.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    fails(HOSTILE[text], folder)


BAD = [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [[]], []


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_polygons_that_are_none_are_left_out_and_counted(bad, tmp_path, capsys):
    """In training.  In the test they are refused: COCO's evaluation takes the first for a box."""
    good = [0, 0, 9, 0, 9, 9]
    objects = [scenes.box(1, 1, 7, 0, 0, 9, 9, segmentation=bad),
               scenes.box(2, 1, 2, 5, 5, 9, 9, segmentation=[*bad, good]),
               scenes.box(3, 2, 2, 5, 5, 9, 9, segmentation=bad)]
    images = [scenes.image(1), scenes.image(2)]
    folder = scenes.write(tmp_path, train=(images, objects))
    pictures = coco.load(prepared(folder), "train")
    assert pictures.ids.tolist() == [1] and pictures.classes.tolist() == [1]
    assert [part.tolist() for part in pictures.polygons_of(0)[0]] == [good]
    left_out = f"left out: {3 * len(bad)} polygons of fewer than three points or an odd number"
    assert left_out in (out := capsys.readouterr().out) and ", 2 objects without any other" in out
    train, test = (coco.json_path(folder, split) for split in ("train", "test"))
    shutil.copy(train, test)
    fails("instances_val2017.json: annotations: 1: expected polygons", folder)


@pytest.mark.parametrize("objects", [[], [scenes.crowd(4, 1, 7)]], ids=["none", "crowds"])
def test_a_test_without_an_object_is_refused(objects, tmp_path):
    folder = scenes.write(tmp_path, test=([scenes.image(1)], objects))
    fails("instances_val2017.json: no image with an object to use", folder)


def test_bytes_that_are_no_text(folder):
    (folder / "annotations" / "instances_val2017.json").write_bytes(b'{"images": [\xff\xfe]}')
    fails("instances_val2017.json: no JSON of COCO's form", folder)


def test_a_pipe_or_folder_in_the_place_of_annotations(folder):
    path = folder / "annotations" / "instances_val2017.json"
    path.unlink()
    os.mkfifo(path)
    fails("instances_val2017.json: cannot be read", folder)
    path.unlink()
    path.mkdir()
    fails("instances_val2017.json: cannot be read", folder)
