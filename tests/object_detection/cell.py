"""What the shared tests need to know of object detection; tests/cells.py explains each."""

import collections
import json
import pathlib
import shutil

import numpy as np

from object_detection import quality, quick_data

# Coefficients that float32 holds exactly, since PaddlePaddle keeps them so.
TINY = ("--set=batch_size=8", "--set=eval_batch_size=5", "--set=num_classes=4",
        "--set=pyramid_width=8", "--set=stem_width=8", "--set=widths=8,8,8", "--set=box_size=16",
        "--set=mask_width=8", "--set=mask_layers=1", "--set=box_bins=3", "--set=mask_bins=4",
        "--set=detections=5", "--set=momentum=0.875", "--set=anchor_beta=0.125",
        "--set=mean_bgr=103,116,122.75", f"--set=weight_decay={2**-10}")  # fmt: skip
RANDOM = ()
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere"),
    (["--set=widhts=8"], "Did you mean widths"),
    (["--set=widths=8,8"], "expected as many of each"),
    (["--set=strides=4,8"], "expected (4, 8, 16, 32)"),
    (["--set=anchor_low=0.8"], "expected anchor_high=0.7 or less"),
    (["--set=rois_per_image=101"], "expected proposals=100 or less"),
    (["--set=num_classes=5"], "expected 5"),
)
RELAY_GAP = 1e-9
QUICK_GAP = 0.15
REAL = ("--target=bbox=1.1,segm=1.1", "--set=num_classes=3", "--set=short_side=192",
        "--set=long_side=256", "--set=rois_per_image=64", "--set=positive_rois=16",
        "--set=detections=40", "--set=batch_size=2")  # fmt: skip
REAL_GAP = 0.1  # 0.057 was seen
REAL_EPOCHS = 4


def tiny_data(folder):
    """Of the embedded pictures the first 40, and ten of its test."""
    source = pathlib.Path(quick_data.ensure())
    (folder / "annotations").mkdir()
    for name, count in (("train2017", 40), ("val2017", 10)):
        (folder / name).mkdir()
        content = json.loads((source / "annotations" / f"instances_{name}.json").read_text())
        content["images"] = content["images"][:count]
        numbers = {image["id"] for image in content["images"]}
        content["annotations"] = [one for one in content["annotations"]
                                  if one["image_id"] in numbers]  # fmt: skip
        for image in content["images"]:
            shutil.copy(source / name / image["file_name"], folder / name)
        text = json.dumps(content)
        (folder / "annotations" / f"instances_{name}.json").write_text(text)


def examples(config, batch):
    """[(size, pixels, boxes, classes, masks, keys)] of a training batch's pictures."""
    names = ("sizes", "images", "boxes", "classes", "masks", "anchor_keys", "roi_keys")
    rows = zip(*(batch[name] for name in names))
    return [tuple(array.tobytes() for array in row) for row in rows if row[3].any()]


def real_data(folder, sample):
    """Blood cells, 160 and 40 pictures.  The masks are made up: ellipses in the boxes."""
    shutil.copytree(sample, folder, dirs_exist_ok=True)


def real_baseline(data_dir):
    """0.1 more than the box AP of the commonest class's median box in each picture."""
    train, test = (json.loads(pathlib.Path(data_dir, "annotations", f"instances_{name}.json")
                              .read_text()) for name in ("train2017", "val2017"))
    [(category, _)] = collections.Counter(
        one["category_id"] for one in train["annotations"]).most_common(1)
    box = np.median([one["bbox"] for one in train["annotations"]
                     if one["category_id"] == category], axis=0)  # fmt: skip
    found = [{"image_id": image["id"], "category_id": category, "bbox": box.tolist(), "score": 1.0}
             for image in test["images"]]
    return f"bbox={0.1 + quality.average_precision(test, found, 'bbox')},segm=0"
