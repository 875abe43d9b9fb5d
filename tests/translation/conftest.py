"""What the tests of the text and of the reader start from."""

import pytest

from tests.translation.pairs import ENGLISH, GERMAN, TEST_ENGLISH, TEST_GERMAN, write


@pytest.fixture
def folder(tmp_path):
    """Six training pairs, two test pairs."""
    write(tmp_path, "train", ENGLISH, GERMAN)
    write(tmp_path, "test", TEST_ENGLISH, TEST_GERMAN)
    return tmp_path
