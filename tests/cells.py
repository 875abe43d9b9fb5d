"""What there is to test: each application in each framework is a cell.

What the shared tests need to know of an application, tests/APPLICATION/cell.py says, each fact
under its one name:

    TINY             flags of a run of some six steps an epoch, in float64 alike in every framework
    RANDOM           further flags: what a step draws, switched on where a run is killed and resumed
    tiny_data        (folder): writes TINY's dataset; None: the embedded data are small enough
    examples         (config, batch) -> list: a training batch's examples, in their order
    FAULTS           [(flags, words of the one line that they end with)]
    RUN_FOLDER       where a run leaves more than others: what of an epoch
    before_training  (config, framework, trainer): where a run does more before its first batch
    RELAY_GAP        largest difference over the norm, of any tensor that three frameworks trained
    QUICK_GAP        largest difference of the quality after an epoch of the quick profile
    REAL             flags of a run on the real sample
    real_data        (folder, sample): writes REAL's dataset from the unpacked archive's folder
    REAL_GAP         largest difference of the quality after an epoch of it
    REAL_EPOCHS      after as many, PyTorch passes
    real_baseline    (data_dir) -> a quality, as --target takes it
"""

import importlib
import itertools

from common import benchmark
from common.command import FRAMEWORKS

APPLICATIONS = tuple(benchmark.applications())
CELLS = tuple(itertools.product(APPLICATIONS, FRAMEWORKS))


def cell(application):
    """The module tests/APPLICATION/cell.py."""
    return importlib.import_module(f"tests.{application}.cell")


def script(application, framework):
    """The command that a user types, from the repository's root."""
    return f"./{application}/{framework}/run_and_time.sh"
