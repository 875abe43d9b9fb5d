"""The files of ILSVRC2012 ("ImageNet"), and how the official archives become class folders.

Sums: torchvision's datasets/imagenet.py.
"""

import io
import os

import numpy as np
import scipy.io

from common.data.archive import tar_files, write_all
from common.data.download import Archive
from common.errors import UserError

TERMS = (
    "ImageNet is free for research and teaching alone, to whoever has an account and has accepted "
    "its terms: https://image-net.org/download.php."
)
HOST = "https://image-net.org/data/ILSVRC/2012"
TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"

ARCHIVES = (
    Archive(DEVKIT, (f"{HOST}/{DEVKIT}",), {"md5": "fa75699e90414af021442c21a62c3abf"}),
    Archive(VAL, (f"{HOST}/{VAL}",), {"md5": "29b22e2961454d5413ddabcf34fc5622"}, 6_744_924_160),
    Archive(
        TRAIN, (f"{HOST}/{TRAIN}",), {"md5": "1d675b47d978889d74fa0da5fadfb00e"}, 147_897_477_120
    ),
)


def unpack(archives, folder):
    """Writes train/<wnid>/*.JPEG and val/<wnid>/*.JPEG.  Goes on where it was cut off."""
    val, train = os.path.join(folder, "val"), os.path.join(folder, "train")
    if not os.path.exists(val):
        labels = validation_labels(archives[DEVKIT])
        write_all(sorted_by_class(archives[VAL], labels), val)
    if not os.path.exists(train):
        part = f"{train}.unpacking.part"
        for name, file in tar_files(archives[TRAIN]):
            wnid = name.removesuffix(".tar")
            if not os.path.exists(os.path.join(part, wnid)):
                images = ((os.path.basename(n), f) for n, f in tar_files(file, f"{TRAIN}: {name}"))
                write_all(images, os.path.join(part, wnid))
        os.replace(part, train)


def sorted_by_class(archive, labels):
    """Yields (wnid/name, file) of each validation image.  Raises UserError for one too many."""
    count = 0
    for name, file in tar_files(archive):
        name = os.path.basename(name)
        number = name.removesuffix(".JPEG").rpartition("_")[2]  # ILSVRC2012_val_00000001.JPEG
        if not number.isdigit() or not 1 <= int(number) <= len(labels):
            raise UserError(f"{archive}: {name}: expected a number from 1 to {len(labels):,}.")
        count += 1
        yield f"{labels[int(number) - 1]}/{name}", file
    if count != len(labels):
        raise UserError(f"{archive}: expected {len(labels):,} images, found {count:,}.")


def validation_labels(devkit):
    """[wnid] of the validation images in the order of their numbers.

    The ground truth gives ILSVRC2012_IDs; meta.mat says which wnid each is.  A synset with children
    is no class.
    """
    wanted = {"meta.mat": None, "ILSVRC2012_validation_ground_truth.txt": None}
    for name, file in tar_files(devkit):
        if os.path.basename(name) in wanted:
            wanted[os.path.basename(name)] = file.read()
    for name, content in wanted.items():
        if content is None:
            raise UserError(f"{devkit}: expected {name} in it. Fetch it again.")
    meta, truth = wanted.values()
    synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    wnids = {
        int(synset["ILSVRC2012_ID"]): str(synset["WNID"])
        for synset in np.atleast_1d(synsets)
        if int(synset["num_children"]) == 0
    }
    return [wnids[int(line)] for line in truth.decode().split()]
