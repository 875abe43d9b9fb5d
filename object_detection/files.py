"""The archives of COCO 2017 and the pretrained backbone, and how they become the dataset's folder.

Sizes and sums: tensorflow/datasets url_checksums/coco.txt; the backbone's is MLPerf's weights.md5.
"""

import dataclasses
import os
import shutil

from common.data.archive import write_all, zip_files
from common.data.download import Archive
from common.errors import UserError
from object_detection import data
from object_detection.coco import FOLDERS
from object_detection.config import REFERENCE

TERMS = (
    "COCO's annotations are under CC BY 4.0; who uses its pictures must keep to Flickr's terms of "
    "use: https://cocodataset.org/#termsofuse. R-50.pkl is under CC BY-SA 3.0."
)

IMAGES = "http://images.cocodataset.org"
DETECTRON = "https://dl.fbaipublicfiles.com/detectron"
ANNOTATIONS, BACKBONE = "annotations_trainval2017.zip", "R-50.pkl"

ARCHIVES = (
    Archive(
        BACKBONE,
        (f"{DETECTRON}/ImageNetPretrained/MSRA/{BACKBONE}",),
        {"md5": "b19105fdd7baafb40480251377de18f2"},
        at_most=1 << 28,
    ),
    Archive(
        ANNOTATIONS,
        (f"{IMAGES}/annotations/{ANNOTATIONS}",),
        {"sha256": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"},
        252_907_541,
    ),
    Archive(
        "val2017.zip",
        (f"{IMAGES}/zips/val2017.zip",),
        {"sha256": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"},
        815_585_330,
    ),
    Archive(
        "train2017.zip",
        (f"{IMAGES}/zips/train2017.zip",),
        {"sha256": "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"},
        19_336_861_798,
    ),
)


def unpack(archives, folder):
    """Writes train2017/, val2017/, annotations/, R-50.pkl and the index.

    Goes on where it was cut off.  The index is made here, and not when a run starts, because
    preprocessing is untimed.
    """
    names = {"annotations": ANNOTATIONS} | {name: f"{name}.zip" for name in FOLDERS.values()}
    for name, archive in names.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            write_all(inside(archives[archive], name), path)
    part = os.path.join(folder, f"{BACKBONE}.part")
    shutil.copyfile(archives[BACKBONE], part)
    os.replace(part, os.path.join(folder, BACKBONE))
    data.prepare(dataclasses.replace(REFERENCE, data_dir=folder))


def inside(path, folder):
    """Yields (name, file) of what an archive has of a folder.  Raises UserError for any other."""
    for name, file in zip_files(path):
        place, _, own = name.partition("/")
        if place != folder or not own or "/" in own:
            raise UserError(f"{path}: holds {name!r}, outside {folder}/: refused. Fetch it again.")
        yield own, file
