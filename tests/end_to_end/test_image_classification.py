"""What image classification alone has: damaged images."""

import pytest
from PIL import Image

from common.command import FRAMEWORKS
from tests.cells import script

APPLICATION = "image_classification"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(workers, command, tmp_path):
    """By the reader's threads, and by its worker processes."""
    damaged = write_images(tmp_path, count=4)
    done = command(script(APPLICATION, "pytorch"), "--seed=1", f"--data_dir={tmp_path}",
                   f"--output_dir={tmp_path}/run", f"--workers={workers}", "--set=num_classes=2",
                   "--set=batch_size=8", check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert f"{damaged}: damaged image" in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_a_fault_on_the_way_is_told_among_processes(framework_name, command, tmp_path):
    """Whichever process meets it; the others may say that they lost it."""
    damaged = write_images(tmp_path, count=2)
    done = command(script(APPLICATION, framework_name), "--processes=2", "--seed=1",
                   f"--data_dir={tmp_path}", f"--output_dir={tmp_path}/run",
                   "--set=num_classes=2", "--set=batch_size=4", "--set=eval_batch_size=4",
                   check=False)
    assert done.returncode == 1
    assert f"error: {damaged}: damaged image" in done.stderr
    assert done.stdout == ""


def write_images(folder, count):
    """Images of two classes, so many of each, in ImageNet's layout.  Returns one that is cut."""
    for split in ("train", "val"):
        for name in ("n01", "n02"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (40, 40), (60 * number, 9, 9))
                image.save(folder / split / name / f"{name}_{number}.JPEG", "JPEG")
    damaged = folder / "train" / "n02" / "n02_1.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:300])
    return damaged
