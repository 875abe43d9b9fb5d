"""The pretrained ResNet-50 of Detectron, R-50.pkl, read without running what a pickle says.

ImageNet weights by MSRA; batch norm is folded into a scale and a shift.  T05 c2_model_loading.py.
"""

import os

from common.errors import UserError

MAX_BYTES = 1 << 28      # of the file; the published one has 102 million
BLOCKS = (3, 4, 6, 3)    # of res2 to res5
WIDTHS = (64, 128, 256, 512)


def require(config):
    """Raises UserError where the config's file is not there."""
    if config.backbone and not os.path.isfile(path(config)):
        raise UserError(
            f"{path(config)}: no such file. The network starts from its weights: "
            f"object_detection/download_dataset.sh {config.data_dir} fetches it."
        )


def path(config):
    """Path of the config's file."""
    return os.path.join(config.data_dir, config.backbone)
