"""A submission folder: python -m common.submission FOLDER... --system=FILE -o DIR [--round=0.7.0]

Lays results out as MLCommons' package checker of a round wants them, and has it judge them:

    DIR/SUBMITTER/systems/SYSTEM.json                     the system's description, FILE
    DIR/SUBMITTER/results/SYSTEM/BENCHMARK/result_0.txt   a run's whole log, one file a run
    DIR/SUBMITTER/benchmarks/BENCHMARK/SYSTEM/            README.md and the scripts of these runs
    DIR/SUBMITTER/benchmarks/BENCHMARK/implementations/   the code, as it is here

SUBMITTER and SYSTEM are FILE's "submitter" and "system_name".  The package checker skips the
benchmarks that its round does not know: their logs are judged by common.check_log.  A closed run
that departs from the newer rounds' rules is named, and left out.  Exit code: 0 all passes; 1 a
fault of the user, nothing is written; 2 something does not pass or is missing.
"""

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from mlperf_logging.benchmark_meta import get_allowed_benchmarks
from mlperf_logging.compliance_checker.mlp_compliance import rule_choices

from common import benchmark, check_log, options, results, run_folder
from common.command import FRAMEWORKS
from common.errors import ABORTED, UserError, printable, tell, told
from common.files import new_folder
from common.mllog import written

USAGE = "usage: python -m common.submission FOLDER... --system=FILE -o DIR [--round=0.7.0]"
DEFAULT_ROUND = "0.7.0"     # the one that knows most of v0.5's benchmarks
TOO_OLD = ("0.6.0",)        # reads another form of log
REPOSITORY_ROUND = "2.0.0"  # from here on file names and sizes are checked too
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
MAX_SECONDS = 600           # for a checker of the whole folder
MAX_LINES = 20              # of what it finds
FLAGS = ("device", "precision", "target")  # fields with a flag of their own


def read_system(path, round_):
    """The system's description.  Raises UserError for what the round's checker misses in it."""
    try:
        system = run_folder.read_json(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Name the system's description.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no JSON ({error}).") from None
    if not isinstance(system, dict) or not all(isinstance(v, str) for v in system.values()):
        raise UserError(f"{path}: expected an object whose values are texts, numbers in quotes.")
    for name in ("submitter", "system_name"):
        if not NAME.fullmatch(system.get(name, "")):
            raise UserError(f"{path}: {name} is {system.get(name)!r}: expected letters, digits and "
                            "._+-; folders are named by it.")
    if system.get("division") not in ("closed", "open"):
        raise UserError(f"{path}: division is {system.get('division')!r}: expected closed or open.")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "system.json"), "w") as opened:
            json.dump(system, opened)
        said = run_checker("system_desc_checker", "system.json", "training", round_, folder=folder)
    for line in said:
        if "failed for" in line:
            raise UserError(f"{path}: {line.partition(' : ')[2]}")
    return system


def run_checker(name, *arguments, folder):
    """The lines that a checker of MLCommons' package says, run in a folder."""
    command = [sys.executable, "-m", f"mlperf_logging.{name}", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, timeout=MAX_SECONDS)
    except subprocess.TimeoutExpired:
        return [f"ERROR - took more than {MAX_SECONDS} s"]
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    if done.returncode:
        lines.append(f"ERROR - {name} broke down")
    return lines


def refusals(runs, system):
    """Yields a line for each thing that keeps runs, [(path, result)], from a package at all."""
    by_application = {}
    for path, result in runs:
        by_application.setdefault(result["application"], []).append((path, result))
    for name, what in (("framework", "frameworks"), ("system", "machines")):
        if len({json.dumps(result[name], sort_keys=True) for _, result in runs}) > 1:
            yield (f"runs of several {what}: a system is described with one. Name the runs of one.")
    for application, own in by_application.items():
        found = [result for _, result in own]
        if application not in benchmark.applications():
            yield f"{application}: no such application here."
            continue
        needed = benchmark.benchmark_of(application).runs
        kinds = {results.alike(result): result for result in found}
        if len(kinds) > 1:
            yield (f"{application}: runs of {len(kinds)} configurations, which differ in "
                   f"{', '.join(results.differing(list(kinds.values())))}. Name the runs of one.")
        if len(found) != needed:
            less = len(found) < needed
            yield (f"{application}: has {len(found)} runs, a result has {needed}. "
                   f"{f'{needed - len(found)} are missing' if less else f'Name {needed} of them'}.")
        seeds = [result["seed"] for result in found]
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            yield f"{application}: seed {', '.join(map(str, twice))} more than once. Run others."
        if sum(result["status"] != "success" for result in found) > 1:
            yield f"{application}: more than one run missed its target: that is no result."
        for path, result in own:
            try:
                config = options.from_json(benchmark.module(application, "config").Config,
                                           result["config"])
            except UserError as error:
                yield f"{path}: {error} Its run is of another version."
                continue
            if result["framework"] not in FRAMEWORKS or config.framework != result["framework"]:
                yield (f"{path}: framework is {result['framework']!r}: expected one of "
                       f"{', '.join(FRAMEWORKS)}, as in its config.")
            division = result.get("division")
            if division != system["division"]:
                yield (f"{path}: a run of the {division} division, the system's description says "
                       f"{system['division']}. See docs/rules.md for what is closed.")


def read_logs(runs):
    """{application: [(result, events of its log)]}, by seed.  Raises UserError."""
    logs = {}
    for path, result in sorted(runs, key=lambda one: one[1]["seed"]):
        folder = os.path.dirname(path)
        _, events = check_log.read(folder)
        values = {event["key"]: event["value"] for event in events}
        facts = benchmark.benchmark_of(result["application"])
        for key, expected in (("submission_benchmark", facts.name), ("seed", result["seed"]),
                              ("submission_division", result["division"])):
            if values.get(key) != expected:
                raise UserError(f"{folder}: its log says {key} {values.get(key)!r}, its result "
                                f"{expected!r}: they are not of one run.")
        logs.setdefault(result["application"], []).append((result, events))
    return logs


def left_out(facts, events, known):
    """Why no closed package of a round holds a run, or an empty text.  known: the round's names."""
    values = {event["key"]: event["value"] for event in events}
    closed = values["submission_division"] == "closed"
    if closed and facts.name in known and facts.rule_set(values) is None:
        return facts.departs or "it departs from the newer rounds' rules"
    return ""


def flags(result):
    """The flags of run_and_time.sh that make a run of a result's config anew, but for its seed."""
    config = result["config"]
    profile = benchmark.module(result["application"], "config").PROFILES.get(config["profile"])
    if profile is None:
        raise UserError(f"{result['application']}: no profile {config['profile']!r} here.")
    found = [f"--profile={config['profile']}"]
    if result["num_processes"] > 1:
        found.append(f"--processes={result['num_processes']}")
    for name, value in config.items():
        usual = getattr(profile, name, None)
        usual = list(usual) if isinstance(usual, tuple) else usual
        # What a profile leaves open, the command or the data settle.
        if name in results.OWN or usual in (None, "") or value == usual:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        found.append("--clear_caches" if name == "clear_caches" and value else
                     f"--{name}={text}" if name in FLAGS else f"--set={name}={text}")
    return found


def require_outside(folder, code):
    """Raises UserError for a package within the code that it is to hold a copy of."""
    code = os.path.realpath(code)
    if os.path.commonpath([os.path.realpath(folder), code]) == code:
        raise UserError(f"{folder}: lies in {code}, which is copied. Name a folder elsewhere.")


def lay(folder, system, logs):
    """Writes the package of {application: [(result, events)]} into a new folder."""
    name = system["system_name"]
    os.makedirs(os.path.join(folder, "systems"))
    with open(os.path.join(folder, "systems", f"{name}.json"), "w") as opened:
        json.dump(system, opened, indent=2)
    os.makedirs(os.path.join(folder, "results", name))
    for application, runs in logs.items():
        facts = benchmark.benchmark_of(application)
        place = os.path.join(folder, "results", name, facts.name)
        os.makedirs(place)
        for index, (_, events) in enumerate(runs):
            with open(os.path.join(place, f"result_{index}.txt"), "w") as opened:
                opened.writelines(f"{written(event)}\n" for event in events)
        framework = runs[0][0]["framework"]
        code = os.path.join(folder, "benchmarks", facts.name, "implementations", framework)
        copy_code(application, framework, code)
        write_scripts(os.path.join(folder, "benchmarks", facts.name, name), runs[0][0], name,
                      [result["seed"] for result, _ in runs])


def copy_code(application, framework, folder):
    """The code of one variant, and what it needs of the repository."""
    others = [name for name in FRAMEWORKS if name != framework]
    hidden = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    source = benchmark.applications()[application]

    def ignored(place, names):
        beside = others if os.path.samefile(place, source) else []
        return {*hidden(place, names), *beside}

    shutil.copytree(source, os.path.join(folder, application), ignore=ignored)
    shutil.copytree(os.path.join(benchmark.ROOT, "common"), os.path.join(folder, "common"),
                    ignore=hidden)
    for name in ("LICENSE", "constraints.txt", "pyproject.toml"):
        shutil.copy(os.path.join(benchmark.ROOT, name), folder)


def write_scripts(folder, result, system, seeds):
    """README.md, the scripts that make these runs, and a description of the implementation."""
    application, framework = result["application"], result["framework"]
    os.makedirs(folder)
    command = shlex.join([f"{application}/{framework}/run_and_time.sh", *flags(result)])
    root = f'"$(dirname "${{BASH_SOURCE[0]}}")"/../implementations/{framework}'
    scripts = {
        "setup.sh": f"common/in_environment.sh {application} {framework} -c pass",
        "init_datasets.sh": f'{application}/download_dataset.sh "$@"',
        "run_and_time.sh": f'{command} "$@"',
    }
    words = {"setup.sh": "makes the environment",
             "init_datasets.sh": "FOLDER fetches and checks the dataset",
             "run_and_time.sh": "--seed=N --data_dir=FOLDER --output_dir=FOLDER is one run"}
    for name, line in scripts.items():
        path = os.path.join(folder, name)
        with open(path, "w", errors="backslashreplace") as opened:
            opened.write(f"#!/usr/bin/env bash\n# {name} {words[name]}\nset -euo pipefail\n"
                         f"exec {root}/{line}\n")
        os.chmod(path, 0o755)
    with open(os.path.join(folder, f"{system}_{framework}.json"), "w") as opened:
        json.dump({name: result[name] for name in ("framework", "versions", "system", "commit",
                                                   "num_processes", "config")}, opened, indent=2)
    with open(os.path.join(folder, "README.md"), "w") as opened:
        opened.write(
            f"# {application} in {framework}\n\n"
            f"The benchmark is described in `../implementations/{framework}/{application}/"
            "README.md`. These scripts make the runs anew, in this order:\n\n"
            "| script | what |\n|---|---|\n"
            + "".join(f"| `{name}` | {text} |\n" for name, text in words.items())
            + f"\nSeeds: {', '.join(map(str, seeds))}. Commit: `{printable(result['commit'])}`.\n"
        )


def judge(folder, round_, logs, known):
    """[(words, [fault])] of each judge of a package that lies in a folder."""
    package = f"mlperf-logging {importlib.metadata.version('mlperf-logging')}"
    names = [benchmark.benchmark_of(application).name for application in logs]
    held = [name for name in names if name in known]
    found = []
    with tempfile.TemporaryDirectory() as elsewhere:  # the checkers leave files where they run
        said = run_checker("package_checker", folder, "training", round_, folder=elsewhere)
        words = f"{package}, package_checker {round_}: {', '.join(held) or 'no benchmark of these'}"
        found.append((words, [] if any("FOUND NO ERRORS, SUCCESS" in line for line in said)
                      else faults_in(said)))
        if version(round_) >= version(REPOSITORY_ROUND):
            said = run_checker("repo_checker", folder, "training", round_, folder=elsewhere)
            passed = any("ALL CHECKS PASSED" in line for line in said)
            found.append((f"{package}, repo_checker {round_}",
                          [] if passed else faults_in(said)))
    for application, runs in logs.items():
        name = benchmark.benchmark_of(application).name
        if name not in known:
            faults = [f"seed {result['seed']}: {fault}" for result, events in runs
                      for _, own in check_log.judgements(events) for fault in own]
            found.append((f"{name}: {len(runs)} logs by common.check_log; round {round_} knows no "
                          f"{name}", faults))
    return found


def faults_in(lines):
    """Of what a checker says, what is wrong."""
    found = [line for line in lines
             if line.startswith("ERROR") or "Required" in line or "failed" in line.lower()]
    return list(dict.fromkeys(found)) or lines[-3:] or ["said nothing"]


def version(text):
    """A round as numbers, to compare it with others."""
    return tuple(map(int, text.split(".")))


def main(argv):
    """Returns the exit code."""
    return told(lambda: run(argv))


def run(argv):
    """Writes and judges a package.  Returns the exit code.  Raises UserError."""
    places, values = results.arguments(argv, ["-o", "system", "round"])
    if not places or "-o" not in values or "system" not in values:
        raise UserError(USAGE)
    rounds = sorted({*rule_choices()} - {*TOO_OLD}, key=version)
    round_ = values.get("round", DEFAULT_ROUND)
    if round_ not in rounds:
        raise UserError(f"--round={round_}: expected one of {', '.join(rounds)}.")
    if os.path.lexists(values["-o"]):
        raise UserError(f"{values['-o']}: there already. Name a new folder.")
    system = read_system(values["system"], round_)
    runs, faults = results.find_files(places)
    faults += refusals(runs, system)
    if faults:
        for fault in faults[:-1]:
            tell(fault)
        raise UserError(faults[-1])
    logs, known = read_logs(runs), get_allowed_benchmarks("training", round_)
    left = {application: why for application, own in logs.items()
            if (why := left_out(benchmark.benchmark_of(application), own[0][1], known))}
    kept = {application: own for application, own in logs.items() if application not in left}
    for application in kept:
        require_outside(values["-o"], benchmark.applications()[application])
    require_outside(values["-o"], os.path.join(benchmark.ROOT, "common"))
    with new_folder(values["-o"]) as part:
        folder = os.path.join(part, system["submitter"])
        lay(folder, system, kept)
        verdicts = judge(os.path.abspath(folder), round_, kept, known) if kept else []
    for application, why in left.items():
        name = benchmark.benchmark_of(application).name
        verdicts.append((f"{name}: no closed package of round {round_} holds these runs", [why]))
    commits = {result["commit"] for own in kept.values() for result, _ in own}
    if commits - {run_folder.commit()}:
        verdicts.append(("the code in benchmarks/", [
            f"is of {run_folder.commit()}, the runs are of {', '.join(map(str, commits))}: check "
            "that commit out, and say this again there"]))
    for words, found in verdicts:
        print(f"{'FAIL' if found else 'PASS'}  {words}")
        for fault in found[:MAX_LINES]:
            print(f"      {printable(fault)}")
        if len(found) > MAX_LINES:
            print(f"      and {len(found) - MAX_LINES:,} more")
    return ABORTED if any(found for _, found in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
