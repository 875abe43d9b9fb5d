"""Tests that look inside a framework run in its environment: pytest --framework=pytorch.

They ask for the fixture `framework`; all others run where no framework is installed.  Each test has
its folder's mark: unit, parity, end_to_end or timing.
"""

import contextlib
import fcntl
import importlib
import os
import pathlib
import signal
import subprocess
import tarfile
import tempfile

import hypothesis
import pytest

from common.command import FRAMEWORKS

ROOT = pathlib.Path(__file__).parent.parent
TIERS = ("parity", "end_to_end", "timing")

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY",
                      os.path.join(tempfile.gettempdir(), "time-to-quality-hypothesis"))
# Under nohup what a test starts would ignore the end of its terminal.  A function is not inherited.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# No deadline: other tests run beside.
hypothesis.settings.register_profile("suite", database=None, deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser):
    parser.addoption("--framework", choices=FRAMEWORKS, help="run the tests inside this framework")
    parser.addoption("--seeds", type=int, default=1, help="timing: runs of each cell")
    parser.addoption("--results", help="timing: folder that gets each run's result and log")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config, items):
    inside = bool(config.getoption("--framework"))
    kept = [item for item in items if ("framework" in item.fixturenames) == inside]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        item.add_marker(folder if folder in TIERS else "unit")
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(group_of(item)))


def group_of(item):
    """Tests of one group share a worker, and so their fixtures: a cell (of parity, whose records
    are held against each other, an application), or the file of those that have neither."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    parts = ("application",) if item.get_closest_marker("parity") else ("application",
                                                                        "framework_name")
    names = [parameters[part] for part in parts if part in parameters]
    return "-".join(names) or str(item.path.relative_to(ROOT))


@pytest.fixture(scope="session")
def framework(request):
    """The adapter of the framework that this session tests."""
    return importlib.import_module(f"common.frameworks.{request.config.getoption('--framework')}")


@pytest.fixture(scope="session")
def shared(request, tmp_path_factory):
    """A folder that all workers of a session see."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if hasattr(request.config, "workerinput") else folder
    folder = folder / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared):
    """once(name, make): the folder of that name, filled by make(folder) for all workers."""

    def get(name, make):
        folder = shared / name
        with open(shared / f"{name}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = shared / f"{name}.done"
            if not done.exists():
                folder.mkdir()  # fails where `make` has failed before
                make(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def real_data():
    """Folder of the small real datasets: see CONTRIBUTING.md."""
    folder = os.environ.get("REAL_DATA_DIR")
    if not folder:
        pytest.skip("REAL_DATA_DIR is not set: no real data here")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def unpacked(request, once):
    """unpacked(application): the folder of its real sample.  The test that asks is skipped where
    there is none."""

    def get(application):
        real_data = request.getfixturevalue("real_data")

        def extract(folder):
            archive = real_data / application / f"{application}.tar.gz"
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")

        return once(f"real-{application}", extract) / application

    return get


@pytest.fixture(scope="session")
def real_images(unpacked):
    """Folder of ten classes of real photographs, 5,000 and 1,000, in ImageNet's layout."""
    return unpacked("image_classification")


@contextlib.contextmanager
def started(arguments, **more):
    """A process in a group of its own, started in the repository's root; killed with the group.

    pyproject.toml has the one limit of time, a test's: it ends in here as an exception.
    """
    # Ctrl-C reaches it even where a shell has started the tests in the background.
    process = subprocess.Popen([str(argument) for argument in arguments], cwd=ROOT,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                               start_new_session=True, text=True, **more)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def command():
    """Runs a command from the repository's root; returns the CompletedProcess, output as text."""

    def run(*arguments, check=True, environment=None):
        with started(arguments, env=os.environ | (environment or {}), stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE) as process:
            out, err = process.communicate()
        if check and process.returncode:
            raise AssertionError(f"{arguments}: {process.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def python_of():
    """The interpreter of a framework's environment, which tests/run.sh has made."""
    return lambda framework: ROOT / ".venv" / framework / "bin" / "python"
