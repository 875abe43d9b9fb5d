"""Real photographs in ImageNet's layout, through the same reader, in the three frameworks."""

import json

from tests.conftest import FRAMEWORKS

LOGISTIC_REGRESSION = 0.364  # on standardised pixels of the same images
BUDGET = ["--seed=1", "--target=1", "--max_epochs=8", "--set", "boundary_epochs=5,7",
          "--set", "image_size=48", "--set", "resize_size=48", "--set", "batch_size=64",
          "--set", "learning_rate_per_256=0.4", "--set", "weight_decay=0.0005"]


def test_photographs_are_learnt_alike(real_images, command, tmp_path):
    accuracies = {}
    for framework in FRAMEWORKS:
        script = f"./image_classification/{framework}/run_and_time.sh"
        folder = tmp_path / framework
        done = command(script, f"--output_dir={folder}", f"--data_dir={real_images}", *BUDGET,
                       check=False)
        assert done.returncode == 2, done.stderr  # no run is perfect: the epochs end it
        accuracies[framework] = json.loads((folder / "result.json").read_text())["value"]
    print(accuracies)
    assert min(accuracies.values()) > LOGISTIC_REGRESSION + 0.12, accuracies
    assert max(accuracies.values()) - min(accuracies.values()) < 0.04, accuracies
