"""A folder of eight utterances in LibriSpeech's layout."""

import pytest

from tests.speech_recognition import sounds


@pytest.fixture
def folder(tmp_path):
    """Five utterances that train, three of the test."""
    sounds.write(tmp_path, sounds.TRAIN | sounds.DEV)
    return tmp_path
