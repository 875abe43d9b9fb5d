"""The embedded images: the same everywhere, and beyond a linear model."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from image_classification import data, quick_data
from image_classification.config import QUICK


@pytest.fixture(scope="module")
def written():
    """The config of the embedded data."""
    return data.prepare(dataclasses.replace(QUICK, seed=1))


def test_counts(written):
    assert (written.num_train_images, written.num_eval_images) == (4000, 1000)
    for split, count in (("train", 400), ("test", 100)):
        _, labels = data.list_images(written.data_dir, split, written.num_classes)
        assert np.bincount(labels).tolist() == [count] * quick_data.NUM_CLASSES


def test_files_are_jpegs_of_many_sizes(written):
    paths, _ = data.list_images(written.data_dir, "test", written.num_classes)
    sizes = set()
    for path in paths[::20]:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            sizes.add(image.size)
    assert len(sizes) > 30


def test_drawings_depend_on_the_seed_alone():
    one, same, other = (quick_data.draw(3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_shapes_differ_and_survive_the_flip():
    """A mirrored shape may be another of its own class, never one of another class."""
    y, x = np.mgrid[-1:1:41j, -1:1:41j]
    masks = {shape: quick_data.mask(shape, x, y) for shape in quick_data.SHAPES}
    for shape, mask in masks.items():
        assert mask.any() and not mask.all()
        for other in quick_data.SHAPES:
            if other != shape:
                assert np.mean(mask[:, ::-1] != masks[other]) > 0.05, (shape, other)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # stopping early helps it
def test_a_linear_model_stays_far_below_the_target(written):
    """Logistic regression on standardised pixels at half size, the better of two strengths."""
    pixels, labels = {}, {}
    for split in ("train", "test"):
        paths, labels[split] = data.list_images(written.data_dir, split, written.num_classes)
        images = [data.eval_image(written, path)[::2, ::2].ravel() for path in paths]
        pixels[split] = np.array(images, np.float32)
    mean, deviation = pixels["train"].mean(0), pixels["train"].std(0)
    pixels = {split: (values - mean) / deviation for split, values in pixels.items()}
    accuracies = []
    for strength in (1e-4, 1e-3):
        model = LogisticRegression(C=strength, max_iter=40)
        model.fit(pixels["train"], labels["train"])
        accuracies.append(model.score(pixels["test"], labels["test"]))
    print(f"linear model: {max(accuracies):.3f}, target {QUICK.target}")
    assert max(accuracies) < 0.35 < QUICK.target - 0.3
