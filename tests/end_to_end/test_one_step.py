"""A step of parity by its command, for the everyday tier; tests/parity/ has all of it."""

import sys

import pytest

from common.command import FRAMEWORKS
from tests.cells import APPLICATIONS


@pytest.mark.one_step
@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_frameworks_agree_in_a_step(application, command):
    done = command(sys.executable, "-m", "common.parity", application, *FRAMEWORKS, "--steps=1",
                   "--precision=fp64", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
