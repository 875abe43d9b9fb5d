"""What the shared tests need to know of image classification; tests/cells.py explains each."""

import os
import pathlib
import shutil

from image_classification import quick_data

# Coefficients that float32 holds exactly, since PaddlePaddle keeps them so; a small learning rate,
# since at the quick one rounding grows tenfold with each step.
TINY = ("--set=batch_size=330", "--set=eval_batch_size=200", "--set=image_size=32",
        "--set=resize_size=32", "--set=stem_width=8", "--set=widths=8,8,16,16",
        "--set=learning_rate_per_256=0.002", "--set=momentum=0.875",
        "--set=batch_norm_momentum=0.875", f"--set=batch_norm_epsilon={2**-16}")
RANDOM = ()
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/train: no such folder"),
    (["--set=bach_size=3"], "Did you mean batch_size"),
    (["--set=image_size=30"], "multiple of 4"),
    (["--set=blocks=1,1"], "expected as many of each"),
    (["--set=optimizer=adam"], "expected one of sgd, lars"),
    (["--set=num_classes=9"], "expected 9 class folders, found 10"),
)
RELAY_GAP = 1e-10
QUICK_GAP = 0.15  # rounding grows with each step: 0.09 was seen
REAL = ("--target=1", "--set=boundary_epochs=5,7", "--set=image_size=48", "--set=resize_size=48",
        "--set=batch_size=64", "--set=learning_rate_per_256=0.4", "--set=weight_decay=0.0005")
REAL_GAP = 0.08  # 0.044 was seen
REAL_EPOCHS = 8


def tiny_data(folder):
    """Half of the embedded images: 200 of each class, and 50 of its test."""
    for split, count in (("train", 200), ("val", 50)):
        for source in pathlib.Path(quick_data.ensure(), split).iterdir():
            (folder / split / source.name).mkdir(parents=True)
            for path in sorted(source.iterdir())[:count]:
                shutil.copy(path, folder / split / source.name)


def examples(config, batch):
    """[(pixels, label)] of a training batch."""
    return [(image.tobytes(), label) for image, label in zip(batch["images"], batch["labels"])]


def real_data(folder, sample):
    """CIFAR-10 photographs in ImageNet's layout, 5,000 and 1,000."""
    shutil.copytree(sample, folder, dirs_exist_ok=True)


def real_baseline(data_dir):
    """An eighth more than logistic regression on standardised pixels, which reaches 0.364."""
    assert len(os.listdir(os.path.join(data_dir, "val"))) == 10
    return 0.364 + 0.125
