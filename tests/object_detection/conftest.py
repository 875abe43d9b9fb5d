"""A folder of seven and three pictures in COCO's layout."""

import pytest

from tests.object_detection import scenes


@pytest.fixture
def folder(tmp_path):
    """Of the seven, four are to be trained on."""
    return scenes.write(tmp_path)
