"""What parity tests do alike.  A test module names its APPLICATION, the FAULTS it plants, and the
RECORD_FLAGS of the record that they are held against, if it has any."""

import shutil

import pytest

from common import parity
from tests.conftest import FRAMEWORKS


def pytest_generate_tests(metafunc):
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", metafunc.module.FAULTS)


@pytest.fixture
def agree(request, capsys):
    """Asserts that the three frameworks agree, by the command.  Returns what it printed."""

    def run(*flags):
        code = parity.main([request.module.APPLICATION, *FRAMEWORKS, *flags])
        shown = capsys.readouterr().out
        assert code == 0, shown
        assert shown.count("AGREES") == 2
        return shown

    return run


@pytest.fixture(scope="module")
def record(request, tmp_path_factory):
    """A folder of records in float64, of PyTorch, three steps."""
    folder = str(tmp_path_factory.mktemp("record"))
    flags = ["--precision=fp64", "--steps=3", f"--record={folder}"]
    flags += getattr(request.module, "RECORD_FLAGS", ())
    assert parity.main([request.module.APPLICATION, "pytorch", *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def planted(request, record, command, tmp_path_factory):
    """The same folder with a record for each of FAULTS, and one for "nothing"."""
    folder = str(tmp_path_factory.mktemp("planted") / "record")
    shutil.copytree(record, folder)
    application = request.module.APPLICATION
    command("common/in_environment.sh", application, "pytorch", "-m", "tests.parity.plant",
            application, folder, "nothing", *request.module.FAULTS)
    return folder


@pytest.fixture
def verdict(request, planted, capsys):
    """(agrees, what is printed) of a fault."""

    def judge(fault):
        config = parity.read_config(request.module.APPLICATION, planted)
        return parity.report(config, planted, "pytorch", [fault]), capsys.readouterr().out

    return judge
