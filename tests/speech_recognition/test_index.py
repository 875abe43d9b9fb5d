"""The index of utterances: what it holds, when it is made again, and every fault of the files."""

import dataclasses
import os

import numpy as np
import pytest

from common.errors import UserError
from speech_recognition import audio, data, index
from speech_recognition.config import REFERENCE
from tests.speech_recognition import sounds


def prepared(folder, **changes):
    return data.prepare(sounds.own(folder, **changes))


def fails(match, folder, **changes):
    with pytest.raises(UserError, match=match) as caught:
        prepared(folder, **changes)
    assert "\n" not in str(caught.value)
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


def chapter(folder, name):
    subset = {"19-198": "train-clean-100", "20-205": "train-other-500"}[name]
    return folder.joinpath("LibriSpeech", subset, *name.split("-"))


def test_utterances_come_by_duration(folder, capsys):
    config = prepared(folder)
    train, test = (index.load(config, split) for split in ("train", "test"))
    assert train.samples.tolist() == [3200, 8000, 11200, 14400, 20800]
    assert [train.transcript(number) for number in range(5)] == [
        "A", "DON'T", "THIS LITTLE WORK", "NORTHANGER ABBEY", "IT'S  CAFBAR",
    ]  # fmt: skip
    assert train.path(0) == "LibriSpeech/train-other-500/20/205/20-205-0002.flac"
    assert [test.transcript(number) for number in range(3)] == ["DO YOU", "AS I", "GO"]
    for utterances in (train, test):
        for number, samples in enumerate(utterances.samples):
            assert audio.num_samples(str(folder / utterances.path(number))) == samples
    # What the alphabet lacks is counted, and said in a line.
    assert train.dropped == {"1": 1, "É": 1, "-": 1, "!": 1} and test.dropped == {}
    [line] = capsys.readouterr().err.splitlines()
    assert "left out of the transcripts of train, outside the alphabet: 1 '!', 1 '-'" in line


def test_equal_durations_keep_the_order_of_their_names(tmp_path):
    words = [f"A{'B' * number}" for number in range(40)]  # a few are sorted stably in any case
    texts = [(0.5 - number % 2 / 10, word) for number, word in enumerate(words)]
    chapters = {"2-1": texts[20:], "10-1": texts[:20]}
    sounds.write(tmp_path, {"train-clean-100": chapters} | sounds.DEV)
    train = index.load(prepared(tmp_path), "train")
    assert [train.transcript(n) for n in range(40)] == words[1::2] + words[::2]


def test_counts(folder):
    config = prepared(folder)
    assert (config.num_train_utterances, config.num_eval_utterances) == (5, 3)
    fails("LibriSpeech: expected 6 for train utterances, found 5", folder, num_train_utterances=6)
    reference = dataclasses.replace(REFERENCE, seed=1, data_dir=str(folder))
    with pytest.raises(UserError, match="expected 281,241 for train utterances, found 5"):
        data.prepare(reference)
    small = dataclasses.replace(reference, num_train_utterances=None)
    with pytest.raises(UserError, match="expected 5,567 for eval utterances, found 3"):
        data.prepare(small)
    with pytest.raises(UserError, match="the reference profile needs --data_dir"):
        data.prepare(dataclasses.replace(reference, data_dir=""))


def headers_read(monkeypatch):
    """A list that gets the path of each header that is read."""
    found, real = [], audio.num_samples
    monkeypatch.setattr(audio, "num_samples",
                        lambda path, own: found.append(path) or real(path, own))
    return found


def test_it_is_made_once(folder, monkeypatch):
    found = headers_read(monkeypatch)
    name = prepared(folder).index
    assert len(found) == 8
    assert prepared(folder).index == name and len(found) == 8


@pytest.mark.parametrize("change", ["added", "removed", "changed", "text"])
def test_it_is_made_again_where_the_files_changed(folder, change, monkeypatch):
    before = prepared(folder)
    path = chapter(folder, "20-205")
    trans = path / "20-205.trans.txt"
    text = trans.read_text(encoding="utf-8")
    if change == "added":
        (path / "20-205-0003.flac").write_bytes((path / "20-205-0000.flac").read_bytes())
        trans.write_text(f"{text}20-205-0003 NEW\n", encoding="utf-8")
    elif change == "removed":
        (path / "20-205-0002.flac").unlink()
        trans.write_text(text.replace("20-205-0002 A\n", ""), encoding="utf-8")
    elif change == "changed":
        (path / "20-205-0001.flac").write_bytes((path / "20-205-0000.flac").read_bytes())
    else:
        trans.write_text(text.replace("WORK", "WORD"), encoding="utf-8")
    found = headers_read(monkeypatch)
    after = prepared(folder)
    assert after.index != before.index and len(found) >= 7
    train = index.load(after, "train")
    expected = {"added": [3200, 8000, 11200, 11200, 14400, 20800],
                "removed": [8000, 11200, 14400, 20800],
                "changed": [3200, 8000, 11200, 11200, 14400]}  # fmt: skip
    assert train.samples.tolist() == expected.get(change, [3200, 8000, 11200, 14400, 20800])
    assert change != "text" or train.transcript(2) == "THIS LITTLE WORD"


def test_a_damaged_index_is_made_again(folder):
    config = prepared(folder)
    path = folder / config.index / "train.samples.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    index.load_from.cache_clear()
    assert prepared(folder).index == config.index
    assert path.read_bytes() == content


def test_a_file_that_changed_since_is_named(folder):
    """Of the same size, so that the index is not made again: seen when it is read."""
    config = prepared(folder)
    path = folder / index.load(config, "train").path(1)
    size = path.stat().st_size
    shorter = chapter(folder, "20-205") / "20-205-0002.flac"
    path.write_bytes(shorter.read_bytes().ljust(size, b"\0"))
    assert prepared(folder).index == config.index
    with pytest.raises(UserError, match=rf"{path.name}: changed since it was indexed|damaged"):
        list(data.batches(config, "train", 1).stream())


def test_it_is_whole_or_not_at_all(folder):
    (chapter(folder, "20-205") / "20-205-0001.flac").write_bytes(b"fLaC")
    fails(r"20-205-0001\.flac: damaged sound", folder)
    assert not [name for name in os.listdir(folder) if name.startswith("index")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(folder):
    folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot write the index of utterances here"):
            prepared(folder)
    finally:
        folder.chmod(0o700)


# Faults of the files.


def test_what_is_no_librispeech(tmp_path):
    fails("LibriSpeech: holds none of train-clean-100, .* Expected LibriSpeech in", tmp_path)
    (tmp_path / "LibriSpeech" / "train-clean-100").mkdir(parents=True)
    fails("no utterance of train-clean-100", tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("19-198-0000 A\n", ": '19-198-0001' has no transcript"),
        ("19-198-0000 A\n19-198-0001 B\n19-198-0002 C\n", r":3: '19-198-0002' has no \.flac"),
        ("19-198-0000 A\n19-198-0001\n", ":2: '19-198-0001' has no letter of the alphabet"),
        ("19-198-0000 A\n19-198-0001  \n", ":2: '19-198-0001' has no letter"),
        ("19-198-0000 A\n19-198-0001 1234\n", ":2: '19-198-0001' has no letter"),
        ("19-198-0000 A\n19-198-0001 1 2\n", ":2: '19-198-0001' has no letter"),
        ("19-198-0000 A\n19-198-0001 " + "AB " * 1001, ":2: '19-198-0001' has more than 3,000 l"),
        ("19-198-0000 A\n19-198-0000 B\n", ":2: '19-198-0000' has a second transcript"),
        ("19-198-0000 A\n19-198-0001 \xff\n", ": not UTF-8"),
        ("\n", ": '19-198-0000' has no transcript"),
        ("\x1b[2J\0 X\n", r":1: '\\x1b.*has no \.flac"),
    ],
)
def test_transcripts_that_do_not_fit(folder, text, match):
    path = chapter(folder, "19-198") / "19-198.trans.txt"
    path.write_bytes(text.encode("latin-1"))
    fails(r"train-clean-100/19/198/19-198\.trans\.txt" + match, folder)


def test_transcripts_without_end_take_no_memory(folder):
    os.truncate(chapter(folder, "19-198") / "19-198.trans.txt", 1 << 40)
    fails(r"19-198\.trans\.txt: longer than 16,777,216 bytes", folder)


def test_a_chapter_has_one_file_of_transcripts(folder):
    path = chapter(folder, "19-198") / "19-198.trans.txt"
    (path.parent / "more.trans.txt").write_bytes(path.read_bytes())
    fails(r"train-clean-100/19/198: expected one file \*\.trans\.txt, found 2", folder)
    for name in ("more.trans.txt", path.name):
        (path.parent / name).unlink()
    fails(r"train-clean-100/19/198: expected one file \*\.trans\.txt, found 0", folder)


def test_windows_ends_of_lines(folder):
    path = chapter(folder, "19-198") / "19-198.trans.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert index.load(prepared(folder), "train").transcript(1) == "DON'T"


@pytest.mark.parametrize("name", ["19-198-0001.flac", "19-198.trans.txt", ""])
def test_links_are_refused(folder, tmp_path_factory, name):
    path = chapter(folder, "19-198") / name
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    fails(f"{path.name}: a link", folder)


def test_a_subset_may_lie_elsewhere(folder, tmp_path_factory):
    """The one link that a user has reason for: to another disk."""
    path = folder / "LibriSpeech" / "train-clean-100"
    elsewhere = tmp_path_factory.mktemp("disk") / path.name
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert prepared(folder).num_train_utterances == 5


@pytest.mark.parametrize("name", ["19-198-0001.flac", "19-198.trans.txt"])
def test_a_pipe_is_refused(folder, name):
    path = chapter(folder, "19-198") / name
    path.unlink()
    os.mkfifo(path)
    fails(f"{name}: a link, or no regular file", folder)


def test_other_files_are_passed_over(folder):
    (chapter(folder, "19-198") / "notes.md").write_text("no sound")
    (folder / "LibriSpeech" / "SPEAKERS.TXT").write_text("; none\n")
    (folder / "LibriSpeech" / "test-clean").mkdir()
    assert prepared(folder).num_train_utterances == 5


def test_the_real_digits(unpacked):
    """As many utterances, seconds and words as their README says."""
    folder = unpacked("speech_recognition")
    config = prepared(folder)
    assert (config.num_train_utterances, config.num_eval_utterances) == (320, 60)
    for split, seconds in (("train", 799), ("test", 148)):
        utterances = index.load(config, split)
        assert round(utterances.samples.sum() / audio.SAMPLE_RATE) == seconds
        assert (np.diff(utterances.samples) >= 0).all() and not utterances.dropped
        words = {word for n in range(len(utterances)) for word in utterances.transcript(n).split()}
        assert len(words) == 10
