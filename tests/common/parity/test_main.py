"""python -m common.parity, where no framework is needed: what it takes, refuses and returns."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

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
from tests.common.parity import numbers

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
        ([APPLICATION, "pytorch", "tensorflow", "--precision=tf32"],
         "has tolerances for fp32, fp64, bf16"),
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


def test_what_a_record_is_gathered_in_is_nobody_elses(tmp_path, capsys):
    """Copying takes a while: what was copied in part is what a killed command left, or a user's."""
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "thesis.tex").touch()
    assert parity.main([APPLICATION, "pytorch", f"--record={tmp_path}/new"]) == 1
    assert f"{tmp_path}/new.part: there already" in error_line(capsys)
    assert (tmp_path / "new.part" / "thesis.tex").exists()


def error_line(capsys):
    """The one line that was printed."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A record of two steps, with dumps of pytorch and of own, which agree."""
    folder = tmp_path_factory.mktemp("whole") / "record"
    write(folder, "fp64")
    return folder


def write(folder, precision):
    """A record of two steps of a small network, of pytorch and own."""
    facts = benchmark.benchmark_of(APPLICATION)
    values, _ = parity.parse(["--steps=2", f"--precision={precision}", "--set=mf_size=2",
                              "--set=mlp_sizes=4,2,2"])
    parity.write(facts, values, str(folder))
    numbers.lead(facts, folder, "pytorch")
    numbers.dump(facts, folder, "own")


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
    assert "DIFFERS first at step_0001 gradient/mlp.1.weight: 1.0e-09, tolerance " in shown


def test_verdicts_are_kept_where_asked_for(folder, tmp_path, capsys):
    file = tmp_path / "parity.json"
    arguments = [APPLICATION, "pytorch", f"--against={folder}", f"--verdicts={file}"]
    assert parity.main(arguments) == 0
    content = json.loads(file.read_text())
    assert set(content) == {"parity", "commit", "system"}
    [verdict] = content["parity"]
    said = [verdict[name] for name in ("application", "reference", "name", "profile", "precision")]
    assert said == [APPLICATION, "pytorch", "own", "quick", "fp64"]
    assert (verdict["agrees"], verdict["first"]) == (True, None)
    assert {"loss", "gradient", "parameter", "evaluation"} <= verdict["worst"].keys()
    assert max(verdict["worst"].values()) <= 1.0
    path = folder / "outputs" / "own" / "step_0001.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["gradient/mlp.1.weight"] *= np.nan
    safetensors.numpy.save_file(tensors, path)
    assert parity.main(arguments) == 2
    [verdict] = json.loads(file.read_text())["parity"]
    assert (verdict["agrees"], verdict["first"]) == (False, "step_0001 gradient/mlp.1.weight")
    assert verdict["worst"]["gradient"] is None
    capsys.readouterr()
    assert parity.main([*arguments[:-1], "--verdicts=missing/parity.json"]) == 1
    assert "missing/parity.json: its folder does not exist" in error_line(capsys)


def test_nothing_to_judge(folder, capsys):
    """Told before anything is recorded, be it the reference anew."""
    for name in ("own", "pytorch"):
        shutil.rmtree(folder / "outputs" / name)
        assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 1
        assert "nothing lies there to be held against pytorch" in error_line(capsys)


def test_a_record_of_a_precision_without_tolerances(folder, capsys):
    config = inputs.read_json(folder) | {"precision": "tf32"}
    inputs.write_json(folder, "config", config | {"sha256": inputs.digest(config)})
    more = ["pytorch", "more=nowhere:pytorch"]
    assert parity.main([APPLICATION, *more, f"--against={folder}"]) == 1
    told = error_line(capsys)
    assert "a record in tf32: recommendation has tolerances for fp32, fp64, bf16" in told


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


def change(name, words, make):
    """Another array, make(the right one), of a tensor."""

    def damage(path):
        tensors = safetensors.numpy.load_file(path)
        tensors[name] = make(tensors[name])
        safetensors.numpy.save_file(tensors, path)

    damage.__name__ = f"{words} {name}"
    return damage


def longer(name):
    return change(name, "longer", lambda array: np.concatenate([array, array]))


def whole_numbers(name):
    return change(name, "whole numbers", lambda array: array.astype(np.int32))


def described(name, dtype, shape):
    """A tensor without a number in it, and what its header says of it."""

    def damage(path):
        text = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}})
        path.write_bytes(len(text).to_bytes(8, "little") + text.encode())

    damage.__name__ = f"{name} {dtype} of {len(shape)} axes"
    return damage


DAMAGES = [
    *(("config.json", damage) for damage in (cut, empty, make_a_folder)),
    ("config.json", rewrite("recommendation", "translation")),
    ("config.json", rewrite('"steps": 2', '"steps": 1')),
    ("config.json", rewrite('"evaluations": 1', '"evaluations": 0')),
    ("config.json", rewrite("{", "[{")),
    *((f"inputs/{name}.safetensors", damage)
      for name in ("parameters", "batch_0001", "state_0001", "evaluation_0000")
      for damage in (cut, empty, remove, make_a_folder)),
    ("inputs/parameters.safetensors", drop("mlp.1.weight")),
    ("inputs/batch_0000.safetensors", drop("items")),
    ("inputs/state_0001.safetensors", drop("second_moment/mlp.1.bias")),
    ("inputs/evaluation_0000.safetensors", drop("batch/items")),
    ("inputs/evaluation_0000.safetensors", drop("parameter/mlp.1.bias")),
    *((f"outputs/{name}/step_0001.safetensors", damage) for name in ("pytorch", "own")
      for damage in (cut, empty, remove, make_a_folder)),
    *((f"outputs/{name}/evaluation_0000.safetensors", remove) for name in ("pytorch", "own")),
    ("outputs/pytorch/step_0000.safetensors", drop("loss")),
    ("outputs/pytorch/evaluation_0000.safetensors", drop("evaluation/scores")),
    # Of another network, or of none.
    ("inputs/parameters.safetensors", whole_numbers("mlp.1.weight")),
    ("inputs/batch_0000.safetensors", longer("items")),
    ("inputs/batch_0001.safetensors", change("users", "turned", lambda array: array[:, None])),
    ("inputs/batch_0001.safetensors", whole_numbers("labels")),
    ("inputs/state_0001.safetensors", longer("second_moment/mlp.1.bias")),
    ("inputs/state_0001.safetensors", whole_numbers("parameter/mlp.1.bias")),
    ("inputs/evaluation_0000.safetensors", longer("parameter/output.bias")),
    ("inputs/evaluation_0000.safetensors", longer("batch/users")),
    ("outputs/pytorch/initial.safetensors", longer("parameter/output.bias")),
    ("outputs/pytorch/step_0001.safetensors", longer("gradient/mlp.1.bias")),
    ("outputs/pytorch/step_0001.safetensors", whole_numbers("first_moment/mlp.1.bias")),
    ("outputs/pytorch/step_0000.safetensors", change("loss", "flat", lambda a: a.reshape(1))),
    *(("outputs/own/step_0001.safetensors", described("loss", dtype, shape))
      for dtype in ("F32", "BF16") for shape in ([2**62, 0], [2**63, 0], [0] * 70)),
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
    text = json.dumps({"loss": {"dtype": "F8_E4M3", "shape": [], "data_offsets": [0, 1]}})
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + bytes(1))
    before = content(folder)
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 1
    assert "loss is F8_E4M3. Write BF16, F32 or F64" in error_line(capsys)
    assert content(folder) == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("name", ["initial", "evaluation_0000"])
def test_a_link_to_the_references_own_dump_proves_nothing(name, link, folder, capsys):
    own = folder / "outputs" / "own" / f"{name}.safetensors"
    own.unlink()
    link(folder / "outputs" / "pytorch" / f"{name}.safetensors", own)
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 1
    assert f"{own}: the reference's own file. Write what the port computes" in error_line(capsys)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, -1e308, 1e155])
@pytest.mark.parametrize("file", ["outputs/own/step_0001", "outputs/pytorch/step_0001",
                                  "inputs/state_0001"])  # fmt: skip
def test_numbers_out_of_all_bounds_are_judged(file, value, folder, capsys):
    """Without a word of numpy's."""
    path = folder / f"{file}.safetensors"
    tensors = safetensors.numpy.load_file(path)
    for name, array in tensors.items():
        if name.endswith("mlp.1.weight"):
            array[0, 0] = value
    safetensors.numpy.save_file(tensors, path)
    assert parity.main([APPLICATION, "pytorch", f"--against={folder}"]) == 2
    shown, said = capsys.readouterr()
    assert said == ""
    name = "gradient" if file.startswith("outputs") else "optimizer/first_moment"
    assert f"DIFFERS first at step_0001 {name}/mlp.1.weight: " in shown
    if "pytorch" in file and not np.isfinite(value):
        assert "1 elements of the reference are not finite, the first at [0, 0]" in shown


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
    config = inputs.read_json(whole) if name != "config.json" else None
    try:
        inputs.check(facts, whole, "pytorch", [])
        found = inputs.read_json(whole)
        rows = list(compare.rows(facts, whole, "pytorch", "own"))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert rows
        path.write_bytes(right)
        assert found == (config or inputs.read_json(whole))
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
    "fails_late": """
from tests.common.parity.numbers import Trainer as Right, framework

class Trainer(Right):
    def evaluate(self, batch):
        raise RuntimeError("no evaluation")
""",
    "hangs": """
import time
from tests.common.parity.numbers import Trainer as Right, framework

class Trainer(Right):
    def evaluate(self, batch):
        time.sleep(10_000)
""",
}
# Each module says first which process it is imported in.
MODULES = {name: "import os\n"
                 "with open(f'{os.path.splitext(__file__)[0]}.pid', 'w') as opened:\n"
                 f"    opened.write(str(os.getpid()))\n{text}" for name, text in MODULES.items()}


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


def ended(path):
    """Whether the process that a module was imported in has ended."""
    pid = int(path.read_text())
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # gone
        return True


def wait_until(true):
    """Waits; the test's own limit of time ends what does not come."""
    while not true():
        time.sleep(0.02)


@pytest.mark.usefixtures("in_numpy")
@pytest.mark.parametrize(("modules", "culprit", "reason"), [
    (("fails_late", "right"), "fails_late", "RuntimeError: no evaluation"),
    (("right", "fails_late"), "fails_late", "RuntimeError: no evaluation"),
    (("right", "fails_late", "hangs"), "fails_late", "RuntimeError: no evaluation"),
    (("broken", "hangs"), "broken", "RuntimeError: out of order"),
])  # fmt: skip
def test_one_that_fails_ends_the_others(modules, culprit, reason, tmp_path, capsys, monkeypatch):
    """The one that leads, which the others wait for, and one that follows."""
    children, start = [], subprocess.Popen

    def starting(*words, **more):
        children.append(start(*words, **more))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", starting)
    record = tmp_path / "record"
    named = [f"{name}={name}:pytorch" for name in modules]
    assert parity.main([APPLICATION, *named, "--steps=1", f"--record={record}"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"error: {culprit}: could not be recorded: {reason}\n" in shown.err
    assert not record.exists()
    # Waited for: what ends later might write where all is being removed.
    assert len(children) == len(modules)
    assert None not in [child.returncode for child in children]


@pytest.mark.usefixtures("in_numpy")
@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL],
                         ids=lambda blow: blow.name)
@pytest.mark.parametrize("modules", [("hangs", "right"), ("right", "hangs")], ids="-".join)
def test_no_process_outlives_the_command(modules, blow, tmp_path):
    """One waits on its standard input for the one that leads; or the one that follows computes."""
    code = ("import sys\nfrom common.parity import __main__ as parity\n"
            f"parity.IN_ENVIRONMENT = {parity.IN_ENVIRONMENT!r}\n"
            "sys.exit(parity.main(sys.argv[1:]))")
    named = [f"{name}={name}:pytorch" for name in modules]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    started = [tmp_path / f"{name}.pid" for name in modules]
    command = subprocess.Popen([sys.executable, "-c", code, APPLICATION, *named, "--steps=1"],
                               cwd=benchmark.ROOT, env=os.environ | {"TMPDIR": str(temporary)})
    try:
        wait_until(lambda: all(path.exists() and path.read_text() for path in started))
        assert not ended(tmp_path / "hangs.pid")
        command.send_signal(blow)
        command.wait()
    finally:
        command.kill()
    wait_until(lambda: all(map(ended, started)))
    if blow != signal.SIGKILL:
        assert not list(temporary.iterdir())


@pytest.mark.usefixtures("in_numpy")
def test_a_process_whose_command_ended_before_it_began_ends(tmp_path):
    """Here while the environment was looked for."""
    script = pathlib.Path(parity.IN_ENVIRONMENT)
    text = script.read_text()
    script.write_text(text.replace("shift 2", f"echo $$ > {tmp_path}/$7.pid\n"
                                   f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done\nshift 2"))
    code = ("import sys\nfrom common.parity import __main__ as parity\n"
            f"parity.IN_ENVIRONMENT = {parity.IN_ENVIRONMENT!r}\n"
            "sys.exit(parity.main(sys.argv[1:]))")
    command = subprocess.Popen([sys.executable, "-c", code, APPLICATION, "one=hangs:pytorch",
                                "two=right:pytorch", "--steps=1"], cwd=benchmark.ROOT)
    started = tmp_path / "one.pid"
    try:
        wait_until(lambda: started.exists() and started.read_text())
    finally:
        command.kill()
        command.wait()
    (tmp_path / "go").touch()
    wait_until(lambda: ended(started))
    assert not (tmp_path / "hangs.pid").exists()
