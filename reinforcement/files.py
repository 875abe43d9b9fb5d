"""The four games of professionals that the reference predicts.

Sums: of the files at the tag v0.5 of MLCommons' repository, which is under Apache-2.0.
"""

import os
import shutil

from common.data.download import Archive

TERMS = None

FOLDER = ("https://raw.githubusercontent.com/mlcommons/training/v0.5/reinforcement/tensorflow/"
          "minigo/benchmark_sgf")  # fmt: skip


def archive(name, size, sha256):
    """The Archive of a game."""
    return Archive(name, (f"{FOLDER}/{name}",), {"sha256": sha256}, size)


ARCHIVES = (
    archive("9x9_pro_YKSH.sgf", 378,
            "5cb52058e21284b7b0306f29462b9ca09d4da729c7eebf25b88ce9291fbcb571"),
    archive("9x9_pro_IYMD.sgf", 498,
            "654fd67a1cfc0ed7278eed8e766ba8b90b232f418173523c26dc7efffdb7adc9"),
    archive("9x9_pro_YSIY.sgf", 408,
            "80077ea05c80f8f21208a1dc7bfc563753344ece65ea43fbb9e20a2d6cd09965"),
    archive("9x9_pro_IYHN.sgf", 306,
            "486a6c67885354dfa31bcc16fc4a17e83ada40b9fd43600b4245b04e3df09314"),
)  # fmt: skip


def unpack(archives, folder):
    """Copies the games to sgf/."""
    os.makedirs(os.path.join(folder, "sgf"), exist_ok=True)
    for name, path in archives.items():
        part = os.path.join(folder, f"{name}.part")
        shutil.copyfile(path, part)
        os.replace(part, os.path.join(folder, "sgf", name))
