"""Tests that look inside a framework run in its environment: pytest --framework=pytorch.

They ask for the fixture `framework`; all others run where no framework is installed.
"""

import importlib
import os
import pathlib
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FRAMEWORKS = ("pytorch", "tensorflow", "paddlepaddle")


def pytest_addoption(parser):
    parser.addoption("--framework", choices=FRAMEWORKS, help="run the tests inside this framework")


def pytest_collection_modifyitems(config, items):
    inside = bool(config.getoption("--framework"))
    kept = [item for item in items if ("framework" in item.fixturenames) == inside]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(scope="session")
def framework(request):
    """The adapter of the framework that this session tests."""
    return importlib.import_module(f"common.frameworks.{request.config.getoption('--framework')}")


@pytest.fixture(scope="session")
def real_data():
    """Folder of the small real datasets; see README.md, "Tests"."""
    folder = os.environ.get("REAL_DATA_DIR")
    if not folder:
        pytest.skip("REAL_DATA_DIR is not set: no real data here")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def real_images(real_data, tmp_path_factory):
    """Folder of ten classes of real photographs, 5,000 and 1,000, in ImageNet's layout."""
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(real_data / "image_classification" / "image_classification.tar.gz") as opened:
        opened.extractall(folder, filter="data")
    return folder / "image_classification"


@pytest.fixture(scope="session")
def command():
    """Runs a command from the repository's root; returns the CompletedProcess, output as text."""

    def run(*arguments, check=True, environment=None, timeout=500):
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=ROOT,
            env=os.environ | (environment or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def python_of():
    """The interpreter of a framework's environment, which tests/run.sh has made."""
    return lambda framework: ROOT / ".venv" / framework / "bin" / "python"
