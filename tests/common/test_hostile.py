"""Files and command lines from strangers: a command may say no, and nothing else.

Exit code 0, 1 or 2; where it is 1, one line that begins with `error: `; nothing changed on disk.
"""

import contextlib
import io
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing

import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import benchmark, check_log, command, options, processes, report, results
from common.data import download, sums
from common.errors import UserError, printable, told
from common.mllog import PREFIX, written
from common.parity.__main__ import main as parity
from common.parity.inputs import digest
from tests.cells import APPLICATIONS
from tests.common import fake, test_report
from tests.conftest import started

ROOT = pathlib.Path(__file__).parent.parent.parent
BYTES = st.binary(max_size=200) | st.text(max_size=100).map(
    lambda text: text.encode(errors="ignore")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=8,
)  # fmt: skip


def said(run, folder):
    """What run() prints; asserts the promise of this module."""
    def files():
        return {path: path.read_bytes() for path in pathlib.Path(folder).rglob("*")
                if path.is_file()}

    before = files()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run()
    assert code in (0, 1, 2)
    lines = err.getvalue().splitlines()
    assert [line.startswith("error: ") for line in lines] == [True] * (code == 1)
    for text in (out.getvalue(), err.getvalue()):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert files() == before
    return out.getvalue() + err.getvalue()


@settings(max_examples=40, deadline=None)
@given(content=BYTES)
@example(content=b"\xff\xfe")
@example(content=b":::MLLOG " + b"[" * 100_000)
@example(content=b':::MLLOG {"key": "seed", "value": ' + b"9" * 5000 + b', "metadata": {}}')
@example(content=b':::MLLOG {"key": 1, "value": 1, "metadata": {}}')
@example(content=b':::MLLOG {"key": "eval_accuracy", "value": NaN, "metadata": {}}')
@example(content=b':::MLLOG {"key": "eval_accuracy", "value": {}, "metadata": {}}')
@example(content=b':::MLLOG {"key": "epoch_start", "value": null, "metadata": []}')
def test_any_bytes_as_a_log(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    (folder / "run.log").write_bytes(content)
    said(lambda: check_log.main([str(folder)]), folder)


def test_a_line_that_python_alone_would_split_is_one_line(tmp_path):
    """A log that reads otherwise here than in the package, which runs the rule file it names."""
    rules = tmp_path / "rules"
    rules.mkdir()
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()"
    (rules / "x_common.yaml").write_text(f'- BEGIN: {{CODE: "{code}"}}\n')
    up = "../" * 30 + str(rules / "x").lstrip("/")
    path = fake.write_log(tmp_path / "run", fake.events("resnet", "open"))
    lines = path.read_text().splitlines()
    hostile = json.loads(lines[1].removeprefix(PREFIX)) | {"value": up}
    for end in ("\u2028", "\x85", "\x0b", "\x1c", "\r", " "):
        path.write_text("\n".join([lines[0], lines[1] + end + written(hostile), *lines[2:]]))
        shown = said(lambda: check_log.main([str(path)]), path.parent)
        assert shown.startswith("error: ")
    inside = json.loads(lines[2].removeprefix(PREFIX)) | {"value": PREFIX + json.dumps(hostile)}
    path.write_text("\n".join([*lines[:2], PREFIX + json.dumps(inside), *lines[3:]]))
    said(lambda: check_log.main([str(path)]), path.parent)
    twice = [*lines[:2], written(hostile), *lines[2:]]
    path.write_text("\n".join(twice))
    assert "expected a name" in said(lambda: check_log.main([str(path)]), path.parent)
    assert not ran.exists()


@pytest.mark.parametrize("key", check_log.NAMES)
def test_each_occurrence_of_a_name_is_judged(key, tmp_path):
    events = fake.events("resnet", "open")
    value = next(v for k, v, _ in events if k == key)
    path = fake.write_log(tmp_path, [*events, (key, "other", {})])
    shown = said(lambda: check_log.main([str(path)]), tmp_path)
    assert f"{key}: '{value}' in one line, 'other' in another" in shown


@pytest.mark.parametrize("length", [1_000_000, 30_000_000])
def test_no_log_keeps_the_judge_busy(length, tmp_path):
    events = [*fake.events("resnet", "open"), ("submission_org", "x" * length, {})]
    path = fake.write_log(tmp_path, events)
    started = time.process_time()
    said(lambda: check_log.main([str(path)]), tmp_path)
    assert time.process_time() - started < 10  # its own; the package's is bounded by a limit


@settings(max_examples=60, deadline=None)
@given(content=BYTES | JSON.map(lambda value: json.dumps(value).encode()))
@example(content=b"[" * 100_000)
@example(content=b'{"seed": ' + b"9" * 5000 + b"}")
def test_any_bytes_as_a_result(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    (folder / "result.json").write_bytes(content)
    said(lambda: results.main([str(folder)]), folder)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_value_in_a_result(data, good_result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    name = data.draw(st.sampled_from(sorted(good_result)))
    (folder / "result.json").write_text(json.dumps(good_result | {name: data.draw(JSON)}))
    said(lambda: results.main([str(folder)]), folder)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_value_in_what_a_report_shows(data, good_result, tmp_path_factory):
    """A result, a verdict and kernels, each with one value that may be anything."""
    folder, out = tmp_path_factory.mktemp("report"), tmp_path_factory.mktemp("out")
    contents = {"result": good_result, "parity": test_report.VERDICTS,
                "kernels": test_report.KERNELS}  # fmt: skip
    name = data.draw(st.sampled_from(sorted(contents)))
    content = contents[name] | {
        data.draw(st.sampled_from(sorted(contents[name]))): data.draw(JSON)}  # fmt: skip
    if name == "result" and data.draw(st.booleans()):
        field = data.draw(st.sampled_from(sorted(good_result["config"])))
        content = good_result | {"config": good_result["config"] | {field: data.draw(JSON)}}
    (folder / f"{name}.json").write_text(json.dumps(content))
    path = out / f"report{data.draw(st.sampled_from(['.html', '.csv', '.md', '.json']))}"
    said(lambda: report.main([str(folder), "-o", str(path)]), folder)


@settings(max_examples=40, deadline=None)
@given(content=BYTES, name=st.sampled_from(["result", "parity", "kernels"]))
@example(content=b"[" * 100_000, name="kernels")
@example(content=b"[]", name="result")
@example(content=b'{"parity": null}', name="result")
def test_any_bytes_in_what_a_report_shows(content, name, tmp_path_factory):
    folder, out = tmp_path_factory.mktemp("report"), tmp_path_factory.mktemp("out")
    (folder / f"{name}.json").write_bytes(content)
    said(lambda: report.main([str(folder), "-o", str(out / "report.html")]), folder)


@pytest.fixture(scope="module")
def good_result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    fake.run(fake.config_of(folder), [0.95])
    return json.loads((folder / "result.json").read_text())


def test_no_result_adds_a_row_or_a_colour(good_result, tmp_path):
    hostile = good_result | {"status": "\x1b[31mred\nfake row", "framework": "a\r\x85b"}
    (tmp_path / "result.json").write_text(json.dumps(hostile))
    shown = said(lambda: results.main([str(tmp_path)]), tmp_path)
    assert r"\x1b[31mred\nfake row" in shown


@settings(max_examples=60, deadline=None)
@given(content=BYTES)
@example(content=b"")
@example(content=b"\n")
@example(content=b"0" * 64 + b"  ../../etc/passwd\n")
@example(content=b"0" * 64 + b"  /etc/passwd\n")
def test_any_bytes_as_sums(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sums")
    (folder / "file").write_text("x")
    (folder / "SHA256SUMS").write_bytes(content)
    shown = said(lambda: download.main(["recommendation", str(folder), "--verify"]), folder)
    assert shown.startswith("error: ")
    with pytest.raises(UserError):
        if sums.first_fault(str(folder)):
            raise UserError("a fault")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A folder with a small config.json, and dumps of two implementations, all empty."""
    folder = tmp_path_factory.mktemp("record")
    config = benchmark.module("recommendation", "config").QUICK
    config = options.assign(config, ["num_users=3", "num_items=3", "num_ratings=9"])
    fields = vars(config) | {"application": "recommendation", "seed": 1, "steps": 1,
                             "learning_rates": [0.1], "evaluations": 1}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(fields | {"sha256": digest(fields)}))
    for name in ("pytorch", "port"):
        for dump in ("initial", "step_0000", "evaluation_0000"):
            path = folder / "outputs" / name / f"{dump}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            safetensors.numpy.save_file({}, path)
    (folder / "inputs").mkdir()
    for name in ("parameters", "batch_0000", "evaluation_0000"):
        safetensors.numpy.save_file({}, folder / "inputs" / f"{name}.safetensors")
    return folder


FILES = ("config.json", "outputs/port/step_0000.safetensors", "outputs/pytorch/initial.safetensors")


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(FILES), content=BYTES | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_in_a_record(name, content, record):
    path = record / name
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        said(lambda: parity(["recommendation", "pytorch", f"--against={record}"]), record)
    finally:
        path.write_bytes(whole)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_value_in_a_records_config(data, record):
    path = record / "config.json"
    whole = path.read_text()
    fields = json.loads(whole)
    name = data.draw(st.sampled_from(sorted(fields.keys() - {"sha256"})))
    del fields["sha256"]
    fields[name] = data.draw(JSON)  # with a sum of the stranger's own
    path.write_text(json.dumps(fields | {"sha256": digest(fields)}))
    try:
        said(lambda: parity(["recommendation", "pytorch", f"--against={record}"]), record)
    finally:
        path.write_text(whole)


NUMBERS = ["0", "-1", "1", "1e9", "1000000000", "-0.5", "nan", "inf", "", "None", "three", "1,2",
           "()", "0,0", "4,,8", "1_0", ",", "1e400", "9" * 400, "True", "\x1b[31m", "\u0663"]
FIELDS = [(application, name) for application in APPLICATIONS
          for name in typing.get_type_hints(benchmark.module(application, "config").Config)]


@pytest.mark.parametrize(("application", "name"), FIELDS)
def test_any_value_of_a_field(application, name):
    """A value is taken, within bounds, or refused in one line: at the latest by `check`."""
    for text in NUMBERS:
        def run(text=text):
            config = command.parse([application, "pytorch", f"--set={name}={text}"]).config
            module = benchmark.module(application, "config")
            assert module.check(options.check_bounds(config)) is config
            for step in (0, 1, 10**6):
                counted = {n: 1000 for n, v in vars(config).items() if v is None and "num" in n}
                rate = module.learning_rate(options.dataclasses.replace(config, **counted), step)
                assert rate >= 0
            return 0

        said(lambda run=run: told(run), ROOT / "docs")


FLAGS = ["--seed", "--set", "--nodes=2", "--processes=0", "--master=:", "--resume", "--target=",
         "--", "--workers=-1", "--help", "--output_dir=/dev/null", "--max_epochs=0",
         "--flagfile=/etc/passwd", "--undefok=sed"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=20) | st.sampled_from(FLAGS), max_size=4))
def test_any_flags(flags):
    said(lambda: told(lambda: command.parse(["recommendation", "pytorch", *flags]) and 0),
         ROOT / "docs")


@pytest.mark.parametrize("text", ["", " ", "x", "0", "-1", "4,x", "1.5", "99999", ",4"])
def test_odd_numbers_of_threads(text, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    if text == "":
        assert processes.num_threads() == os.cpu_count()
    else:
        with pytest.raises(UserError, match="OMP_NUM_THREADS="):
            processes.num_threads()


@pytest.mark.parametrize(("text", "first"), [("4", 4), ("4,2", 4), (" 3 , 1", 3)])
def test_numbers_of_threads(text, first, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert processes.num_threads() == first


@given(st.text())
def test_what_is_printed_is_one_line(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text if text.isprintable() else shown != text


SCRIPTS = {
    "no arguments": (["common/launch.sh"], {}, "usage: launch.sh"),
    "another application": (["common/launch.sh", "nothing", "pytorch"], {}, "nothing/pytorch"),
    "another framework": (["common/launch.sh", "recommendation", "jax"], {}, "recommendation/jax"),
    "no interpreter": (["recommendation/pytorch/run_and_time.sh"], {"PYTHON": "/nowhere/python"},
                       "PYTHON=/nowhere/python: no such program"),
    "an interpreter that is none": (["recommendation/pytorch/run_and_time.sh"],
                                    {"PYTHON": "/bin/true"}, "no Python 3.11 or later"),
    "an interpreter that is a folder": (["recommendation/pytorch/run_and_time.sh"],
                                        {"PYTHON": "/tmp"}, "PYTHON=/tmp: no such program"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SCRIPTS)
def test_faults_that_a_script_tells(fault):
    arguments, environment, words = SCRIPTS[fault]
    done = subprocess.run(arguments, cwd=ROOT, env=os.environ | environment, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line


@pytest.mark.parametrize(("error", "words"), [
    (UserError("two\nlines \x1b[0m"), r"error: two\nlines \x1b[0m"),
    (OSError(28, "No space left on device", "/full/file"), "error: /full/file: No space left"),
    (MemoryError("80 GiB"), "error: out of memory (80 GiB)"),
])  # fmt: skip
def test_faults_are_told_in_one_line(error, words, capsys):
    def fail():
        raise error

    assert told(fail) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(words)
    assert shown.count("\n") == 1


def test_an_interruption_is_told_in_one_line(capsys):
    def interrupt():
        os.kill(os.getpid(), 15)
        time.sleep(10)

    assert told(interrupt, "Go on with --resume.") == 130
    assert capsys.readouterr().err == "error: interrupted. Go on with --resume.\n"


@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGHUP], ids=lambda blow: blow.name)
def test_what_ends_a_command_lets_it_clear_up(blow):
    cleared = []

    def interrupted():
        try:
            os.kill(os.getpid(), blow)
            time.sleep(10)
        finally:
            cleared.append(blow)

    before = signal.getsignal(blow)
    assert told(interrupted) == 130
    assert cleared == [blow]
    assert signal.getsignal(blow) == before


def test_nohup_is_obeyed():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert told(lambda: os.kill(os.getpid(), signal.SIGHUP)) is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


COMMANDS = ("parity", "launch", "main", "results", "tables", "check_log", "data.download", "report",
            "tensorboard", "submission")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_interruption_while_it_imports_says_nothing(name, tmp_path):
    for imported in ("numpy", "requests"):  # each command imports one of them
        (tmp_path / f"{imported}.py").write_text(
            "import time\nprint('up', flush=True)\ntime.sleep(60)"
        )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with started([sys.executable, "-m", f"common.{name}"], env=environment, stdout=subprocess.PIPE,
                 stderr=subprocess.PIPE) as command:
        assert command.stdout.readline() == "up\n"
        command.send_signal(signal.SIGINT)
        assert command.communicate()[1] == ""
    assert command.returncode == -signal.SIGINT


@pytest.mark.parametrize("early", [False, True])
def test_a_launched_process_ends_with_its_launcher(early, tmp_path):
    """Killed by a signal that nothing can catch; early: while the process still imports."""
    code = """
import os, sys, time
from common import processes
child = processes.start([sys.executable, "-c", "import sys, time; sys.stdin.readline(); "
    "from common.processes import end_with_parent; end_with_parent(); "
    "print('up', flush=True); time.sleep(60)"], os.environ.copy())
print(child.pid, flush=True)
time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as launcher:
        child = int(launcher.stdout.readline())
        if early:
            launcher.kill()
            os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)
        launcher.stdin.write("go on\n")
        launcher.stdin.flush()
        assert launcher.stdout.readline() == ("" if early else "up\n")
        launcher.kill()
        wait_until_gone(child)


def test_what_a_launched_process_starts_ends_with_it():
    """A launcher's launcher, as torchrun, starts processes of its own: each knows its parent."""
    code = """
import os, subprocess, sys
from common.processes import end_with_parent
end_with_parent()
own = "from common.processes import end_with_parent; end_with_parent(); print('up')"
print(subprocess.run([sys.executable, "-c", own], capture_output=True, text=True).stdout, end="")
"""
    child = processes.start([sys.executable, "-c", code], dict(os.environ), cwd=ROOT,
                            stdout=subprocess.PIPE, text=True)
    assert child.communicate()[0] == "up\n"


def wait_until_gone(pid):
    """Until a process has ended, whoever is to take note of it."""
    for _ in itertools.count():
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2]
        except (ProcessLookupError, FileNotFoundError):
            break
        if state == "Z":
            break
        time.sleep(0.05)


def pipe_in_place_of(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize(("name", "command_line"), [
    ("run.log", "check_log.main([FOLDER])"),
    ("result.json", "results.main([FOLDER])"),
    ("SHA256SUMS", "download.main(['recommendation', FOLDER, '--verify'])"),
    ("config.json", "parity(['recommendation', 'pytorch', f'--against={FOLDER}'])"),
    ("run.log", "told(lambda: run_folder.find_resumable(CONFIG))"),
    (".lock", "told(lambda: run_folder.Lock(FOLDER))"),
    ("checkpoint/step_0000000001.safetensors", "told(lambda: run_folder.saved_seed(FOLDER))"),
])  # fmt: skip
def test_no_command_waits_for_a_pipe(name, command_line, tmp_path):
    pipe_in_place_of(tmp_path / name)
    code = ("from common import check_log, command, results, run_folder\n"
            "from common.data import download\nfrom common.errors import told\n"
            "from common.parity.__main__ import main as parity\nfrom tests.common import fake\n"
            f"FOLDER = {str(tmp_path)!r}\nCONFIG = fake.config_of(FOLDER, resume=True)\n"
            f"raise SystemExit({command_line})")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["1e999", "-1e999", "{\"A\": 1e999}", "9" * 400])
def test_no_accuracy_without_end_passes(value, tmp_path, capsys):
    path = fake.write_log(tmp_path / "run", fake.events())
    path.write_text(path.read_text().replace('"value": 0.91', f'"value": {value}'))
    assert check_log.main([str(tmp_path / "run")]) == 1
    assert "no number that is finite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["seconds_to_quality", "examples_per_second", "quality", "target"])
@pytest.mark.parametrize("number", [10**400, float("inf"), float("nan")])
def test_a_number_that_no_float_holds_is_no_result(name, number, good_result, tmp_path):
    value = {"a": number} if name in ("quality", "target") else number
    (tmp_path / "result.json").write_text(json.dumps(good_result | {name: value}))
    shown = said(lambda: results.main([str(tmp_path)]), tmp_path)
    assert f"damaged ({name}" in shown


def test_all_judges_of_a_log_share_their_time(tmp_path, monkeypatch):
    given = []

    def slow(events, arguments, seconds):
        given.append(seconds)
        clock[0] += 5.0
        return []

    clock = [0.0]
    monkeypatch.setattr(check_log.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(check_log, "package_faults", slow)
    fake.write_log(tmp_path / "run", fake.events("ncf"))
    check_log.main([str(tmp_path / "run")])
    assert len(given) == 2
    assert sum(given) <= check_log.MAX_SECONDS + 5.0
    assert given[1] == check_log.MAX_SECONDS - 5.0


def test_no_value_is_nested_too_deep(tmp_path, monkeypatch):
    """Deeper and deeper, until it cannot be read: whatever can be is judged."""
    monkeypatch.setattr(check_log.subprocess, "run", lambda *words, **more: 1 / 0)
    path = tmp_path / "run.log"
    text = fake.write_log(tmp_path, fake.events()).read_text()
    told_so = set()
    for depth in range(1000, 0, -1):
        nested = "[" * depth + "]" * depth
        path.write_text(text.replace('"value": "reference"', f'"value": {nested}'))
        try:
            _, events = check_log.read(str(path))
            told_so.update(check_log.package_faults(events, []))
        except UserError as error:
            assert "recursion" in str(error)
        except ZeroDivisionError:
            break
    assert told_so == {"a value is nested too deep"}


@pytest.mark.parametrize("name", ["outputs", "outputs/port"])
def test_no_link_leads_a_record_out_of_its_folder(name, record, tmp_path):
    folder, outside = tmp_path / "record", tmp_path / "outside"
    shutil.copytree(record, folder)
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    shown = said(lambda: parity(["recommendation", "pytorch", f"port={__name__}:pytorch",
                                 f"--against={folder}"]), tmp_path)
    assert f"{name}: a link" in shown
