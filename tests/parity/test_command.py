"""python -m common.parity as a user types it.  What needs no framework: tests/common/parity/."""

import sys

import safetensors.numpy

from common.command import FRAMEWORKS

APPLICATION = "recommendation"
OWN = f"own={APPLICATION}.pytorch.train:pytorch"


def test_the_command_whole(command, tmp_path):
    """Three frameworks and a module of one's own; a dump without its loss; the module anew."""

    def run(*arguments):
        done = command(sys.executable, "-m", "common.parity", APPLICATION, *arguments, check=False)
        return done.returncode, done.stdout, done.stderr

    folder = tmp_path / "record"
    flags = ("--steps=2", "--precision=fp32,fp64", "--device=cpu", f"--record={folder}")
    code, shown, said = run(*FRAMEWORKS, OWN, *flags)
    assert (code, shown.count("AGREES"), said) == (0, 6, "")
    file = folder / "fp64" / "outputs" / "own" / "step_0001.safetensors"
    tensors = safetensors.numpy.load_file(file)
    del tensors["loss"]
    safetensors.numpy.save_file(tensors, file)
    code, shown, said = run("pytorch", f"--against={folder}")
    assert (code, shown.count("AGREES"), said) == (2, 5, "")
    code, shown, said = run("pytorch", OWN, f"--against={folder}")
    assert (code, shown.count("AGREES"), said) == (0, 6, "")
