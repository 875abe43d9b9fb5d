"""What there is to test: each application in each framework is a cell."""

import importlib
import itertools

from common import benchmark
from common.command import FRAMEWORKS

APPLICATIONS = tuple(benchmark.applications())
CELLS = tuple(itertools.product(APPLICATIONS, FRAMEWORKS))


def cell(application):
    """tests/APPLICATION/cell.py: the tiny settings and other facts that shared tests need."""
    return importlib.import_module(f"tests.{application}.cell")


def script(application, framework):
    """The command that a user types, from the repository's root."""
    return f"./{application}/{framework}/run_and_time.sh"
