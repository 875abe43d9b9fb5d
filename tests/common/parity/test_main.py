"""The command of parity: what it takes, and what its exit code says."""

from types import SimpleNamespace

import pytest

from common import benchmark
from common.errors import UserError
from common.parity import __main__ as parity
from common.parity.__main__ import Implementation, implementation_of, parse_flags
from tests.common.parity import numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pytorch", Implementation("pytorch", None, "pytorch")),
        ("mine=port.train:tensorflow", Implementation("mine", "port.train", "tensorflow")),
        # Names that hold another framework's decide nothing.
        ("tensorflow_2=pytorch.paddlepaddle:pytorch",
         Implementation("tensorflow_2", "pytorch.paddlepaddle", "pytorch")),
    ],
)  # fmt: skip
def test_names_of_implementations(text, expected):
    assert implementation_of(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "jax", "mine", "mine=port.train", "mine=:pytorch", "=port:pytorch", "mine=port:jax",
     "../x=port:pytorch", ".x=port:pytorch"],
)  # fmt: skip
def test_other_names_are_refused(text):
    with pytest.raises(UserError, match="NAME=MODULE:FRAMEWORK") as caught:
        implementation_of(text)
    assert str(caught.value).startswith(f"{text}: ")


def test_flags():
    values, names = parse_flags(["recommendation", "pytorch", "--steps=3", "--precision=fp32,fp64",
                                 "--set=a=1", "--set=b=2"])
    assert names == ["recommendation", "pytorch"]
    assert (values.steps, values.precision, values.set) == (3, ["fp32", "fp64"], ["a=1", "b=2"])
    assert (values.profile, values.device, values.seed) == ("quick", "cpu", 1)


@pytest.fixture
def recorders(monkeypatch):
    """trainers: {name: Trainer of numbers}, who dumps what in place of the frameworks' processes.

    folders: where they have.
    """
    made = SimpleNamespace(trainers={}, folders=[])

    def record(application, implementations, folders, values):
        made.folders += folders.values()
        facts = benchmark.benchmark_of(application)
        for one in implementations:
            for folder in folders.values():
                numbers.dump(facts, folder, one.name, made.trainers.get(one.name, numbers.Trainer))

    monkeypatch.setattr(parity, "record", record)
    return made


def test_exit_codes_of_a_comparison(recorders, capsys):
    arguments = ["recommendation", "pytorch", "mine=port:pytorch", "--steps=1"]
    assert parity.main(arguments) == 0
    assert "mine against pytorch, quick, fp32" in capsys.readouterr().out

    class DoubleGradientInFp64(numbers.DoubleGradient):
        def __init__(self, config, parameters):
            super().__init__(config, parameters)
            self.factor = 2.0 if config.precision == "fp64" else 1.0

    recorders.trainers["mine"] = DoubleGradientInFp64
    assert parity.main([*arguments, "--precision=fp64,fp32"]) == 2
    shown = capsys.readouterr().out
    first, second = shown.split("mine against pytorch, quick, fp32")
    assert "DIFFERS first at step_0000 gradient/mf_user.weight" in first
    assert second.rstrip().endswith("AGREES")


def test_a_record_is_judged_later(recorders, tmp_path, capsys):
    folder = tmp_path / "record"
    assert parity.main(["recommendation", "pytorch", f"--record={folder}", "--steps=1"]) == 0
    assert (folder / "manifest.json").exists()
    against = ["recommendation", "pytorch", f"--against={folder}"]
    assert parity.main(against) == 1
    assert "holds nothing but pytorch" in capsys.readouterr().err
    facts = benchmark.benchmark_of("recommendation")
    numbers.dump(facts, folder, "port")
    assert parity.main(against) == 0
    numbers.dump(facts, folder, "worse", numbers.DoubleGradient)
    assert parity.main(against) == 2
    shown = capsys.readouterr().out
    assert "port against pytorch" in shown and "worse against pytorch" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage: python -m common.parity APPLICATION NAME..."),
        (["recommendation"], "usage: "),
        (["recommendation", "pytorch"], "nothing to compare"),
        (["os", "pytorch", "tensorflow"], "'os': no such application"),
        (["recommendation", "pytorch", "jax"], "jax: expected one of pytorch"),
        (["recommendation", "pytorch", "tensorflow", "--steps=0"], "steps"),
        (["recommendation", "pytorch", "tensorflow", "--precision=fp16"], "--precision=fp16"),
        (["recommendation", "pytorch", "--record=a", "--against=b"], "give one of the two"),
        (["recommendation", "pytorch", "--against=nowhere"], "Make a record with --record."),
        (["recommendation", "pytorch", "tensorflow", "--set=layers=1"], "--set layers: no such"),
        (["recommendation", "pytorch", "tensorflow", "--precision=bf16"], "states no tolerances"),
    ],
)
def test_a_fault_of_the_user_is_one_line_and_1(arguments, words, recorders, capsys):
    assert parity.main(arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert words in told
    assert not recorders.folders  # nothing was started
