"""The text on disk: lines and the encoded folder; faults of the user by one line."""

import dataclasses
import os
import re
import stat
from unittest import mock

import numpy as np
import pytest

from common.errors import UserError
from tests.translation.pairs import ENGLISH, GERMAN, TEST_GERMAN, own, write
from translation import data, text, vocabulary


def test_a_folder_is_found_counted_and_encoded(folder):
    config = data.prepare(own(folder))
    assert (config.num_train_pairs, config.num_eval_sentences) == (6, 2)
    sources, targets = text.load(config, "train")
    for side, expected in ((sources, ENGLISH), (targets, GERMAN)):
        assert side.values.dtype == np.uint16
        assert isinstance(side.values, np.memmap)
        found = [pieces.tolist() for pieces in side]
        assert all(pieces[-1] == 1 and 1 not in pieces[:-1] for pieces in found)
        assert [text.processor(config).decode(pieces) for pieces in found] == expected
    assert text.references(config) == TEST_GERMAN


def test_a_large_vocabulary_needs_more_than_two_bytes(folder):
    config = dataclasses.replace(own(folder), encoded="encoded-by-hand", num_train_pairs=6)
    config = dataclasses.replace(config, vocabulary_size=70_000)
    inside = folder / "encoded-by-hand"
    inside.mkdir()
    small = vocabulary.learn(ENGLISH + GERMAN, 300)
    with mock.patch.object(vocabulary, "learn", return_value=small):
        text.write_encoded(config, str(inside))
    assert text.load(config, "train")[0].values.dtype == np.int32


def test_the_encoded_folder_is_made_once_and_for_its_content(folder):
    first = data.prepare(own(folder))
    model = folder / first.encoded / "vocabulary.model"
    assert stat.S_IMODE(os.stat(model.parent).st_mode) == 0o755
    before = os.stat(model).st_mtime_ns
    assert data.prepare(own(folder)) == first
    assert os.stat(model).st_mtime_ns == before
    assert data.prepare(own(folder, vocabulary_size=301)).encoded != first.encoded
    german = (folder / "train.de").read_text()
    (folder / "train.de").write_text(german.replace("Zwei", "Drei"))
    assert data.prepare(own(folder)).encoded != first.encoded
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


def test_one_process_may_be_first(folder):
    """The other's folder stands; this one's is thrown away."""
    written = text.write_encoded

    def slow(config, inside):
        written(config, inside)
        if not os.path.exists(os.path.join(config.data_dir, config.encoded)):
            with mock.patch.object(text, "write_encoded", written):
                text.encode(config)

    with mock.patch.object(text, "write_encoded", slow):
        config = data.prepare(own(folder))
    assert data.prepare(own(folder)) == config
    assert sum(name.startswith("encoded-") for name in os.listdir(folder)) == 1


def test_a_failure_leaves_nothing(folder):
    def full(config, inside):
        raise OSError(28, "No space left on device")

    with (
        mock.patch.object(text, "write_encoded", full),
        pytest.raises(UserError, match=r"cannot write the encoded text here .No space left"),
    ):
        data.prepare(own(folder))
    assert not [name for name in os.listdir(folder) if re.match(r"encoded|.*\.part$", name)]


def test_a_folder_that_is_read_only_is_named(folder):
    def refused(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    with (
        mock.patch("tempfile.mkdtemp", refused),  # root, who runs some tests, may write anywhere
        pytest.raises(UserError, match=r"cannot write the encoded text here .Permission denied"),
    ):
        data.prepare(own(folder))


def test_lines_end_with_the_line_feed_alone(folder):
    """Unicode's other ends of a line stay inside; white space at a line's ends does not."""
    odd = ["a\u2028b", "c\x85d", "e\rf", "\u00a0 g \r", "h\x0bi", "j\x1ck"]
    write(folder, "train", odd, GERMAN)
    assert list(text.read_lines(folder / "train.en")) == [*odd[:3], "g", *odd[4:]]
    assert data.prepare(own(folder)).num_train_pairs == 6


def test_every_nth_line(folder):
    path = folder / "train.en"
    assert list(text.read_lines(path, 4)) == [ENGLISH[0], ENGLISH[4]]
    path.write_bytes(b"1\n\xff\n3\n\xff\n")
    assert list(text.read_lines(path, 2)) == ["1", "3"]
    with pytest.raises(UserError, match="line 4: not UTF-8"):
        list(text.read_lines(path, 3))


def test_the_last_line_may_lack_its_line_feed(folder):
    for language in ("en", "de"):
        path = folder / f"test.{language}"
        path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert data.prepare(own(folder)).num_eval_sentences == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "train.de").unlink(), "train.de: no such file"),
        (lambda f: (f / "test.en").unlink(), "test.en: no such file"),
        (lambda f: (f / "train.de").write_text("eins\nzwei\n"),
         "train.en has 6 lines, "),
        (lambda f: (f / "train.de").write_bytes(b"1\n2\n\xff\xfe\n4\n5\n6\n"),
         "train.de, line 3: not UTF-8"),
        (lambda f: (f / "test.de").write_bytes(b"1\nM\xe4nner\n"), "test.de, line 2: not UTF-8"),
        (lambda f: [(f / f"train.{n}").write_text("") for n in ("en", "de")],
         "train.en: no line in this file"),
        (lambda f: [(f / "train.en").unlink(), (f / "train.en").mkdir()],
         "train.en: cannot be read"),
    ],
    ids=["no German", "no test", "lines lack", "another encoding", "Latin-1", "empty", "a folder"],
)  # fmt: skip
def test_a_damaged_folder_is_named(folder, damage, words):
    damage(folder)
    with pytest.raises(UserError) as caught:
        data.prepare(own(folder))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [name for name in os.listdir(folder) if re.match(r"encoded|.*\.part$", name)]
