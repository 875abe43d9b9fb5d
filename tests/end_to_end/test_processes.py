"""Two processes on loopback, through each framework's own launcher, do what one process does."""

import os
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from common import benchmark, processes, run_folder
from common import command as command_line
from common.command import FRAMEWORKS
from tests.cells import CELLS, cell, script
from tests.conftest import started
from tests.end_to_end.runs import in_order, judged, last_state, running, tiny

EACH_CELL = pytest.mark.parametrize(("application", "framework_name"), CELLS)


def statistic_of(application):
    """What becomes of what is not trained, in words; empty where there is nothing."""
    return benchmark.benchmark_of(application).statistic


# Batch norm computes with a process's own part, so that a run is another: see test_averaging.py.
WHOLE_CELLS = [(application, name) for application, name in CELLS
               if not statistic_of(application) or "frozen" in statistic_of(application)]


@EACH_CELL
def test_together_they_see_the_batches_of_one(application, framework_name, ran, tiny_data):
    config = config_of(application, tiny_data)
    one = records(ran(application, framework_name, "one"))
    two = [records(ran(application, framework_name, "two"), rank) for rank in range(2)]
    assert len(one) == len(two[0]) == len(two[1]) > 3
    for step in range(len(one)):
        whole, *parts = (cell(application).examples(config, batch_of(rank[step]))
                         for rank in (one, *two))
        assert whole == parts[0] + parts[1], step
        assert len(parts[0]) > 1 < len(parts[1])


@pytest.mark.parametrize(("application", "framework_name"), WHOLE_CELLS)
def test_their_averaged_gradient_is_that_of_the_batch(application, framework_name, ran):
    """Told by the optimizer's sums, which begin at 0, and the parameters."""
    two = records(ran(application, framework_name, "two"))
    for step, alone in enumerate(records(ran(application, framework_name, "one"))):
        for name in states(alone):
            assert_close(alone[name], two[step][name], (step, name))


@EACH_CELL
def test_both_hold_the_same_bits(application, framework_name, ran):
    two = [records(ran(application, framework_name, "two"), rank) for rank in range(2)]
    names = states(two[0][0])
    frozen = "frozen" in statistic_of(application)
    trained = [name for name in names if not frozen or not name.startswith("parameter/")]
    for step in range(len(two[0])):
        for name in names:
            assert two[0][step][name].tobytes() == two[1][step][name].tobytes(), (step, name)
        if step:
            changed = [two[0][step][name].tobytes() != two[0][step - 1][name].tobytes()
                       for name in trained if two[0][step][name].any()]  # else without gradient
            assert np.mean(changed) > 0.9


@EACH_CELL
def test_they_end_with_one_result(application, framework_name, ran):
    """The first of them alone logs and saves; nobody else says a word."""
    two = ran(application, framework_name, "two")
    assert two.code == 2
    assert two.stderr == ""
    assert len(two.stdout.splitlines()) == 1, two.stdout
    assert two.stdout.startswith(f"RESULT,{application},{framework_name},1,")
    assert two.stdout.endswith(",aborted\n")
    assert two.result()["num_processes"] == 2
    assert (two.folder / "run.log").read_text().count('"run_start"') == 1
    found = {path.name for path in two.folder.iterdir()} - {"processes"}
    more = getattr(cell(application), "RUN_FOLDER", set())
    assert found == {".lock", "checkpoint", "result.json", "run.log", *more}
    steps = len(records(two))
    assert sorted(path.name for path in (two.folder / "checkpoint").iterdir()) == [
        "step_0000000000.safetensors", f"step_{steps:010d}.safetensors",
    ]  # fmt: skip
    assert in_order(two.folder)
    if (application, framework_name) in WHOLE_CELLS:
        assert two.curve() == ran(application, framework_name, "one").curve()


@pytest.mark.parametrize("application", ["recommendation"])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_they_resume_and_succeed(application, framework_name, ran, tiny_data, command, tmp_path):
    """What a launcher makes of the exit code is the framework's: one application tells."""
    shutil.copytree(ran(application, framework_name, "two").folder, tmp_path, dirs_exist_ok=True)
    run = [script(application, framework_name), *tiny(application, tiny_data(application)),
           "--precision=fp64", "--processes=2", "--resume", f"--output_dir={tmp_path}"]
    resumed = command(*run, "--max_epochs=2", check=False)
    assert (resumed.returncode, resumed.stderr) == (2, "")
    assert run_folder.read_result(tmp_path)["resumed"] == 1
    done = command(*run, "--max_epochs=3", "--target=0")
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stdout.endswith(",success\n")
    assert judged(tmp_path)


@pytest.mark.parametrize("application", ["recommendation"])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_two_hosts_compute_what_one_process_does(
    application, framework_name, ran, tiny_data, tmp_path
):
    """Two hosts of one process each, both of them this one; the first one comes late."""
    hosts = two_hosts(application, framework_name, tiny_data, tmp_path, "--max_epochs=1",
                      "--precision=fp64")  # fmt: skip
    with hosts(1) as second:
        waits = second.stderr.readline()
        assert re.match(r"host 1 of 2 waits for host 0 at localhost:\d+, 60 s at most\n", waits)
        with hosts(0) as first:
            said = [first.communicate(), second.communicate()]
    assert [first.returncode, second.returncode] == [2, 2], said
    assert [out.count("RESULT,") for out, _ in said] == [1, 0]
    assert re.fullmatch("host 0 of 2 waits for the others at .*\n", said[0][1])
    assert said[1][1] == ""
    assert left_in(tmp_path / "temporary") == []
    one = ran(application, framework_name, "one")
    found = last_state(tmp_path / "run")
    for name, expected in last_state(one.folder).items():
        assert_close(expected, found[name], name)


@pytest.mark.parametrize("node_rank", [0, 1])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_a_host_alone_ends_after_the_stated_time(framework_name, node_rank, tiny_data, tmp_path):
    hosts = two_hosts("recommendation", framework_name, tiny_data, tmp_path, "--wait_seconds=1")
    with hosts(node_rank) as alone:
        out, err = alone.communicate()
    assert (alone.returncode, out) == (1, "")
    waits, fault = err.splitlines()
    assert waits.startswith(f"host {node_rank} of 2 waits for ")
    assert waits.endswith(", 1 s at most")
    assert fault.startswith("error: waited 1 s at localhost:")


@pytest.mark.parametrize(("node_rank", "number"), [(0, signal.SIGTERM), (1, signal.SIGINT)])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_a_waiting_host_ends_when_told(framework_name, node_rank, number, tiny_data, tmp_path):
    hosts = two_hosts("recommendation", framework_name, tiny_data, tmp_path)
    with hosts(node_rank) as alone:
        alone.stderr.readline()  # it waits
        alone.send_signal(number)
        out, err = alone.communicate()
        assert (alone.returncode, out) == (130, "")
        assert err == "error: interrupted. Nothing has begun: start again.\n"
    assert running(tmp_path) == []


@pytest.mark.parametrize(("dies", "number", "words"), [
    (0, signal.SIGKILL, "host 0 is gone"),
    (1, signal.SIGKILL, "host 1 is gone"),
    (1, signal.SIGTERM, "host 1 has ended: it was interrupted"),
])  # fmt: skip
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_a_host_ends_with_its_peer(framework_name, dies, number, words, tiny_data, tmp_path):
    hosts = two_hosts("recommendation", framework_name, tiny_data, tmp_path, "--max_epochs=10000")
    log = tmp_path / "run" / "run.log"
    with hosts(0) as first, hosts(1) as second:
        both = [first, second]
        while not (log.exists() and '"block_stop"' in log.read_text()):  # they train
            assert [host.poll() for host in both] == [None, None]
            time.sleep(0.05)
        both[dies].send_signal(number)
        out, err = both[1 - dies].communicate()
        assert (both[1 - dies].returncode, out) == (1, "")
        assert re.fullmatch(f"host .* waits for .*\nerror: {words}.*\n", err)
        both[dies].wait()
        while running(tmp_path):  # the kernel ends them, beside this
            time.sleep(0.05)
    assert left_in(tmp_path / "temporary") == []


def test_a_fault_that_each_process_finds_is_told_once(error_line, tmp_path):
    line = error_line(script("recommendation", "pytorch"), "--processes=2", "--device=cuda",
                      f"--output_dir={tmp_path}/run", environment={"CUDA_VISIBLE_DEVICES": ""})
    assert line == "error: --device=cuda: PyTorch finds no GPU here. Use --device=cpu."


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_processes_weigh_by_their_examples(framework_name, ran, tiny_data, command, tmp_path):
    """Three processes share a batch that three does not divide."""
    application = "recommendation"
    flags = [*tiny(application, tiny_data(application)), "--precision=fp64", "--max_epochs=1"]
    command(script(application, framework_name), *flags, "--processes=3",
            f"--output_dir={tmp_path}/run", check=False)
    one = ran(application, framework_name, "one")
    found = last_state(tmp_path / "run")
    for name, expected in last_state(one.folder).items():
        assert_close(expected, found[name], name)


def two_hosts(application, framework_name, tiny_data, folder, *flags):
    """hosts(rank): a host's command, started, with a folder of its own for temporary files."""
    ports = [processes.free_port() for _ in range(3)]
    (folder / "temporary").mkdir()
    flags = [*tiny(application, tiny_data(application)), "--nodes=2", "--wait_seconds=60",
             f"--master=localhost:{ports[0]}", f"--output_dir={folder}/run", *flags]
    environment = os.environ | {"TF_HOSTS": f"127.0.0.1:{ports[1]},127.0.0.1:{ports[2]}",
                                "TMPDIR": str(folder / "temporary")}

    def start(rank):
        return started([script(application, framework_name), *flags, f"--node_rank={rank}"],
                       env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return start


def left_in(folder):
    """What a run has left there; PyTorch has one folder of its own, whatever it does."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("torchinductor_")]


def config_of(application, tiny_data):
    """The small run's config, prepared."""
    flags = tiny(application, tiny_data(application))
    return command_line.prepare(command_line.parse([application, "pytorch", *flags]).config)


def records(run, rank=0):
    """[what observed.py wrote of each step] by a process of a run."""
    assert (run.folder / "result.json").exists(), run.stderr
    return [np.load(path) for path in sorted(run.folder.parent.glob(f"rank{rank}_step*.npz"))]


def batch_of(record):
    """The batch in a record."""
    names = [name for name in record if name.startswith("batch/")]
    return {name.removeprefix("batch/"): record[name] for name in names}


def states(record):
    """The names of parameters and sums in a record."""
    return [name for name in record if not name.startswith("batch/")]


def assert_close(expected, found, name):
    """But for float64's rounding."""
    gap = np.linalg.norm(found - expected)
    assert gap <= 1e-9 * np.linalg.norm(expected), (name, gap, np.linalg.norm(expected))
