"""Who judges a log, that good ones pass, and that each broken one fails for its own fault."""

import dataclasses

import numpy as np
import pytest

from common import benchmark, check_log, machine
from tests.cells import APPLICATIONS
from tests.common import fake


def judged(folder, capsys):
    code = check_log.main([str(folder)])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def config_of(application, profile, folder):
    """A config of any application as `prepare` would leave it: every count is a number."""
    config = getattr(benchmark.module(application, "config"), profile)
    counts = {f.name: 1000 - n for n, f in enumerate(dataclasses.fields(config))
              if f.name.startswith("num_") and getattr(config, f.name) is None}
    return dataclasses.replace(config, application=application, framework="pytorch", seed=1,
                               workers=0, output_dir=str(folder),
                               clear_caches=profile == "REFERENCE", **counts)


def targets_of(config):
    """The target of each metric, in its order."""
    quality = benchmark.benchmark_of(config.application).quality(config)
    return np.array([quality.targets(config.target)[name] for name in quality.names])


def finished(config, *values):
    """Runs with the scores of the last epochs; those before have the first one's.

    values: of each metric in its order, or one for all.
    """
    quality = benchmark.benchmark_of(config.application).quality(config)
    values = [np.broadcast_to(value, len(quality.names)) for value in values]
    fake.run(config, [*values[:1] * (config.num_epochs - len(values)), *values],
             names=quality.names, higher_is_better=quality.higher_is_better)


@pytest.fixture(autouse=True)
def cleared(monkeypatch):
    """Nobody needs a right to clear caches here."""
    monkeypatch.setattr(machine, "clear_caches", lambda: None)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_a_reference_run_passes_where_its_target_is_met(application, tmp_path, capsys):
    config = dataclasses.replace(config_of(application, "REFERENCE", tmp_path / "met"),
                                 num_epochs=4)
    facts = benchmark.benchmark_of(application)
    targets = targets_of(config)
    poor, good = ((0.01, targets + 0.001) if facts.quality(config).higher_is_better
                  else (99.0, targets - 0.001))
    finished(config, poor, good)
    code, shown = judged(tmp_path / "met", capsys)
    assert code == 0, shown
    division = "closed" if facts.closed else "open"
    assert f"{division} division: {facts.name}" in shown
    _, events = check_log.read(str(tmp_path / "met"))
    values = {event["key"]: event["value"] for event in events}
    version = facts.rule_set(values)
    assert (f"rule set {version}" in shown) == (version is not None)
    for file in ("common/rules/common.yaml", f"{application}/rules.yaml"):
        assert (f"with our own {file}" in shown) == (version is None)
    assert shown.count("PASS") == (2 if version else 3)
    assert "strict order of events" in shown

    finished(dataclasses.replace(config, output_dir=str(tmp_path / "missed")), poor, poor)
    code, shown = judged(tmp_path / "missed", capsys)
    assert code == 2, shown
    assert "eval_accuracy" in shown


@pytest.mark.parametrize("application", APPLICATIONS)
def test_a_quick_run_passes_in_the_open_division(application, tmp_path, capsys):
    config = config_of(application, "QUICK", tmp_path)
    higher = benchmark.benchmark_of(application).quality(config).higher_is_better
    finished(config, 0.01 if higher else 99.0, targets_of(config))
    code, shown = judged(tmp_path, capsys)
    assert code == 0, shown
    assert f"open division: {benchmark.benchmark_of(application).name}" in shown
    assert f"{application}/rules.yaml" not in shown
    assert shown.count("PASS") == 2


def test_the_polynomial_schedule_is_judged_by_the_rules_that_know_it(tmp_path, capsys):
    config = dataclasses.replace(
        config_of("image_classification", "REFERENCE", tmp_path), optimizer="lars",
        schedule="polynomial", lars_rates=(0.625,), weight_decay=0.0002, decay_epochs=40.0,
        num_epochs=4,
    )  # fmt: skip
    finished(config, 0.76)
    code, shown = judged(tmp_path, capsys)
    assert code == 0, shown
    assert "rule set 4.0.0, closed division: resnet" in shown


def without(entries, key):
    return [entry for entry in entries if entry[0] != key]


def with_value(entries, key, value):
    return [(k, value if k == key else v, m) for k, v, m in entries]


def with_epochs_from_0(entries):
    return [(k, v, {n: x - 1 if n.endswith("_num") else x for n, x in m.items()})
            for k, v, m in entries]


def twice(entries, key):
    return [copy for entry in entries for copy in [entry] * (1 + (entry[0] == key))]


def swapped(entries, key):
    """The first event of that key changes places with the next."""
    place = next(i for i, entry in enumerate(entries) if entry[0] == key)
    return [*entries[:place], entries[place + 1], entries[place], *entries[place + 2:]]


@pytest.mark.parametrize("division", ["closed", "open"])
@pytest.mark.parametrize("name", ["resnet", "seq_cnn"])  # MLCommons' rules and ours
def test_the_closed_division_wants_the_caches_cleared(division, name):
    entries = fake.events(name, division)
    for cleared in (True, False):
        events = [{"key": key, "value": value, "metadata": metadata}
                  for key, value, metadata in with_value(entries, "cache_clear", cleared)]
        faults = check_log.order_faults(events)
        assert (faults == []) == (cleared or division == "open"), faults


BROKEN = {
    "no seed": (lambda e: without(e, "seed"), "seed"),
    "seed twice": (lambda e: twice(e, "seed"), "seed: expected"),
    "no run_stop": (lambda e: without(e, "run_stop"), "run_stop"),
    "no init_stop": (lambda e: without(e, "init_stop"), "init_stop"),
    "no submission_org": (lambda e: without(e, "submission_org"), "submission_org"),
    "no batch size": (lambda e: without(e, "global_batch_size"), "global_batch_size"),
    "no optimizer": (lambda e: without(e, "opt_name"), "opt_name"),
    "another optimizer": (lambda e: with_value(e, "opt_name", "sgd"), "opt_name"),
    "a wrong status": (
        lambda e: [(k, v, {"status": "good"} if k == "run_stop" else m) for k, v, m in e],
        "expected status success or aborted, found good",
    ),
    "epochs from 0": (with_epochs_from_0, "expected epoch_num 1, found 0"),
    "caches that were not cleared": (
        lambda e: with_value(e, "cache_clear", False), "cache_clear is False: expected true"),
    "caches cleared, perhaps": (
        lambda e: with_value(e, "cache_clear", "no"), "cache_clear is 'no': expected true"),
    "a block not closed": (lambda e: without(e, "block_stop"), "block_stop"),
    "an epoch not closed": (lambda e: without(e, "epoch_stop"), "epoch_stop"),
    "evaluation before the epoch's end": (lambda e: swapped(e, "epoch_stop"), "eval_start"),
    "run before init's end": (lambda e: swapped(e, "init_stop"), "run_start"),
    "no accuracy": (lambda e: without(e, "eval_accuracy"), "eval_accuracy"),
    "target missed": (lambda e: with_value(e, "eval_accuracy", 0.9), "eval_accuracy"),
    "a hyperparameter after the start": (
        lambda e: [*e[:-1], ("opt_momentum", 0.9, {}), e[-1]], "expected before init_stop"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_log_fails_for_its_fault(fault, tmp_path, capsys):
    damage, words = BROKEN[fault]
    fake.write_log(tmp_path, damage(fake.events()))
    code, shown = judged(tmp_path, capsys)
    assert code == 2, shown
    assert "FAIL" in shown
    assert words in shown


UNREADABLE = {
    "nothing": ("", "holds no MLLOG line"),
    "other words": ("hello\n", "holds no MLLOG line"),
    "a torn line": (':::MLLOG {"namespace": "", "key": "see\n', "run.log:1: no whole MLLOG line"),
    "no value": (':::MLLOG {"key": "seed", "metadata": {}}\n', "run.log:1: no whole MLLOG line"),
    "words after the event": (':::MLLOG {"key": "seed", "value": 1, "metadata": {}} and more\n',
                              "run.log:1: no whole MLLOG line"),
    "accuracy in words": (
        ':::MLLOG {"key": "eval_accuracy", "value": "0.9", "metadata": {}}\n', "no number"),
    "another benchmark": (':::MLLOG {"key": "submission_benchmark", "value": "bert", '
                          '"metadata": {}}\n', "expected one of resnet"),
    "a module's name": (':::MLLOG {"key": "submission_benchmark", "value": "os", '
                        '"metadata": {}}\n', "submission_benchmark 'os': expected one of"),
    "a path": (':::MLLOG {"key": "submission_benchmark", "value": "../x", '
               '"metadata": {}}\n', "submission_benchmark is '../x': expected a name."),
    "no division": (':::MLLOG {"key": "submission_benchmark", "value": "ncf", '
                    '"metadata": {}}\n', "submission_division None"),
}  # fmt: skip


@pytest.mark.parametrize("fault", UNREADABLE)
def test_what_is_no_log_is_one_line(fault, tmp_path, capsys):
    content, words = UNREADABLE[fault]
    (tmp_path / "run.log").write_text(content)
    code, shown = judged(tmp_path, capsys)
    assert code == 1
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert words in shown


def test_a_missing_log_is_one_line(tmp_path, capsys):
    code, shown = judged(tmp_path / "nowhere", capsys)
    assert code == 1
    assert "Name a run folder" in shown
