"""LibriSpeech on disk, and an index of its utterances, made once for all runs.

    DATA_DIR/LibriSpeech/SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac
    DATA_DIR/LibriSpeech/SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt    ID TEXT, a line each
    DATA_DIR/index-*/    made by `make`; its name changes with the files and the transcripts

An utterance is a number in a split, by ascending duration; of equal ones, the first by name.
"""

import collections
import functools
import hashlib
import json
import os
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from common.data import folder as folders
from common.data.ragged import Ragged
from common.errors import UserError
from common.files import open_regular
from speech_recognition import alphabet, audio

VERSION = 1              # of the index folder: another number, another folder
SUBSETS = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "test": ("dev-clean", "dev-other"),
}
FLAC, TRANSCRIPTS = ".flac", ".trans.txt"
MAX_TEXT = 1 << 24       # bytes of a chapter's transcripts; LibriSpeech's have some thousand
MAX_LABELS = 50 * audio.MAX_SECONDS  # of an utterance: as many as the network's output steps


@dataclass(frozen=True, eq=False)
class Utterances:
    """A split, by ascending duration.

    samples: int32 [N], by the files' headers.  labels: Ragged, uint8 of 1..28.
    paths: Ragged, uint8: below data_dir, in UTF-8.
    dropped: {symbol outside the alphabet: how often the transcripts have it}.
    """

    samples: np.ndarray
    labels: Ragged
    paths: Ragged
    dropped: dict[str, int]

    def __len__(self):
        return len(self.samples)

    def path(self, number):
        """str: of an utterance's file, below data_dir."""
        return os.fsdecode(self.paths[number].tobytes())

    def transcript(self, number):
        """str: what is said, of the alphabet's symbols alone."""
        return alphabet.decode(self.labels[number])


@dataclass(frozen=True)
class Chapter:
    """One folder of files.

    path: of the folder, and text_path of the transcripts: below data_dir.
    sizes: {id of an utterance: bytes of its file}, sorted.  text: the transcripts.
    """

    path: str
    sizes: dict[str, int]
    text_path: str
    text: str


def chapters(data_dir, split):
    """Yields each Chapter of a split, sorted by subset, speaker and chapter.  Raises UserError."""
    root = os.path.join(data_dir, "LibriSpeech")
    subsets = [name for name in SUBSETS[split] if os.path.isdir(os.path.join(root, name))]
    if not subsets:
        raise UserError(f"{root}: holds none of {', '.join(SUBSETS[split])}. Expected LibriSpeech "
                        f"in --data_dir={data_dir}.")
    for subset in subsets:
        for speaker in inner_folders(os.path.join(root, subset)):
            for path in inner_folders(speaker):
                yield read_chapter(data_dir, path)


def inner_folders(path):
    """[path] of the folders in a folder, sorted.  Raises UserError for a link."""
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_symlink():
            raise UserError(f"{entry.path}: a link. Put the folder itself there.")
    return [entry.path for entry in found if entry.is_dir()]


def read_chapter(data_dir, path):
    """The Chapter of a folder.  Raises UserError for a link, and where it lacks transcripts."""
    sizes, text_paths = {}, []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.endswith((FLAC, TRANSCRIPTS)):
                continue
            if not entry.is_file(follow_symlinks=False):
                raise UserError(f"{entry.path}: a link, or no regular file. Fetch it again.")
            if entry.name.endswith(FLAC):
                size = entry.stat(follow_symlinks=False).st_size
                sizes[entry.name.removesuffix(FLAC)] = size
            else:
                text_paths.append(entry.path)
    if len(text_paths) != 1:
        raise UserError(f"{path}: expected one file *{TRANSCRIPTS}, found {len(text_paths)}. "
                        "Fetch it again.")
    text = read_text(text_paths[0])
    path, text_path = (os.path.relpath(name, data_dir) for name in (path, text_paths[0]))
    return Chapter(path, sizes, text_path, text)


def read_text(path):
    """str: a file of transcripts.  Raises UserError."""
    try:
        with open_regular(path, own=True) as opened:
            content = opened.read(MAX_TEXT + 1)
        if len(content) > MAX_TEXT:
            raise UserError(f"{path}: longer than {MAX_TEXT:,} bytes. Fetch it again.")
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}). Fetch it again.") from None


def survey(data_dir):
    """({split: utterances}, name of the index folder).  Raises UserError.

    The name is of all that the index depends on: names and sizes of the files, and transcripts.
    """
    digest = hashlib.sha256(repr((VERSION, SUBSETS, alphabet.SYMBOLS)).encode())
    counts = {}
    for split in SUBSETS:
        counts[split] = 0
        for chapter in chapters(data_dir, split):
            counts[split] += len(chapter.sizes)
            digest.update(repr(chapter).encode(errors="surrogateescape"))
        if not counts[split]:
            raise UserError(f"{data_dir}: no utterance of {', '.join(SUBSETS[split])}. "
                            "Unpack the dataset again.")
    return counts, f"index-{digest.hexdigest()[:16]}"


def make(data_dir, name):
    """Makes the index folder, once for all runs, whole or not at all.  Raises UserError."""
    advice = "Make room, or start once from a copy of the dataset in a folder that can be written."
    path = os.path.join(data_dir, name)
    folders.make(path, functools.partial(write, data_dir), "the index of utterances", advice)


def write(data_dir, folder):
    """Fills an empty folder: per split SPLIT.samples.npy, and of labels and paths SPLIT.NAME.npy
    with SPLIT.NAME.starts.npy; dropped.json."""
    dropped = {}
    for split in SUBSETS:
        dropped[split] = collections.Counter()
        samples, labels, paths = [], [], []
        for chapter in tqdm(chapters(data_dir, split), desc=f"index of {split}", disable=None,
                            unit=" chapters", delay=2):
            texts = transcripts_of(data_dir, chapter)
            for utterance in chapter.sizes:
                path = os.path.join(chapter.path, utterance + FLAC)
                samples.append(audio.num_samples(os.path.join(data_dir, path), own=True))
                encoded, odd = alphabet.encode(texts[utterance])
                labels.append(encoded)
                paths.append(np.frombuffer(os.fsencode(path), np.uint8))
                dropped[split].update(odd)
        order = np.argsort(samples, kind="stable")
        np.save(os.path.join(folder, f"{split}.samples.npy"), np.array(samples, np.int32)[order])
        for name, items in (("labels", labels), ("paths", paths)):
            items = [items[number] for number in order]
            starts = np.cumsum([0, *map(len, items)], dtype=np.int64)
            np.save(os.path.join(folder, f"{split}.{name}.npy"), np.concatenate(items))
            np.save(os.path.join(folder, f"{split}.{name}.starts.npy"), starts)
    with open(os.path.join(folder, "dropped.json"), "w", encoding="ascii") as opened:
        json.dump(dropped, opened)


def transcripts_of(data_dir, chapter):
    """{id: text} of a chapter.  Raises UserError where it does not fit the chapter's files."""
    path = os.path.join(data_dir, chapter.text_path)
    texts = {}
    for number, line in enumerate(chapter.text.split("\n"), 1):
        if not line.strip():
            continue
        utterance, _, text = line.strip().partition(" ")
        labels, _ = alphabet.encode(text)
        fault = ("has a second transcript" if utterance in texts
                 else "has no .flac" if utterance not in chapter.sizes
                 else "has no letter of the alphabet" if not alphabet.decode(labels).strip()
                 else f"has more than {MAX_LABELS:,} letters" if len(labels) > MAX_LABELS
                 else "")
        if fault:
            raise UserError(f"{path}:{number}: {utterance[:40]!r} {fault}. Expected ID TEXT. "
                            "Fetch it again.")
        texts[utterance] = text
    for utterance in chapter.sizes:
        if utterance not in texts:
            raise UserError(f"{path}: {utterance[:40]!r} has no transcript. Fetch it again.")
    return texts


@functools.lru_cache(maxsize=4)
def load_from(folder, split):
    """The Utterances of an index folder's split, left on disk but for the numbers."""
    def array(name, mode=None):
        return np.load(os.path.join(folder, f"{split}.{name}.npy"), mmap_mode=mode)

    labels, paths = (Ragged(array(name, "r"), array(f"{name}.starts"))
                     for name in ("labels", "paths"))
    with open(os.path.join(folder, "dropped.json"), encoding="ascii") as opened:
        dropped = json.load(opened)[split]
    return Utterances(array("samples"), labels, paths, dropped)


def load(config, split):
    """load_from of a prepared config."""
    return load_from(os.path.join(config.data_dir, config.index), split)
