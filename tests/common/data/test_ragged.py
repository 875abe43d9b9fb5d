"""Arrays of different lengths, by hand."""

import numpy as np
import pytest

from common.data.ragged import Ragged

SENTENCES = Ragged(np.array([7, 8, 9, 5, 6], np.uint16), np.array([0, 3, 3, 5]))


def test_items_and_lengths():
    assert len(SENTENCES) == 3
    assert [SENTENCES[n].tolist() for n in range(3)] == [[7, 8, 9], [], [5, 6]]
    assert [item.tolist() for item in SENTENCES] == [[7, 8, 9], [], [5, 6]]
    assert SENTENCES.lengths().tolist() == [3, 0, 2]


@pytest.mark.parametrize("number", [-1, 3])
def test_there_is_no_other_item(number):
    with pytest.raises(IndexError):
        SENTENCES[number]


def test_items_are_filled_with_zeros():
    filled = SENTENCES.fill(np.array([2, -4, 0, 1, 2]), 4, np.int32)
    assert filled.dtype == np.int32
    assert filled.tolist() == [
        [5, 6, 0, 0],
        [0, 0, 0, 0],
        [7, 8, 9, 0],
        [0, 0, 0, 0],
        [5, 6, 0, 0],
    ]


def test_sounds_are_filled_alike():
    sounds = Ragged(np.array([0.5, -0.25, 1.0], np.float32), np.array([0, 1, 3]))
    filled = sounds.fill(np.array([0, 1]), 2, np.float32)
    assert filled.dtype == np.float32
    assert filled.tolist() == [[0.5, 0.0], [-0.25, 1.0]]


def test_no_item_is_cut():
    assert SENTENCES.fill(np.array([0]), 3, np.int32).tolist() == [[7, 8, 9]]
    with pytest.raises(ValueError, match="could not broadcast"):
        SENTENCES.fill(np.array([0]), 2, np.int32)
