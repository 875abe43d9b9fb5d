"""Small LibriSpeech folders: sounds of noise in its layout, and the quick config on them."""

import dataclasses

import numpy as np
import soundfile

from speech_recognition.audio import SAMPLE_RATE
from speech_recognition.config import QUICK

# {subset: {chapter: [(seconds, text)]}}
TRAIN = {
    "train-clean-100": {"19-198": [(0.9, "NORTHANGER ABBEY"), (0.5, "don't")]},
    "train-other-500": {"20-205": [(0.7, "THIS LITTLE WORK"), (1.3, "It's 1 café-bar!"),
                                   (0.2, "A")]},
}
DEV = {"dev-clean": {"84-121": [(0.6, "GO"), (0.4, "DO YOU")]},
       "dev-other": {"116-288": [(0.5, "AS I")]}}  # fmt: skip


def noise(seconds, seed=0):
    """int16 [N]: coloured noise."""
    rng = np.random.default_rng([seed, int(seconds * 1000)])
    white = rng.normal(0, 1500, round(seconds * SAMPLE_RATE) + 1)
    return (white[1:] + 0.8 * white[:-1]).astype(np.int16)


def write(folder, subsets):
    """Writes chapters; returns the path of the chapters' folders by name."""
    found = {}
    for subset, chapters in subsets.items():
        for chapter, utterances in chapters.items():
            path = folder.joinpath("LibriSpeech", subset, *chapter.split("-"))
            path.mkdir(parents=True)
            lines = []
            for number, (seconds, text) in enumerate(utterances):
                name = f"{chapter}-{number:04}"
                soundfile.write(path / f"{name}.flac", noise(seconds, number), SAMPLE_RATE)
                lines.append(f"{name} {text}\n")
            (path / f"{chapter}.trans.txt").write_text("".join(lines), encoding="utf-8")
            found[chapter] = path
    return found


def own(folder, **changes):
    """The quick config on a folder, batches of two, with augmentation."""
    return dataclasses.replace(QUICK, **{"seed": 1, "batch_size": 2, "augment": True} | changes,
                               data_dir=str(folder))
