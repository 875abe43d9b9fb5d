"""Records, made once a session: one process a framework for all settings of an application, and
one for its planted faults, see plant.py.  tests/parity/APPLICATION.py holds the settings."""

import functools
import os
import tempfile

import pytest

from common import benchmark
from common.command import FRAMEWORKS
from common.parity import __main__ as parity
from common.parity import compare, inputs
from tests.parity import plant
from tests.parity.plant import settings_of


@pytest.fixture(scope="session")
def records():
    """records(application): {setting: folder of records} of the three frameworks."""
    with tempfile.TemporaryDirectory() as root:

        @functools.cache
        def make(application):
            facts = benchmark.benchmark_of(application)
            folders = {}
            for setting, flags in settings_of(application).SETTINGS.items():
                values, _ = parity.parse(flags)
                folder = os.path.join(root, application, setting)
                (folders[setting],) = parity.write(facts, values, folder)
            three = [parity.implementation_of(application, name) for name in FRAMEWORKS]
            parity.record(facts, three, folders.values(), "cpu", "pytorch")
            for folder in folders.values():
                tolerances = compare.tolerances(facts, folder, "pytorch")
                inputs.write_manifest(facts, folder, "pytorch", tolerances)
            return folders

        yield make


@pytest.fixture(scope="session")
def planted(command):
    """planted(application, framework_name): {one of plant.kinds: folder of records}."""
    with tempfile.TemporaryDirectory() as root:

        @functools.cache
        def make(application, framework_name):
            if framework_name != plant.LEADER:
                folders = make(application, plant.LEADER)
            else:
                facts, settings = benchmark.benchmark_of(application), settings_of(application)
                precisions = f"--precision={','.join(plant.PRECISIONS)}"
                values, _ = parity.parse([*settings.PLANTED, precisions])
                written = parity.write(facts, values, os.path.join(root, application))
                folders = dict(zip(plant.PRECISIONS, written, strict=True))
                for name, flags in getattr(settings, "PLANTED_MORE", {}).items():
                    values, _ = parity.parse(flags)
                    folder = os.path.join(root, application, name)
                    (folders[name],) = parity.write(facts, values, folder)
            command("common/in_environment.sh", application, framework_name, "-m",
                    "tests.parity.plant", application, framework_name, *folders.values())
            return folders

        yield make
