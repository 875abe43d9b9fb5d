"""Which environment a command runs in, and what is set there before Python starts."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]

FAKE = """#!/bin/sh
case "$1" in
    -c) echo True ;;                                  # a Python that is new enough
    *check_requirements.py) echo "needs $2" ;;
    *) echo "runs $*"; echo "LD_LIBRARY_PATH=$LD_LIBRARY_PATH" ;;
esac
"""


@pytest.fixture
def environment(tmp_path):
    """A folder like a virtual environment's, with a Python that says what it was asked."""
    for folder in ("bin", "lib/python3.11/site-packages/nvidia/cusolver/lib",
                   "lib/python3.11/site-packages/nvidia/cublas/lib"):
        (tmp_path / folder).mkdir(parents=True)
    python = tmp_path / "bin" / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    return tmp_path


@pytest.fixture
def said(environment, command, monkeypatch):
    """said(framework, device, flags): {word: what follows it} of what that Python has said.

    device: DEVICE in the environment, or None.
    """
    for name in ("DEVICE", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)

    def ask(framework, device, *flags):
        given = {"PYTHON": str(environment / "bin" / "python")}
        given |= {"DEVICE": device} if device else {}
        done = command("common/in_environment.sh", "recommendation", framework, "-m", "this",
                       *flags, environment=given)  # fmt: skip
        return dict(line.replace("=", " ", 1).split(" ", 1) if line.startswith("LD_") else
                    line.split(" ", 1) for line in done.stdout.splitlines())

    return ask


@pytest.mark.parametrize(("device", "flags", "name"), [
    (None, [], "requirements.txt"),
    (None, ["--device=cuda"], "requirements-cuda.txt"),
    (None, ["--device", "cuda"], "requirements-cuda.txt"),
    (None, ["--set=device=cuda"], "requirements-cuda.txt"),
    (None, ["--set", "device=cuda"], "requirements-cuda.txt"),
    (None, ["--device=cuda", "--device=cpu"], "requirements.txt"),  # the last one counts
    (None, ["--set=device=cuda", "--device=cpu"], "requirements-cuda.txt"),  # --set does
    (None, ["--output_dir=--device=cuda"], "requirements.txt"),
    ("cuda", [], "requirements-cuda.txt"),
    ("cuda", ["--device=cpu"], "requirements.txt"),
    ("cuda", ["--device", "cpu"], "requirements.txt"),
    ("cpu", ["--device=cuda"], "requirements-cuda.txt"),
])  # fmt: skip
def test_the_build_is_for_the_device_that_the_run_takes(device, flags, name, said):
    shown = said("tensorflow", device, *flags)
    assert pathlib.Path(shown["needs"]).name == name
    assert shown["runs"] == " ".join(["-m this", *flags])


@pytest.mark.parametrize("own", [[], ["/own"]])
def test_tensorflow_finds_the_cuda_wheels_libraries(own, said, environment, monkeypatch):
    if own:
        monkeypatch.setenv("LD_LIBRARY_PATH", *own)
    packages = environment / "lib" / "python3.11" / "site-packages" / "nvidia"
    found = said("tensorflow", None, "--device=cuda")["LD_LIBRARY_PATH"].split(":")
    assert {os.path.realpath(folder) for folder in found} == {
        *own, str(packages / "cublas" / "lib"), str(packages / "cusolver" / "lib")}
    for framework, flags in (("tensorflow", []), ("pytorch", ["--device=cuda"])):
        assert said(framework, None, *flags)["LD_LIBRARY_PATH"] == "".join(own)


PIP = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/../asked"
"""


def test_an_applications_own_libraries_are_installed_after_anothers(tmp_path):
    """Two applications' requirements may be of one text, and refer to other files."""
    for application in ("one", "two"):
        folder = tmp_path / application / "pytorch"
        folder.mkdir(parents=True)
        (folder / "requirements.txt").write_text("-r ../requirements.txt\n")
        (folder.parent / "requirements.txt").write_text(f"library-of-{application}\n")
    (tmp_path / "common").mkdir()
    for name in ("common/environment.sh", "common/requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "pytorch" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP)
    python.chmod(0o755)

    def make(application):
        requirements = tmp_path / application / "pytorch" / "requirements.txt"
        subprocess.run(
            ["bash", "-euc", 'source "$1"; make_environment pytorch "$2"', "bash",
             tmp_path / "common" / "environment.sh", requirements],
            check=True, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        return (python.parent.parent / "asked").read_text().count("pip install")

    assert [make(name) for name in ("one", "two", "one", "two")] == [1, 2, 2, 2]
    (tmp_path / "two" / "requirements.txt").write_text("another-library\n")
    assert make("two") == 3


def test_reports_run_where_their_libraries_are(environment, command):
    given = {"PYTHON": str(environment / "bin" / "python")}
    done = command("common/in_report.sh", "-m", "this", "--flag=a b", environment=given)
    needs, runs, _ = done.stdout.splitlines()
    assert needs.endswith("/common/requirements-report.txt")
    assert runs == "runs -m this --flag=a b"
