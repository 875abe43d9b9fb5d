"""Records, made once a session: one process a framework for all settings of an application, and
one more for its planted faults.  tests/parity/APPLICATION.py holds the settings."""

import functools
import importlib
import json
import os
import tempfile

import pytest

from common import benchmark
from common.command import FRAMEWORKS
from common.parity import __main__ as parity
from common.parity import compare, inputs


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
def planted(records, command):
    """planted(application): (folder of records, {fault: [dump, tensor] where it shows first})."""

    @functools.cache
    def make(application):
        folder = records(application)[settings_of(application).PLANTED]
        command("common/in_environment.sh", application, "pytorch", "-m", "tests.parity.plant",
                application, folder)
        with open(os.path.join(folder, "faults.json")) as opened:
            return folder, json.load(opened)

    return make


def settings_of(application):
    """The module tests/parity/APPLICATION.py."""
    return importlib.import_module(f"tests.parity.{application}")
