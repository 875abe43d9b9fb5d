"""The file of MovieLens-20M and how it becomes a folder.  Sum: MLPerf v0.5's verify_dataset.sh."""

import os

from common.data.archive import write_all, zip_files
from common.data.download import Archive

TERMS = None  # free for research; its README.txt, unpacked beside the data, says what for
NAME = "ml-20m.zip"

ARCHIVES = (
    Archive(
        NAME,
        (
            f"https://files.grouplens.org/datasets/movielens/{NAME}",
            f"http://files.grouplens.org/datasets/movielens/{NAME}",
        ),
        {"md5": "cd245b17a1ae2cc31bb14903e1204af3"},
    ),
)


def unpack(archives, folder):
    """Writes ml-20m/ratings.csv and README.txt, which tells the licence."""
    target = os.path.join(folder, "ml-20m")
    if os.path.exists(target):
        return
    wanted = ("ml-20m/ratings.csv", "ml-20m/README.txt")
    files = ((os.path.basename(name), file) for name, file in zip_files(archives[NAME])
             if name in wanted)
    write_all(files, target)
