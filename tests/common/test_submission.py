"""A submission folder: what is refused, what lies where, and what MLCommons' own checkers say."""

import dataclasses
import json
import os
import shutil
import subprocess

import pytest

from common import benchmark, command, machine, results, run_folder, submission
from tests.common import fake

FIELDS = """
    status host_processors_per_node host_processor_model_name host_processor_core_count
    host_processor_vcpu_count host_processor_frequency host_processor_caches
    host_processor_interconnect host_memory_capacity host_storage_type host_storage_capacity
    host_networking host_networking_topology host_memory_configuration accelerators_per_node
    accelerator_model_name accelerator_host_interconnect accelerator_frequency
    accelerator_on-chip_memories accelerator_memory_configuration accelerator_memory_capacity
    accelerator_interconnect accelerator_interconnect_topology cooling hw_notes framework
    other_software_stack operating_system sw_notes number_of_nodes
"""
SYSTEM = dict.fromkeys(FIELDS.split(), "1") | {
    "submitter": "Example", "system_name": "box-1", "division": "open",
    "status": "Research, Development, or Internal (RDI)",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_caches(monkeypatch):
    """A closed run clears them, which needs root."""
    monkeypatch.setattr(machine, "clear_caches", lambda: None)
    monkeypatch.setattr(run_folder, "commit", lambda: "c" * 40)


def runs(folder, seeds, value=0.95, **changes):
    """A folder of runs, one for each of the seeds."""
    for seed in seeds:
        config = fake.config_of(folder / str(seed), seed=seed, **changes)
        fake.run(config, [0.5, value])
    return folder


def closed(folder, seeds, profile):
    """Runs of the closed division: a real profile's config, though on sixteen numbers."""
    config = benchmark.module("image_classification", "config").PROFILES[profile]
    for seed in seeds:
        fields = {"application": "image_classification", "framework": "pytorch", "seed": seed,
                  "output_dir": str(folder / str(seed)), "workers": 0, "clear_caches": True}
        fake.run(dataclasses.replace(config, **fields), [0.8] * config.num_epochs)
    return folder


@pytest.fixture
def system(tmp_path):
    """system(**changes): the path of a system's description."""
    def write(**changes):
        path = tmp_path / "system.json"
        path.write_text(json.dumps({k: v for k, v in (SYSTEM | changes).items() if v is not None}))
        return f"--system={path}"

    return write


def said(capsys, code, *argv):
    """The lines that the command prints, and ends with this code."""
    capsys.readouterr()
    found = submission.main([str(one) for one in argv])
    shown = capsys.readouterr()
    assert found == code, shown.out + shown.err
    return (shown.err if code == 1 else shown.out).splitlines()


@pytest.mark.parametrize("round_", ["0.7.0", "4.0.0"])
def test_an_open_package_passes_mlcommons_checkers(round_, system, tmp_path, capsys):
    source = runs(tmp_path / "runs", range(1, 6))
    lines = said(capsys, 0, source, system(), "-o", tmp_path / "package", f"--round={round_}")
    assert all(line.startswith("PASS  mlperf-logging ") for line in lines)
    assert lines[0].endswith(f"package_checker {round_}: resnet")
    assert len(lines) == (2 if round_ == "4.0.0" else 1)  # and the repository's
    folder = tmp_path / "package" / "Example"
    assert json.loads((folder / "systems" / "box-1.json").read_text()) == SYSTEM
    place = folder / "results" / "box-1" / "resnet"
    assert sorted(path.name for path in place.iterdir()) == [f"result_{n}.txt" for n in range(5)]
    assert (place / "result_2.txt").read_text().count("\n") == (
        source / "3" / "run.log").read_text().count("\n")
    code = folder / "benchmarks" / "resnet" / "implementations" / "pytorch"
    assert (code / "image_classification" / "pytorch" / "run_and_time.sh").exists()
    assert (code / "image_classification" / "README.md").exists()
    assert (code / "common" / "launch.sh").exists()
    assert not (code / "image_classification" / "tensorflow").exists()
    hidden = [path for path in folder.rglob("*") if path.name.startswith((".", "__pycache__"))]
    assert not hidden
    assert not list(tmp_path.glob("*.part"))


def test_the_scripts_run_the_code_and_the_flags_make_the_config(system, tmp_path, capsys):
    source = runs(tmp_path / "runs", range(1, 6), batch_size=2, target=0.9, compile=True)
    said(capsys, 0, source, system(), "-o", tmp_path / "package")
    folder = tmp_path / "package" / "Example" / "benchmarks" / "resnet" / "box-1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "box-1_pytorch.json", "init_datasets.sh", "run_and_time.sh", "setup.sh"]
    result = results.find([str(source)])[0][0]
    flags = submission.flags(result)
    assert {"--profile=quick", "--set=batch_size=2", "--set=compile=True"} <= set(flags)
    config = command.parse(["image_classification", "pytorch", *flags, "--seed=1",
                            f"--output_dir={source}/1", "--workers=0"]).config
    found = json.loads(json.dumps(dataclasses.asdict(config)))
    given = result["config"]
    assert {name: value for name, value in given.items() if found[name] != value}.keys() <= {
        "num_train_images", "num_eval_images"}  # what the data settle
    script = folder / "run_and_time.sh"
    assert os.access(script, os.X_OK)
    assert " ".join(flags) in script.read_text()
    # It finds its code from wherever it is called.
    done = subprocess.run([script, "--seed=no"], cwd="/", capture_output=True, text=True,
                          env=os.environ | {"PYTHON": "/bin/false"})
    assert "PYTHON=/bin/false: no Python 3.11" in done.stderr


def test_a_closed_package_is_judged_closed(system, tmp_path, capsys):
    source = closed(tmp_path / "runs", range(1, 6), "lars")
    lines = said(capsys, 0, source, system(division="closed"), "-o", tmp_path / "package")
    assert len(lines) == 1 and lines[0].endswith("package_checker 0.7.0: resnet")
    # Later rounds hold the epochs against the reference's, and these numbers learn too fast.
    lines = said(capsys, 2, source, system(division="closed"), "-o", tmp_path / "other",
                 "--round=4.0.0")
    assert any("RCP Test Failed" in line for line in lines)


def test_the_step_schedule_is_named_and_left_out(system, tmp_path, capsys):
    source = closed(tmp_path / "runs", range(1, 6), "reference")
    lines = said(capsys, 2, source, system(division="closed"), "-o", tmp_path / "package")
    assert lines[0] == "FAIL  resnet: no closed package of round 0.7.0 holds these runs"
    assert "the rules want a polynomial" in lines[1]
    assert not list((tmp_path / "package").rglob("result_*.txt"))


def test_what_the_round_knows_not_is_judged_here(system, tmp_path, capsys):
    source = runs(tmp_path / "runs", range(1, 6))
    lines = said(capsys, 0, source, system(), "-o", tmp_path / "package", "--round=6.1.0")
    assert lines[0].endswith("package_checker 6.1.0: no benchmark of these")
    assert lines[-1] == ("PASS  resnet: 5 logs by common.check_log; round 6.1.0 knows no resnet")
    log = source / "2" / "run.log"
    log.write_text("".join(line for line in log.read_text().splitlines(True)
                           if "eval_accuracy" not in line))
    lines = said(capsys, 2, source, system(), "-o", tmp_path / "other", "--round=6.1.0")
    assert any(line.startswith("FAIL  resnet: 5 logs") for line in lines)
    assert any("seed 2: " in line for line in lines)


def test_the_checkers_failure_is_read_from_its_text(system, tmp_path, capsys):
    """It exits with 0 all the same."""
    source = runs(tmp_path / "runs", range(1, 6))
    for seed in (1, 2):  # one bad file is tolerated
        log = source / str(seed) / "run.log"
        log.write_text("".join(line for line in log.read_text().splitlines(True)
                               if "global_batch_size" not in line and "cache_clear" not in line))
    lines = said(capsys, 2, source, system(), "-o", tmp_path / "package")
    assert lines[0].startswith("FAIL  mlperf-logging ")
    assert any("cache_clear" in line for line in lines)
    assert any("2 files do not comply" in line for line in lines)


def test_runs_of_another_commit_are_named(system, tmp_path, capsys, monkeypatch):
    source = runs(tmp_path / "runs", range(1, 6))
    monkeypatch.setattr(run_folder, "commit", lambda: "d" * 40)
    lines = said(capsys, 2, source, system(), "-o", tmp_path / "package")
    assert lines[1:] == ["FAIL  the code in benchmarks/", f"      is of {'d' * 40}, the runs are "
                         f"of {'c' * 40}: check that commit out, and say this again there"]


def rewritten(folder, number, **changes):
    path = folder / str(number) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("five"), range(1, 6))


@pytest.mark.parametrize(("change", "words"), [
    (lambda f: rewritten(f, 1, framework="tensorflow"), "runs of several frameworks"),
    (lambda f: rewritten(f, 1, system={"cores": 99}), "runs of several machines"),
    (lambda f: rewritten(f, 1, num_processes=2), "which differ in num_processes. Name the"),
    (lambda f: (f / "1" / "result.json").unlink(), "has 4 runs, a result has 5. 1 are missing"),
    (lambda f: runs(f, [6]), "has 6 runs, a result has 5. Name 5 of them"),
    (lambda f: rewritten(f, 1, seed=2), "seed 2 more than once"),
    (lambda f: [rewritten(f, seed, status="aborted") for seed in (1, 2)], "missed its target"),
    (lambda f: rewritten(f, 1, division="closed"), "a run of the closed division, the system's"),
    (lambda f: (f / "1" / "result.json").write_text("{"), "1/result.json: damaged"),
    (lambda f: [rewritten(f, seed, framework="../../../../../up") for seed in range(1, 6)],
     "1/result.json: framework is '../../../../../up': expected one of pytorch"),
    (lambda f: [rewritten(f, seed, framework="tensorflow") for seed in range(1, 6)],
     "1/result.json: framework is 'tensorflow': expected one of pytorch, tensorflow, paddlepaddle, "
     "as in its config"),
    (lambda f: [rewritten(f, seed, config={}) for seed in range(1, 6)],
     "1/result.json: config: application: expected"),
    (lambda f: (f / "1" / "run.log").unlink(), "1/run.log: No such file"),
    (lambda f: rewritten(f, 1, seed=77), "its log says seed 1, its result 77"),
])  # fmt: skip
def test_what_is_refused_is_one_line_and_nothing_is_written(change, words, five, system, tmp_path,
                                                            capsys):
    folder = shutil.copytree(five, tmp_path / "runs")
    change(folder)
    lines = said(capsys, 1, folder, system(), "-o", tmp_path / "package")
    assert sum(words in line for line in lines) == 1
    assert all(line.startswith("error: ") for line in lines)
    assert not (tmp_path / "package").exists()


def test_open_runs_in_a_closed_folder_are_refused_each(five, system, tmp_path, capsys):
    lines = said(capsys, 1, five, system(division="closed"), "-o", tmp_path / "package")
    assert len(lines) == 5
    assert all("a run of the open division, the system's description says closed" in line
               for line in lines)


@pytest.mark.parametrize(("changes", "words"), [
    ({"cooling": None, "hw_notes": None}, "'Missing field cooling', 'Missing field hw_notes'"),
    ({"submitter": "../up"}, "submitter is '../up': expected letters"),
    ({"system_name": None}, "system_name is None"),
    ({"division": "Closed"}, "division is 'Closed': expected closed or open"),
    ({"number_of_nodes": 1}, "values are texts, numbers in quotes"),
    ({"status": "mine"}, "Field status contains a non valid value: mine"),
])  # fmt: skip
def test_a_description_that_is_none(changes, words, five, system, tmp_path, capsys):
    [line] = said(capsys, 1, five, system(**changes), "-o", tmp_path / "x", "--round=4.0.0")
    assert words in line


@pytest.mark.parametrize(("argv", "words"), [
    ([], "usage: "),
    (["--round=0.6.0"], "--round=0.6.0: expected one of 0.7.0, 1.0.0"),
    (["--round=9"], "--round=9: expected one of"),
])  # fmt: skip
def test_wrong_words(argv, words, five, system, tmp_path, capsys):
    more = [system(), "-o", tmp_path / "x"] if argv else []
    [line] = said(capsys, 1, five, *more, *argv)
    assert words in line


def test_a_package_within_the_code_that_it_copies(five, system, capsys):
    inside = os.path.join(benchmark.ROOT, "image_classification", "new", "package")
    [line] = said(capsys, 1, five, system(), "-o", inside)
    assert "which is copied. Name a folder elsewhere." in line
    assert not os.path.exists(os.path.dirname(inside))


def test_a_hostile_commit_is_text(five, system, tmp_path, capsys):
    folder = shutil.copytree(five, tmp_path / "runs")
    for seed in range(1, 6):
        rewritten(folder, seed, commit="\ud800`\n# title")
    said(capsys, 2, folder, system(), "-o", tmp_path / "package", "--round=6.1.0")
    readme, = (tmp_path / "package").glob("*/benchmarks/resnet/box-1/README.md")
    assert r"Commit: `\ud800`\n# title`." in readme.read_text()


def test_an_interruption_leaves_nothing_and_others_folders_alone(five, system, tmp_path, capsys,
                                                                 monkeypatch):
    (tmp_path / "package.part").mkdir()  # another's
    (tmp_path / "package.part" / "kept").touch()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "judge", interrupted)
    description = system()
    before = set(tmp_path.rglob("*"))
    assert submission.main([str(five), description, "-o", str(tmp_path / "package")]) == 130
    assert set(tmp_path.rglob("*")) == before


def test_a_checker_that_hangs_or_breaks_down(five, system, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(submission, "read_system", lambda *_: SYSTEM)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\ncat\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(submission.sys, "executable", str(broken))
    lines = said(capsys, 2, five, system(), "-o", tmp_path / "one", "--round=4.0.0")
    assert [lines[1].strip(), lines[3].strip()] == [
        "ERROR - package_checker broke down", "ERROR - repo_checker broke down"]
    broken.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(submission, "MAX_SECONDS", 0.5)
    lines = said(capsys, 2, five, system(), "-o", tmp_path / "two")
    assert lines[1].strip() == "ERROR - took more than 0.5 s"


def test_a_folder_that_is_there_is_left_alone(five, system, tmp_path, capsys):
    (tmp_path / "package").mkdir()
    [line] = said(capsys, 1, five, system(), "-o", tmp_path / "package")
    assert "package: there already" in line
    [line] = said(capsys, 1, five, "--system=nowhere.json", "-o", tmp_path / "x")
    assert "nowhere.json: No such file" in line
