"""python -m common.parity: as a user types it, and what it says of a user's faults."""

import json
import pathlib
import re
import shutil
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy

from common import benchmark
from common.command import FRAMEWORKS
from common.errors import UserError
from common.parity import __main__ as parity
from common.parity import compare, inputs

pytestmark = pytest.mark.xdist_group("parity-command")
APPLICATION = "recommendation"
OWN = f"own=tests.parity.faults.{APPLICATION}:pytorch"  # its Trainer has no fault


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
    safetensors.numpy.save_file(tensors | {"scratch": np.ones(3)}, file)
    code, shown, said = run("pytorch", f"--against={folder}")
    assert (code, shown.count("AGREES"), said) == (2, 5, "")
    assert "  not asked for: step_0001 scratch\n" in shown
    assert "  DIFFERS first at step_0001 loss: inf, tolerance 1e-13 (missing)\n" in shown
    code, shown, said = run("pytorch", "own=no.such.module:pytorch", f"--against={folder}")
    assert (code, shown) == (1, "")
    assert said == ("error: own: could not be recorded: no.such.module: no such module. "
                    "Name its folder in PYTHONPATH.\n")  # fmt: skip
    code, shown, said = run("pytorch", OWN, f"--against={folder}")
    assert (code, shown.count("AGREES"), said) == (0, 6, "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "usage"),
        ([APPLICATION], "usage"),
        (["weather", "pytorch"], "'weather': no such application"),
        ([APPLICATION, "pytorch"], "nothing to compare"),
        ([APPLICATION, "pytorch", "pytorch"], "only once"),
        ([APPLICATION, "pytorch", "jax"], "jax: expected one of"),
        ([APPLICATION, "pytorch", "own=module"], "own=module: expected one of"),
        ([APPLICATION, "pytorch", "own=module:jax"], "expected one of"),
        ([APPLICATION, "pytorch", "../own=module:pytorch"], "expected one of"),
        ([APPLICATION, "pytorch", "tensorflow", "--step=1"], "'step'"),
        ([APPLICATION, "pytorch", "tensorflow", "--steps=0"], "steps"),
        ([APPLICATION, "pytorch", "tensorflow", "--precision=fp16"], "fp16"),
        ([APPLICATION, "pytorch", "tensorflow", "--precision=bf16"], "has tolerances for fp32"),
        ([APPLICATION, "pytorch", "tensorflow", "--set=colour=3"], "no such field"),
        ([APPLICATION, "pytorch", "tensorflow", "--set=precision=fp64"], "say --precision"),
        ([APPLICATION, "pytorch", "--record=tests"], "tests: there already"),
        ([APPLICATION, "pytorch", "--record=README.md"], "README.md: there already"),
        ([APPLICATION, "pytorch", "--record=README.md/new"], "cannot be written"),
        ([APPLICATION, "pytorch", "--against=tests"], "no config.json"),
        ([APPLICATION, "pytorch", "--against=tests", "--steps=2"], "--steps: settled"),
        ([APPLICATION, "pytorch", "--against=tests", "--record=new"], "--record: settled"),
    ],
)
def test_a_users_fault_is_one_line(arguments, words, capsys):
    assert parity.main(arguments) == 1
    assert words in error_line(capsys)


def error_line(capsys):
    """The one line that was printed."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A record of two steps, with dumps of pytorch and of own that hold the names alone."""
    folder = tmp_path_factory.mktemp("whole") / "record"
    facts = benchmark.benchmark_of(APPLICATION)
    values, _ = parity.parse(["--steps=2", "--precision=fp64"])
    parity.write(facts, values, str(folder))
    wanted = inputs.wanted(facts, inputs.read_config(facts, folder), inputs.dumps(folder))
    for name in ("pytorch", "own"):
        (folder / "outputs" / name).mkdir(parents=True)
        for dump, names in wanted.items():
            tensors = {tensor: np.full([2, 3], 1.0) for tensor in names}
            safetensors.numpy.save_file(tensors, inputs.output_path(folder, name, dump))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it, to be damaged."""
    return pathlib.Path(shutil.copytree(whole, tmp_path / "record"))


def content(folder):
    """{path: bytes} of all files."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_whole_record_is_judged_and_left_as_it_is(folder, capsys):
    before = content(folder)
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 0
    assert capsys.readouterr().out.endswith("  AGREES\n")
    assert content(folder) == before


def test_the_tolerance_is_that_of_the_records_precision(folder, capsys):
    """What fp32 lets pass is beyond in a record of fp64."""
    path = folder / "outputs" / "own" / "step_0001.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["gradient/mlp.1.weight"] *= 1.0 + 1e-9
    safetensors.numpy.save_file(tensors, path)
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 2
    shown = capsys.readouterr().out
    assert "DIFFERS first at step_0001 gradient/mlp.1.weight: 1.0e-09, tolerance 1e-13" in shown


def test_nothing_to_judge(folder, capsys):
    shutil.rmtree(folder / "outputs" / "own")
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 1
    assert "nothing lies there to be held against pytorch" in error_line(capsys)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def make_a_folder(path):
    path.unlink()
    path.mkdir()


def add(path):
    path.write_text("a note")


def rewrite(old, new):
    def change(path):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    change.__name__ = f"{old} becomes {new}"
    return change


def drop(name):
    def change(path):
        tensors = safetensors.numpy.load_file(path)
        del tensors[name]
        safetensors.numpy.save_file(tensors, path)

    change.__name__ = f"drop {name}"
    return change


DAMAGES = [
    *(("config.json", damage) for damage in (cut, empty, make_a_folder)),
    ("config.json", rewrite("recommendation", "translation")),
    ("config.json", rewrite('"steps": 2', '"steps": 1')),
    ("config.json", rewrite("{", "[{")),
    *((f"inputs/{name}.safetensors", damage) for name in ("parameters", "batch_0001")
      for damage in (cut, empty, remove, make_a_folder)),
    ("inputs/parameters.safetensors", drop("mlp.1.weight")),
    ("inputs/batch_0000.safetensors", drop("items")),
    *((f"outputs/{name}/step_0001.safetensors", damage) for name in ("pytorch", "own")
      for damage in (cut, empty, remove, make_a_folder)),
    ("outputs/pytorch/step_0000.safetensors", drop("loss")),
    ("outputs/notes.txt", add),
    ("outputs/own/notes.txt", add),
    ("outputs/own/step_0002.safetensors", add),
]  # fmt: skip


@pytest.mark.parametrize("name, damage", DAMAGES, ids=lambda v: getattr(v, "__name__", v))
def test_a_damaged_record_is_one_line_and_stays(name, damage, folder, capsys):
    """Found before anything is recorded: the module that is to be recorded anew does not exist."""
    damage(folder / name)
    before = content(folder)
    flags = [f"--against={folder}"]
    assert parity.main([APPLICATION, "pytorch", "more=nowhere:pytorch", *flags]) == 1
    assert name in error_line(capsys)
    assert content(folder) == before


def test_a_record_of_another_application(folder, capsys):
    assert parity.main(["translation", "pytorch", f"--against={folder}"]) == 1
    assert "a record of recommendation, not of translation" in error_line(capsys)


def test_a_type_that_numpy_lacks(folder, capsys):
    path = folder / "outputs" / "own" / "step_0000.safetensors"
    text = json.dumps({"loss": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]}})
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + bytes(2))
    before = content(folder)
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 1
    assert "loss is BF16. Write F32 or F64" in error_line(capsys)
    assert content(folder) == before


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(data=st.data())
@pytest.mark.parametrize("name", ["config.json", "outputs/own/initial.safetensors"])
def test_a_byte_goes_astray(name, whole, data):
    """Either it is told, or nothing of what was written has changed but numbers of a dump."""
    facts = benchmark.benchmark_of(APPLICATION)
    path = whole / name
    right = path.read_bytes()
    place = data.draw(st.integers(0, min(len(right), 2000) - 1))
    byte = data.draw(st.integers(0, 255))
    path.write_bytes(right[:place] + bytes([byte]) + right[place + 1 :])
    numbers = inputs.read_json(whole) if name != "config.json" else None
    try:
        inputs.check(facts, whole, "pytorch", [])
        found = inputs.read_json(whole)
        rows = list(compare.rows(facts, whole, "pytorch", "own"))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert rows
        path.write_bytes(right)
        assert found == (numbers or inputs.read_json(whole))
    finally:
        path.write_bytes(right)


def test_the_page_names_every_flag_and_exit_code_and_tests_that_exist():
    root = pathlib.Path(benchmark.ROOT)
    page = (root / "docs" / "parity.md").read_text()
    for name in parity.define_flags():
        assert f"`--{name}" in page, name
    for code in (0, 1, 2):
        assert f"| {code} |" in page
    assert "NAME=MODULE:FRAMEWORK" in page
    tests = [path for path in root.glob("tests/**/test_*.py") if path.parent.name != "parity"]
    tests = "\n".join(f"{path.name}\n{path.read_text()}" for path in tests)
    words = re.findall(r"-k (\w+)", page)
    assert len(words) > 5
    for word in words:
        assert re.search(rf"^(def test_)?\w*{word}", tests, re.MULTILINE), word
