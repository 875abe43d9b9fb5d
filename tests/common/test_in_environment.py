"""Which environment a command runs in, and what is set there before Python starts."""

import os
import pathlib

import pytest

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


def test_reports_run_where_their_libraries_are(environment, command):
    given = {"PYTHON": str(environment / "bin" / "python")}
    done = command("common/in_report.sh", "-m", "this", "--flag=a b", environment=given)
    needs, runs, _ = done.stdout.splitlines()
    assert needs.endswith("/common/requirements-report.txt")
    assert runs == "runs -m this --flag=a b"
