"""The command line of a run: its config, its processes, and one parse on the way to the run."""

import os
import re

import pytest

from common import benchmark, command, launch, main, run_folder
from common.command import FRAMEWORKS, Layout
from common.errors import UserError
from tests.cells import APPLICATIONS, CELLS
from tests.common import fake

HOSTS = ["--nodes=2", "--master=here:7000", "--seed=1", "--output_dir=shared"]


def parsed(*flags, application="recommendation"):
    return command.parse([application, "pytorch", *flags])


@pytest.mark.parametrize("cell", CELLS, ids="/".join)
def test_every_cell_is_known(cell):
    application, framework = cell
    found = command.parse([application, framework, "--seed=5"])
    config = found.config
    assert (config.application, config.framework, config.seed) == (application, framework, 5)
    assert config.output_dir == f"runs/{application}-{framework}-quick-5"
    assert type(config) is benchmark.module(application, "config").Config
    assert found.layout == Layout()
    assert found.arguments == (application, framework, "--seed=5")


def test_a_seed_comes_from_the_clock(monkeypatch):
    monkeypatch.setattr(command.time, "time_ns", lambda: 7 * 2**31 + 12)
    assert parsed().config.seed == 12


@pytest.mark.parametrize(
    ("cores", "flags", "workers"),
    [
        (12, [], 12),
        (1, ["--processes=2"], 1),
        (20, ["--processes=3"], 6),
        (20, ["--processes=3", "--workers=2"], 2),
        (20, ["--workers=0"], 0),
        (400, ["--processes=8"], 16),
        (12, ["--processes=2", "--nodes=2", "--master=here:7000", "--seed=1",
              "--output_dir=shared"], 6),
    ],
)
def test_data_processes_follow_the_cores_of_a_host(cores, flags, workers, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    found = parsed("--profile=reference", *flags, application="image_classification")
    assert found.config.workers == workers


@pytest.mark.parametrize(
    ("flags", "layout", "world_size"),
    [
        ([], Layout(), 1),
        (["--processes=4"], Layout(processes=4), 4),
        (HOSTS, Layout(nodes=2, host="here", port=7000), 2),
        ([*HOSTS, "--node_rank=1", "--processes=3"],
         Layout(processes=3, nodes=2, node_rank=1, host="here", port=7000), 6),
        (["--nodes=1", "--master=here:7000"], Layout(), 1),
        ([*HOSTS[:1], "--master=[::1]:7000", *HOSTS[2:], "--wait_seconds=5"],
         Layout(nodes=2, host="::1", port=7000, wait_seconds=5), 2),
    ],
)  # fmt: skip
def test_processes_on_hosts(flags, layout, world_size):
    found = parsed(*flags).layout
    assert found == layout
    assert found.world_size() == world_size


def without(flag):
    return [given for given in HOSTS if not given.startswith(flag)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (without("--master"), "--master=HOST:PORT"),
        ([*without("--master"), "--master=here"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=here:http"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=here:0"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=here:65536"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=here:²"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=::1:7000"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=[here]:7000"], "--master=HOST:PORT"),
        ([*without("--master"), "--master=http://here:7000"], "--master=HOST:PORT"),
        (["--master=here:7000"], "--master: of several hosts. Add --nodes=NUMBER"),
        (["--node_rank=1"], "--node_rank: of several hosts. Add --nodes=NUMBER"),
        ([*HOSTS, "--wait_seconds=0"], "wait_seconds"),
        (["--processes=50000"], "--processes=50000"),
        ([*HOSTS, "--node_rank=2"], "--node_rank=2: expected 0 to 1."),
        (without("--seed"), "give every host the same --seed"),
        (without("--output_dir"), "give every host the same --output_dir"),
        (["--resume"], "--resume: name the run's folder with --output_dir."),
        (["--set=mlp_sizes=15,8"], "expected an even first size"),  # the application's check
    ],
)
def test_a_fault_is_one_line(flags, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        parsed(*flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [[], ["recommendation"], ["recommendation", "jax"],
                                       ["--seed=1", "recommendation", "pytorch"]])
def test_usage_names_all_frameworks(arguments):
    with pytest.raises(UserError) as caught:
        command.parse(arguments, "usage: this")
    assert str(caught.value).startswith("usage: this; APPLICATION is one of ")
    for name in (*APPLICATIONS, *FRAMEWORKS):
        assert name in str(caught.value)


def test_an_unknown_application_is_never_imported():
    for name in ("os", "../x", "common", "tests"):
        with pytest.raises(UserError, match="no such application"):
            parsed(application=name)


def test_a_resumed_run_has_the_seed_of_its_checkpoint(tmp_path):
    fake.run(fake.config_of(tmp_path, seed=77, target=1.1, num_epochs=1), [0.1])
    found = parsed("--resume", f"--output_dir={tmp_path}", application="image_classification")
    assert found.config.seed == 77
    assert found.config.resume
    found = parsed("--resume", "--seed=3", f"--output_dir={tmp_path}")
    assert found.config.seed == 3  # which the run then refuses
    assert run_folder.saved_seed(str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize("start", [main.main, lambda arguments: launch.launch(arguments)])
def test_a_run_parses_its_command_line_once(start, monkeypatch):
    """One process: what was parsed is what runs, in the process that parsed it."""
    parse, parses, ran = command.parse, [], []

    def counted(*arguments):
        parses.append(arguments)
        return parse(*arguments)

    monkeypatch.setattr(command, "parse", counted)
    monkeypatch.setattr(main, "run", lambda config: ran.append(config) or 2)
    assert start(["recommendation", "pytorch", "--seed=9"]) == 2
    assert len(parses) == 1
    assert [config.seed for config in ran] == [9]


def test_a_target_that_does_not_fit_is_told_before_the_run(tmp_path, monkeypatch):
    config = fake.config_of(tmp_path, target="bbox=0.3")
    monkeypatch.setattr(benchmark.module("image_classification", "data"), "prepare", lambda c: c)
    with pytest.raises(UserError, match=r"target=bbox=0\.3: expected top1_accuracy=VALUE"):
        command.prepare(config)
    assert command.prepare(fake.config_of(tmp_path)) == fake.config_of(tmp_path)


def test_a_switch_takes_no_value():
    with pytest.raises(UserError, match="--nocompile=1 does not take an argument"):
        parsed("--nocompile=1")


@pytest.mark.parametrize(("said", "words"), [
    (["error: no room.\n"] * 2, "error: no room.\n"),
    (["error: \x1b[31m\n", "odd\n"], "error: \\x1b[31m\n"),
    (["odd\n", ""], "a process failed"),
])  # fmt: skip
def test_of_a_launchers_logs_one_error_is_told(said, words, tmp_path, monkeypatch, capsys):
    def failed(children, check):
        for rank, text in enumerate(said):
            folder = next((tmp_path / "processes").iterdir())
            (folder / f"workerlog.{rank}").write_text(text)
        return 1

    monkeypatch.setattr(launch.processes, "start", lambda *words, **more: None)
    monkeypatch.setattr(launch.processes, "wait_for_all", failed)
    assert launch.paddle([], {}, Layout(processes=2), fake.config_of(tmp_path)) == 1
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1
    assert words in shown


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("where", ["prepare", "run", "meet"])
def test_resuming_is_advised_once_a_run_has_begun(where, begun, tmp_path, monkeypatch, capsys):
    """Ctrl-C while the data are looked for, while the other hosts are waited for, and later."""
    folder = tmp_path / "run"

    def interrupted(*given):
        if begun:
            folder.mkdir(exist_ok=True)
            (folder / "run.log").touch()
        raise KeyboardInterrupt

    flags = ["--seed=1", f"--output_dir={folder}"]
    if where == "meet":
        flags += ["--nodes=2", "--master=here:7000"]
        monkeypatch.setattr(command, "prepare", lambda config: config)
        monkeypatch.setattr(launch, "Hosts", interrupted)
    else:
        monkeypatch.setattr(*{"prepare": (command, "prepare"), "run": (main, "run")}[where],
                            interrupted)
    words = ("Go on with --resume and the same --output_dir." if begun else
             "Nothing has begun: start again.")  # fmt: skip
    for start in (launch.main,) if where == "meet" else (launch.main, main.main):
        assert start(["recommendation", "pytorch", *flags]) == 130
        assert capsys.readouterr().err == f"error: interrupted. {words}\n"
