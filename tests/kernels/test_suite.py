"""The kernels' command line, what it leaves, and what it says of wrong kernels."""

import csv
import json
import re
import types

import pytest

from common import bridge
from common.errors import UserError
from common.kernels import Elementwise, Gemm
from kernels import measured, steps, suite, values, written
from kernels.lists import Row
from tests.conftest import ROOT

ROOF = {"flops_per_second": 1e9, "bytes_per_second": 1e8}


def row_of(problem, direction="forward", count=1):
    return Row("recommendation", problem, direction, count, ("mlp.0",))


def entry(number, seconds=0.5, **more):
    found = {"seconds": seconds, "interval": (0.4, 0.6), "narrow": False, "repeats": 1, "gap": 0.0,
             "samples": [seconds]} if seconds else {"seconds": None, "reason": "none here"}
    return written.entry(number, row_of(Gemm(100, 200, 50)), found, 4, cold=False, mhz=None,
                         others=None, loaded=False, differs="") | more


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "FRAMEWORK is one of pytorch, tensorflow, paddlepaddle"),
        (["torch"], "FRAMEWORK is one of"),
        (["pytorch", "tensorflow"], "FRAMEWORK is one of"),
        (["pytorch", "--suite=bert"], "deepbench"),
        (["pytorch", "--suite=recommendation", "--problem=999"], "has 32 rows. See them with"),
        (["pytorch", "--problem=0"], "not a positive integer"),
        (["pytorch", "--budget=soon"], "expected a time above 0, as 90s, 2m or 1h"),
        (["pytorch", "--budget=0m"], "expected a time above 0"),
        (["pytorch", "--suite=deepbench", "--set=batch_size=2"], "Name it with --suite"),
        (["pytorch", "--suite=recommendation", "--set=batch=2"], "no such field"),
        (["pytorch", "--suite=recommendation", "--profile=big"], "expected one of"),
        (["pytorch", "--precision=int7"], "fp32"),
        (["pytorch", "--suite=recommendation", "--steps", "--problem=1"], "Leave --problem"),
        (["pytorch", "--flagfile=x"], "Unknown command line flag"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_line(arguments, words):
    with pytest.raises(UserError, match=words) as raised:
        suite.parse(arguments)
    assert "\n" not in str(raised.value)


def test_the_readme_has_every_flag():
    text = (ROOT / "kernels" / "README.md").read_text()
    named = re.findall(r"^\| (`--[^|]*) \|", text, re.MULTILINE)
    named = [flag for cell in named for flag in re.findall(r"`--(\w+)`", cell)] + ["list"]
    assert sorted(named) == sorted(suite.define_flags())
    assert "`--list`" in text


def test_a_wrong_framework_is_one_line_before_anything_is_installed(command):
    for wrong in ((), ("torch",), ("../translation/pytorch",)):
        done = command("kernels/run.sh", *wrong, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "one of pytorch, tensorflow" in done.stderr


def test_a_list_follows_its_fields():
    _, _, rows, _, seconds = suite.parse(["pytorch", "--suite=recommendation", "--budget=2m",
                                       "--set=batch_size=64"])
    assert seconds == 120.0 and {row.suite for row in rows} == {"recommendation"}
    assert any(row.problem == Gemm(64, 256, 256, False, True) for row in rows)
    _, _, rows, _, seconds = suite.parse(["paddlepaddle"])
    assert seconds is None and len({row.suite for row in rows}) >= 7


def test_a_budget_takes_the_quick_ones_of_each_kind_first():
    rows = [row_of(Gemm(1000, 1000, 1000)), row_of(Gemm(10, 10, 10)),
            row_of(Elementwise("relu", 10**7)), row_of(Gemm(100, 100, 1000))]
    assert suite.order([1, 2, 3, 4], rows, ROOF, 4, 1000.0) == [2, 3, 4, 1]
    assert suite.order([1, 3], rows, ROOF, 4, 1000.0) == [1, 3]
    # The product of 24 s takes more than its third; the chain takes 10 s.
    assert suite.order([1, 2, 3], rows, ROOF, 4, 45.0) == [2, 3, 1]


def test_a_journal_goes_on_where_it_was_cut(tmp_path):
    facts = {"framework": "pytorch", "set": ("a=1",)}
    journal = written.Journal(tmp_path, facts)
    for number in (1, 2):
        journal.add(entry(number))
    whole = (tmp_path / written.JOURNAL).read_bytes()
    (tmp_path / written.JOURNAL).write_bytes(whole[:-20])
    journal = written.Journal(tmp_path, facts)
    assert list(journal.rows) == [1]
    journal.add(entry(2))
    assert (tmp_path / written.JOURNAL).read_bytes() == whole
    with pytest.raises(UserError, match=r"begun with another framework.*the same flags"):
        written.Journal(tmp_path, facts | {"framework": "tensorflow"})
    (tmp_path / written.JOURNAL).write_text("nothing\n")
    with pytest.raises(UserError, match="not a journal"):
        written.Journal(tmp_path, facts)


def content(*rows):
    return {"framework": "pytorch", "precision": "fp32", "device": "cpu", "roof": ROOF,
            "kernels": list(rows), "steps": []}


def test_what_is_written_is_what_a_report_reads(tmp_path):
    written.write(tmp_path, content(entry(1), entry(2, None)))
    found = json.loads((tmp_path / written.JSON).read_text())
    assert bridge.fault(found) is None
    point, = bridge.points(found)
    with open(tmp_path / written.CSV) as opened:
        first, second = csv.DictReader(opened)
    # 2 MFLOP in half a second; 4 (5000 + 10000 + 20000) bytes, of which the roof needs 2 ms.
    assert float(first["flop_per_second"]) == point["speed"] == 4e6
    assert float(first["share_of_roof"]) == pytest.approx(0.004) == pytest.approx(point["share"])
    assert (first["low"], first["high"], second["seconds"]) == ("0.4", "0.6", "")
    assert second["reason"] == "none here"


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    written.write(tmp_path, content(entry(1)))
    before = (tmp_path / written.JSON).read_bytes()
    monkeypatch.setattr(written.json, "dump", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written.write(tmp_path, content(entry(1), entry(2)))
    assert (tmp_path / written.JSON).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [written.CSV, written.JSON]


def test_a_table_says_what_it_must():
    lines = written.table([entry(1), entry(2, None), entry(3, loaded=True),
                           entry(4, None, reason="not within the budget of 2m")], ROOF)
    assert "500 ms" in lines[1] and "20%" in lines[1] and "100 x 200 x 50 NN" in lines[1]
    assert "none 100 x 200 x 50 NN: none here" in lines[2]
    assert lines[3].endswith("(others ran beside)") and not lines[1].endswith("beside)")
    assert lines[4] == "1 of 4 rows: not within the budget of 2m"


def test_rows_under_others_load_are_marked(monkeypatch):
    """The kernel's clock is coarse: of short rows the next that passes a second says it of all."""
    answers = iter([None, None, 0.4, 0.0])
    load = types.SimpleNamespace(others=lambda own: next(answers))
    monkeypatch.setattr(suite.machine, "Load", lambda: load)
    done = []
    beside = suite.Beside(done.append)
    for number in range(4):
        beside.add({"number": number})
    assert [(row["number"], row["loaded"]) for row in done] == [
        (0, True), (1, True), (2, True), (3, False)]


def test_a_bridge_says_where_a_vendor_should_work():
    """Roof: 2 ms of the product's, so of three times half a second 1.494 s are beyond it."""
    step = {"suite": "recommendation", "batch": "64 pairs", "seconds": 2.0}
    rows = [entry(1, count=3), entry(2, None), entry(3, 0.1, count=1, kind="embedding")]
    lines = steps.table(content(*rows) | {"steps": [step]})
    assert lines[0] == ("recommendation (64 pairs): step 2.00 s, its kernels 1.60 s: 1.25 times, "
                        "within 1.25; rows without a time: 1")
    assert [line.split() for line in lines[1:4]] == [
        ["gemm", "1.50", "s", "75%"], ["embedding", "100", "ms", "5%"],
        ["outside", "its", "kernels", "400", "ms", "20%"]]
    assert lines[4] == ("  1.49 s beyond the roof: row 1, gemm forward, 100 x 200 x 50 NN, 3 times "
                        "(mlp.0)")
    slow = steps.table(content(*rows) | {"steps": [step | {"seconds": 3.0}]})
    assert "1.88 times, beyond 1.25" in slow[0]


@pytest.fixture
def setting(framework, operations, monkeypatch):
    monkeypatch.setattr(measured, "ROOF_GEMM", {"cpu": 64})
    monkeypatch.setattr(measured, "TRIAD", {"cpu": 1000})
    return measured.Setting(operations, framework, "cpu", "fp32")


@pytest.mark.parametrize("problem", [Gemm(64, 32, 16), Gemm(64, 32, 16, accumulates=True)],
                         ids=lambda problem: problem.words())
def test_a_wrong_kernel_has_no_time(setting, problem, monkeypatch):
    found = measured.measure(row_of(problem), setting, 0.02)
    assert found["seconds"] > 0.0 and found["gap"] < 1e-5 and len(found["samples"]) >= 1
    make = setting.operations.make

    def wrong(problem, *more):
        run = make(problem, *more)
        return lambda: {name: tensor * 1.1 for name, tensor in run().items()}

    monkeypatch.setattr(setting.operations, "make", wrong)
    found = measured.measure(row_of(problem), setting, 0.02)
    assert found["seconds"] is None and found["reason"].startswith(measured.WRONG)


def test_a_cold_cache_and_a_kernel_that_fails(setting, monkeypatch):
    cold = measured.Setting(setting.operations, setting.framework, "cpu", "fp32", cold=True)
    found = measured.measure(row_of(Elementwise("relu", 1000)), cold, 0.02)
    assert found["repeats"] == 1 and found["seconds"] > 0.0

    def fails(*_):
        raise RuntimeError("not implemented for this type\nand a second line")

    monkeypatch.setattr(setting.operations, "make", fails)
    found = measured.measure(row_of(Elementwise("relu", 1000)), setting, 0.02)
    assert found == {"seconds": None, "reason": "not implemented for this type"}


def test_the_command_ends_with_files_and_goes_on(setting, tmp_path, capsys, monkeypatch):
    """The smallest of DeepBench's rows, twice: the second time nothing is timed."""
    name = setting.framework.__name__.rpartition(".")[2]
    arguments = [name, "--suite=deepbench", "--problem=239", "--budget=0.5",
                 f"--output_dir={tmp_path}"]
    assert suite.main(arguments) == 0
    assert "1 x 64 x 1216 NN, accumulates [gemm device 4]" in capsys.readouterr().out
    found = json.loads((tmp_path / written.JSON).read_text())
    assert bridge.fault(found) is None and found["kernels"][0]["seconds"] > 0.0
    monkeypatch.setattr(measured, "measure", lambda *_: 1 / 0)
    assert suite.main(arguments) == 0
    assert json.loads((tmp_path / written.JSON).read_text())["kernels"] == found["kernels"]


def test_the_command_times_a_step_beside_its_kernels(setting, tmp_path, capsys):
    name = setting.framework.__name__.rpartition(".")[2]
    arguments = [name, "--suite=recommendation", "--set=batch_size=32", "--set=num_users=50",
                 "--set=num_items=40", "--steps", "--budget=2", f"--output_dir={tmp_path}"]
    assert suite.main(arguments) == 0
    assert "recommendation (32 pairs): step" in capsys.readouterr().out
    found = json.loads((tmp_path / written.JSON).read_text())
    step, = found["steps"]
    assert bridge.fault(found) is None and step["batch"] == "32 pairs" and step["seconds"] > 0.0
    timed = [row for row in found["kernels"] if row["seconds"]]
    assert len(timed) > 5
    assert all(row["kind"] == "all_reduce" or row["reason"].startswith(written.LEFT_OUT)
               for row in found["kernels"] if row not in timed)


def test_the_command_says_that_values_were_wrong(setting, monkeypatch, capsys):
    name = setting.framework.__name__.rpartition(".")[2]
    monkeypatch.setattr(values, "gap", lambda *_: 0.5)
    assert suite.main([name, "--suite=deepbench", "--problem=239", "--budget=0.5"]) == 2
    assert "wrong values: rows 239" in capsys.readouterr().err
