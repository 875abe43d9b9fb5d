"""The file of IMDB's reviews (Maas et al. 2011) and how it becomes folders.

Sum: MLPerf v0.5's verify.py and paddle.dataset.imdb, which agree.
"""

import os

from common.data.archive import tar_files, write_all
from common.data.download import Archive

TERMS = None
NAME = "aclImdb_v1.tar.gz"

ARCHIVES = (
    Archive(
        NAME,
        (
            f"https://ai.stanford.edu/~amaas/data/sentiment/{NAME}",
            f"http://ai.stanford.edu/~amaas/data/sentiment/{NAME}",
            f"https://dataset.bj.bcebos.com/imdb%2F{NAME}",
        ),
        {"md5": "7c2ac02c03563afcf9b574c7e56c153a"},
    ),
)


def unpack(archives, folder):
    """Writes aclImdb/{train,test}/{pos,neg}/*.txt; the unlabelled reviews stay in the archive."""
    target = os.path.join(folder, "aclImdb")
    if os.path.exists(target):
        return
    kept = {f"aclImdb/{split}/{label}" for split in ("train", "test") for label in ("pos", "neg")}
    files = ((name.removeprefix("aclImdb/"), file) for name, file in tar_files(archives[NAME])
             if os.path.dirname(name) in kept)
    write_all(files, target)
