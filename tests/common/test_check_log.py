"""Who judges a log, that good ones pass, and that each broken one fails for its own fault."""

import pytest

from common import check_log
from tests.common import fake


def judged(folder, capsys):
    code = check_log.main([str(folder)])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


@pytest.mark.parametrize(
    ("profile", "changes", "values", "words"),
    [
        ("quick", {}, [0.5, 0.95], ["rule set 4.0.0, open division: resnet"]),
        ("reference", {"evaluate_every_epochs": 1, "evaluate_first_epoch": 1}, [0.5, 0.76],
         ["common/rules/common.yaml", "common/rules/closed_resnet.yaml"]),
        ("reference", {}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.76], ["closed_resnet.yaml"]),
        ("reference", {"optimizer": "lars", "schedule": "polynomial", "batch_size": 16,
                       "learning_rate_per_256": 16.0, "weight_decay": 0.0002,
                       "decay_epochs": 40.0},
         [0, 0, 0, 0.76], ["rule set 4.0.0, closed division: resnet"]),
    ],
)  # fmt: skip
def test_runs_pass_by_the_rules_that_know_them(profile, changes, values, words, tmp_path, capsys):
    fake.run(fake.config_of(tmp_path / "run", profile, **changes), values)
    code, shown = judged(tmp_path / "run", capsys)
    assert code == 0, shown
    assert "FAIL" not in shown
    for part in [*words, "strict order of events"]:
        assert part in shown


@pytest.mark.parametrize(
    ("benchmark", "values", "hyperparameters"),
    [("ncf", [0.4, 0.636], fake.ADAM), ("seq_cnn", [0.907], fake.ADAM),
     ("deepspeech2", [0.5, 0.229],
      {"opt_name": "sgd", "opt_base_learning_rate": 3e-4, "opt_momentum": 0.9})],
)  # fmt: skip
def test_our_own_rules_judge_what_the_package_does_not_know(
    benchmark, values, hyperparameters, tmp_path, capsys
):
    good = fake.events(benchmark, "closed", values, hyperparameters)
    fake.write_log(tmp_path / "good", good)
    code, shown = judged(tmp_path / "good", capsys)
    assert code == 0, shown
    assert f"common/rules/closed_{benchmark}.yaml" in shown
    missed = [0.6] if benchmark != "deepspeech2" else [0.231]
    fake.write_log(tmp_path / "bad", fake.events(benchmark, "closed", missed, hyperparameters))
    code, shown = judged(tmp_path / "bad", capsys)
    assert code == 1
    assert "eval_accuracy" in shown
    fake.write_log(tmp_path / "open", fake.events(benchmark, "open", missed, {}))
    code, shown = judged(tmp_path / "open", capsys)
    assert code == 0, shown
    assert "closed_" not in shown


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
    assert code == 1, shown
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
