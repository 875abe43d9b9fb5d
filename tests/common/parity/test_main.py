"""python -m common.parity, where no framework is needed: what it takes, refuses and returns."""

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
from common.errors import UserError
from common.parity import __main__ as parity
from common.parity import compare, inputs
from common.parity.__main__ import Implementation, implementation_of

APPLICATION = "recommendation"
PAGE = (pathlib.Path(benchmark.ROOT) / "docs" / "parity.md").read_text()


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    """Where a framework is started nevertheless, the error is another than the one expected."""
    monkeypatch.setattr(parity, "IN_ENVIRONMENT", "started nevertheless")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pytorch", Implementation("pytorch", f"{APPLICATION}.pytorch.train", "pytorch")),
        ("mine=port.train:tensorflow", Implementation("mine", "port.train", "tensorflow")),
        # Names that hold another framework's decide nothing.
        ("tensorflow_2=pytorch.paddlepaddle:pytorch",
         Implementation("tensorflow_2", "pytorch.paddlepaddle", "pytorch")),
    ],
)  # fmt: skip
def test_names_of_implementations(text, expected):
    assert implementation_of(APPLICATION, text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "jax", "mine", "mine=port.train", "mine=:pytorch", "=port:pytorch", "mine=port:jax",
     "../x=port:pytorch", ".x=port:pytorch"],
)  # fmt: skip
def test_other_names_are_refused(text):
    with pytest.raises(UserError, match="NAME=MODULE:FRAMEWORK") as caught:
        implementation_of(APPLICATION, text)
    assert str(caught.value).startswith(f"{text}: ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "usage"),
        ([APPLICATION], "usage"),
        (["weather", "pytorch"], "'weather': no such application"),
        ([APPLICATION, "pytorch"], "nothing to compare"),
        ([APPLICATION, "pytorch", "pytorch"], "only once"),
        ([APPLICATION, "pytorch", "jax"], "jax: expected one of"),
        ([APPLICATION, "pytorch", "tensorflow", "--step=1"], "'step'"),
        ([APPLICATION, "pytorch", "tensorflow", "--steps=0"], "steps"),
        ([APPLICATION, "pytorch", "tensorflow", "--precision=fp16"], "fp16"),
        ([APPLICATION, "pytorch", "tensorflow", "--precision=bf16"], "has tolerances for fp32"),
        ([APPLICATION, "pytorch", "tensorflow", "--precision="], "has tolerances for fp32"),
        ([APPLICATION, "pytorch", "tensorflow", "--set=colour=3"], "no such field"),
        ([APPLICATION, "pytorch", "tensorflow", "--set=precision=fp64"], "say --precision"),
        ([APPLICATION, "pytorch", "--record=tests"], "tests: there already"),
        ([APPLICATION, "pytorch", "--record=README.md"], "README.md: there already"),
        ([APPLICATION, "pytorch", "--record=tests/run.sh/new"], "cannot be written"),
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
    """Told before anything is recorded, be it the reference anew."""
    for name in ("own", "pytorch"):
        shutil.rmtree(folder / "outputs" / name)
        assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 1
        assert "nothing lies there to be held against pytorch" in error_line(capsys)


def test_a_record_of_a_precision_without_tolerances(folder, capsys):
    numbers = inputs.read_json(folder) | {"precision": "bf16"}
    inputs.write_json(folder, "config", numbers | {"sha256": inputs.digest(numbers)})
    more = ["pytorch", "more=nowhere:pytorch"]
    assert parity.main([APPLICATION, *more, f"--against={folder}"]) == 1
    assert "a record in bf16: recommendation has tolerances for fp32, fp64" in error_line(capsys)


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
    assert "a record of 'recommendation', not of translation" in error_line(capsys)


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


def test_the_page_names_every_flag_and_tests_that_exist():
    values = parity.define_flags()
    for name in values:
        default = values[name].default_as_str.strip("'") if values[name].default else ""
        assert f"`--{name}={default}" in PAGE or f"`--{name} NAME=" in PAGE, name
    assert "NAME=MODULE:FRAMEWORK" in PAGE
    root = pathlib.Path(benchmark.ROOT)
    tests = [path for path in root.glob("tests/**/test_*.py") if path.parent.name != "parity"]
    tests = "\n".join(f"{path.name}\n{path.read_text()}" for path in tests)
    words = re.findall(r"-k (\w+)", PAGE)
    assert len(words) > 5
    for word in words:
        assert re.search(rf"^(def test_)?\w*{word}", tests, re.MULTILINE), word


MODULES = {
    "right": "from tests.common.parity.numbers import Trainer, framework",
    "wrong": """
from tests.common.parity.numbers import DoubleGradient, framework

class Trainer(DoubleGradient):
    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.factor = 2.0 if config.precision == "fp64" else 1.0
""",
    "broken": "print('a port of mine')\nraise RuntimeError('out of order')",
}


@pytest.fixture
def in_numpy(monkeypatch, tmp_path):
    """Modules of one's own, `MODULES`, started where no framework is."""
    script = tmp_path / "in_environment.sh"
    script.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(parity, "IN_ENVIRONMENT", str(script))
    monkeypatch.setenv("PYTHONPATH", f"{benchmark.ROOT}:{tmp_path}")
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)


@pytest.mark.usefixtures("in_numpy")
def test_the_exit_codes_are_those_that_the_page_promises(tmp_path, capsys):
    def run(*arguments):
        code = parity.main([APPLICATION, "mine=right:pytorch", *arguments])
        shown = capsys.readouterr()
        errors = [line for line in shown.err.splitlines() if line.startswith("error:")]
        assert len(errors) == (code == 1)
        return code, shown.out, errors

    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)) == {
        "0": "all agree",
        "1": "something is wrong with the command, a file or a program; one line begins with "
             "`error:`",
        "2": "a tensor differs by more than its tolerance",
    }  # fmt: skip
    record = tmp_path / "record"
    assert run("--precision=fp64,fp32", "--steps=1", f"--record={record}") == (0, "", [])
    against = f"--against={record}"
    code, shown, _ = run("other=right:pytorch", against)
    assert (code, shown.count("  AGREES\n")) == (0, 2)
    assert run("worse=wrong:pytorch", against)[0] == 2
    code, shown, _ = run("worse=wrong:pytorch", "--precision=fp64,fp32", "--steps=1")
    first, second = shown.split("worse against mine, quick, fp32")
    assert code == 2  # though the last one agrees
    assert "DIFFERS first at step_0000 gradient/mf_user.weight" in first
    assert second.endswith("  AGREES\n")
    own = "error: more: could not be recorded: "
    assert run("more=broken:pytorch", "--steps=1") == (1, "", [own + "RuntimeError: out of order"])
    missing = "no.such.module: no such module. Name its folder in PYTHONPATH."
    assert run("more=no.such.module:pytorch", against) == (1, "", [own + missing])
    cut(record / "fp64" / "config.json")
    assert run(against)[:2] == (1, "")
