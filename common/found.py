"""What a report shows: runs and what their logs are worth, verdicts of parity, kernels' times."""

import concurrent.futures
import os
from dataclasses import dataclass, field

from common import benchmark, bridge, check_log, options, results, run_folder
from common.command import FRAMEWORKS
from common.errors import UserError, is_finite

PARITY, KERNELS = "parity.json", "kernels.json"
NO_LOG = "no log"


@dataclass
class Run:
    """A run to show.  path: of its result.  label: of its kind: its framework, and a number where
    runs of a cell are not alike.
    log: the judges' verdict, in words.  epoch_examples: in an epoch; None where unknown.
    """

    path: str
    result: dict
    log: str = NO_LOG
    label: str = ""
    epoch_examples: int | None = None

    @property
    def met(self):
        """Whether it reached its target."""
        return self.result["status"] == "success"


@dataclass
class Content:
    """What was found.  parity: the verdicts; kernels: the contents of kernels.json."""

    runs: list[Run] = field(default_factory=list)
    parity: list[dict] = field(default_factory=list)
    kernels: list[dict] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def collect(places):
    """The Content of folders and files; what is damaged is a line of its faults."""
    found = Content()
    files, missing = results.files_of(places, PARITY, KERNELS, run_folder.RESULT)
    runs, faults = results.find_files([path for path in files if not _take(found, path)])
    found.runs = [Run(path, result) for path, result in runs]
    found.faults += faults + missing
    return found


def _take(found, path):
    """Whether a file holds verdicts or kernels; adds them, or the fault."""
    try:
        content = run_folder.read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        if os.path.basename(path) in (PARITY, KERNELS):
            found.faults.append(f"{path}: damaged ({error}).")
            return True
        return False  # results.find_files tells of it
    for name, fault, kept in (("parity", parity_fault, found.parity),
                              ("kernels", bridge.fault, found.kernels)):
        if isinstance(content, dict) and name in content and "config" not in content:
            odd = fault(content)
            if odd:
                found.faults.append(f"{path}: damaged ({odd} is missing, or is none of {name}).")
            elif name == "parity":
                kept += content["parity"]
            else:
                kept.append(content)
            return True
    return False


VERDICT = {"application": str, "reference": str, "name": str, "profile": str, "precision": str,
           "tensors": int, "agrees": bool, "first": (str, type(None)), "worst": dict}  # fmt: skip


def parity_fault(content):
    """What is missing or odd in the content of a parity.json; None of a good one."""
    if not isinstance(content["parity"], list):
        return "the list"
    for one in content["parity"]:
        if not isinstance(one, dict):
            return "an entry"
        for name, kind in VERDICT.items():
            if name not in one or not isinstance(one[name], kind):
                return name
        if not all(share is None or is_finite(share) for share in one["worst"].values()):
            return "worst"
    return None


def judge(runs):
    """Has each run's log judged, where it lies beside the result, and looks how many examples an
    epoch has.
    """
    def look(run):
        run.log, samples = judged(run.path)
        run.epoch_examples = samples or config_examples(run.result)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # each starts a process
        list(pool.map(look, runs))


def judged(path):
    """(the judges' verdict on the log beside a result, in words; its train_samples or None)."""
    folder, name = os.path.split(path)
    if name != run_folder.RESULT or not os.path.exists(run_folder.log_path(folder)):
        return NO_LOG, None
    try:
        _, events = check_log.read(folder)
        verdicts = check_log.judgements(events)
    except UserError as error:
        return f"fails: {str(error).removeprefix(f'{run_folder.log_path(folder)}: ')}", None
    samples = next((event["value"] for event in events if event["key"] == "train_samples"), None)
    # The last judge's words are ours, one a fault; the package's are many.
    fault = next(((who, faults[0]) for who, faults in reversed(verdicts) if faults), None)
    words = f"fails: {': '.join(fault)}" if fault else f"passes: {verdicts[0][0]}"
    return words, samples if type(samples) is int and 0 < samples <= results.MOST else None


def config_examples(result):
    """How many examples an epoch has, by the result's config; None where that cannot be said, be it
    that a library of the application is missing here.
    """
    try:
        module = benchmark.module(result["application"], "config")
        config = module.check(options.from_json(module.Config, result["config"]))
        return benchmark.benchmark_of(result["application"]).log_values(config, 1)["train_samples"]
    except Exception:  # a file's config may make an application's functions raise anything
        return None


def in_order(frameworks):
    """Names of frameworks: ours first, in their order, then others."""
    return [*(name for name in FRAMEWORKS if name in frameworks),
            *sorted(set(frameworks) - set(FRAMEWORKS))]


def kinds(runs):
    """[[Run]]: runs that are alike, by seed, with their labels set; cells in their order."""
    by_id = {id(run.result): run for run in runs}
    order = in_order({run.result["framework"] for run in runs})
    found = []
    for parts in results.groups([run.result for run in runs]).values():
        for number, part in enumerate(parts, 1):
            group = sorted((by_id[id(result)] for result in part),
                           key=lambda run: run.result["seed"])
            for run in group:
                run.label = run.result["framework"] + f" ({number})" * (len(parts) > 1)
            found.append(group)

    def place(group):
        first = group[0].result
        return first["application"], first["profile"], order.index(first["framework"])

    return sorted(found, key=place)
