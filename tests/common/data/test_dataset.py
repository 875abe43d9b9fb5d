"""A dataset's folder and counts: found, or one line that says what to do."""

from dataclasses import dataclass

import pytest

from common.data.dataset import with_counts, with_folder
from common.errors import UserError


@dataclass(frozen=True)
class Config:
    profile: str = "quick"
    data_dir: str = ""
    num_train_birds: int | None = 1_200
    vocabulary_size: int | None = None


def no_embedded_data():
    raise AssertionError("asked for")


@pytest.mark.parametrize("profile", ["quick", "reference"])
def test_the_users_folder_is_taken(profile):
    config = Config(profile, "/birds")
    assert with_folder(config, "ornithology", "birds", no_embedded_data) == config


def test_the_quick_profile_has_its_own_data():
    found = with_folder(Config(), "ornithology", "birds", lambda: "/cache")
    assert found == Config("quick", "/cache")


def test_the_reference_needs_a_folder():
    with pytest.raises(UserError) as caught:
        with_folder(Config("reference"), "ornithology", "birds", no_embedded_data)
    assert str(caught.value) == (
        "the reference profile needs --data_dir=FOLDER with birds in it. "
        "ornithology/download_dataset.sh FOLDER fetches it."
    )


def test_counts_that_are_expected_or_open():
    counts = {"num_train_birds": 1_200, "vocabulary_size": 7}
    found = with_counts(Config(), "/birds", counts)
    assert (found.num_train_birds, found.vocabulary_size) == (1_200, 7)
    assert with_counts(Config(num_train_birds=None), "/birds", {"num_train_birds": 3}) == Config(
        num_train_birds=3
    )


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ({"num_train_birds": 1_200}, 12_345, "expected 1,200 for train birds, found 12,345"),
        ({"vocabulary_size": 0}, 7, "expected 0 for vocabulary size, found 7"),
    ],
)
def test_other_counts_are_named(expected, found, words):
    [field] = expected
    with pytest.raises(UserError) as caught:
        with_counts(Config(**expected), "/birds/train", {field: found})
    assert str(caught.value) == (
        f"/birds/train: {words}. Let verify_dataset.sh check the folder, or say "
        f"--set {field}=None for a dataset of your own."
    )
