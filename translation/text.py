"""Parallel text on disk: files, lines, and their pieces, encoded once for all runs.

    DATA_DIR/NAME.en and DATA_DIR/NAME.de, UTF-8, a sentence a line: line n of one translates line
    n of the other.  NAME is train_name or test_name of the config.

    DATA_DIR/encoded-*/ with the vocabulary and the pieces, made by `encode`.
"""

import functools
import hashlib
import os

import numpy as np

from common.data import folder
from common.data.ragged import Ragged
from common.errors import UserError
from common.files import open_regular
from translation import vocabulary

VERSION = 1                      # of the encoded folder: another number, another folder
LANGUAGES = ("en", "de")         # source, target
SPLITS = ("train", "test")
VOCABULARY_PAIRS = 500_000       # the vocabulary is learnt from about as many, evenly taken
CHUNK = 1 << 14                  # sentences encoded at once


def path_of(config, split, language):
    """The file of one language of a split."""
    return os.path.join(config.data_dir, f"{getattr(config, split + '_name')}.{language}")


def survey(config):
    """({field of config: count}, name of the encoded folder).  Raises UserError.

    The name changes with all that the folder's content depends on: the text and the vocabulary.
    """
    digest = hashlib.sha256(repr((VERSION, config.vocabulary_size)).encode())
    counts = {}
    for split in SPLITS:
        found = []
        for language in LANGUAGES:
            path = path_of(config, split, language)
            count, text_sum = count_lines(path)
            digest.update(text_sum)
            found.append(count)
        if found[0] != found[1]:
            paths = [path_of(config, split, language) for language in LANGUAGES]
            raise UserError(
                f"{paths[0]} has {found[0]:,} lines, {paths[1]} has {found[1]:,}: expected the "
                "same number. Unpack the dataset again."
            )
        if not found[0]:
            raise UserError(f"{path_of(config, split, 'en')}: no line in this file.")
        counts[split] = found[0]
    fields = {"num_train_pairs": counts["train"], "num_eval_sentences": counts["test"]}
    return fields, f"encoded-{digest.hexdigest()[:16]}"


def count_lines(path):
    """(lines, sha256 as bytes) of a file.  Raises UserError."""
    digest, count, last = hashlib.sha256(), 0, b"\n"
    try:
        with open_regular(path) as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
                count += chunk.count(b"\n")
                last = chunk
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file. Expected NAME.en and NAME.de in --data_dir; --set "
            "train_name=NAME and --set test_name=NAME say which."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    return count + (not last.endswith(b"\n")), digest.digest()


def read_lines(path, every=1):
    """Yields each line of a file, or every n-th; see lines."""
    with open_regular(path) as opened:
        yield from lines(opened, path, every)


def lines(opened, name, every=1):
    """Yields each line of a binary file, or every n-th, without white space at its ends.

    A line ends with "\n" alone.  The corpora hold other characters that Unicode calls an end of
    line; to split there would pair wrong lines of the two languages.  Raises UserError.
    """
    for number, line in enumerate(opened):
        if number % every == 0:
            try:
                yield line.decode().strip()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{name}, line {number + 1:,}: not UTF-8 ({error.reason}). "
                    "Unpack the dataset again."
                ) from None


def encode(config):
    """Makes the encoded folder, once for all runs, whole or not at all.  Raises UserError.

    vocabulary.model, and for each split and language a Ragged: SPLIT.LANGUAGE.npy with the pieces,
    uint16 or int32, END after each sentence, and SPLIT.LANGUAGE.starts.npy.
    """
    path = os.path.join(config.data_dir, config.encoded)
    advice = "Make room, or start once from a copy of the dataset in a folder that can be written."
    folder.make(path, functools.partial(write_encoded, config), "the encoded text", advice)


def write_encoded(config, folder):
    """Fills an empty folder, with one language's pieces in memory at a time."""
    model = os.path.join(folder, "vocabulary.model")
    every = -(-config.num_train_pairs // VOCABULARY_PAIRS)
    sample = (
        line
        for language in LANGUAGES
        for line in read_lines(path_of(config, "train", language), every)
    )
    with open(model, "wb") as opened:
        opened.write(vocabulary.learn(sample, config.vocabulary_size))
    processor = vocabulary.load(model)
    dtype = np.uint16 if config.vocabulary_size <= 1 << 16 else np.int32
    for split in SPLITS:
        for language in LANGUAGES:
            pieces, lengths = [], [np.zeros(1, np.int64)]
            for texts in chunks(read_lines(path_of(config, split, language))):
                encoded = processor.encode(texts, add_eos=True)
                lengths.append(np.array([len(sentence) for sentence in encoded], np.int64))
                flat = (piece for sentence in encoded for piece in sentence)
                pieces.append(np.fromiter(flat, dtype, count=lengths[-1].sum()))
            name = os.path.join(folder, f"{split}.{language}")
            np.save(f"{name}.npy", np.concatenate(pieces))
            np.save(f"{name}.starts.npy", np.cumsum(np.concatenate(lengths)))


def chunks(texts):
    """Yields lists of CHUNK texts, the last one shorter."""
    found = []
    for text in texts:
        found.append(text)
        if len(found) == CHUNK:
            yield found
            found = []
    if found:
        yield found


@functools.lru_cache(maxsize=4)
def load_encoded(folder, split):
    """(source, target) of an encoded folder's split: the Ragged pieces, left on disk."""
    sides = []
    for language in LANGUAGES:
        name = os.path.join(folder, f"{split}.{language}")
        pieces = np.load(f"{name}.npy", mmap_mode="r")
        sides.append(Ragged(pieces, np.load(f"{name}.starts.npy")))
    return tuple(sides)


def load(config, split):
    """load_encoded of a prepared config."""
    return load_encoded(os.path.join(config.data_dir, config.encoded), split)


def processor(config):
    """The vocabulary of a prepared config: see vocabulary.load."""
    return vocabulary.load(os.path.join(config.data_dir, config.encoded, "vocabulary.model"))


@functools.lru_cache(maxsize=1)
def references(config):
    """[str]: the test set's right translations, as their file has them."""
    return list(read_lines(path_of(config, "test", "de")))
