"""Each benchmark's command line; and those that are quick and need no peer installed run, small."""

import dataclasses
import itertools
import json
import sys

import pytest

from benchmarks import (
    command,
    image_classification,
    object_detection,
    recommendation,
    reinforcement,
    sentiment_analysis,
    speech_recognition,
    translation,
)

BENCHMARKS = (image_classification, object_detection, recommendation, reinforcement,
              sentiment_analysis, speech_recognition, translation)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "expected one framework of pytorch, tensorflow, paddlepaddle, and flags; found none."),
        (["jax"], "found jax."),
        (["pytorch", "--steps=0"], "--steps"),
        (["pytorch", "--speed=3"], "speed"),
        (["paddlepaddle", "--precision=bf16"], "--precision=bf16: PaddlePaddle's peers compute"),
        (["pytorch", "--output=missing/speed.json"], "its folder does not exist"),
    ],
)
def test_faults_of_the_user_are_one_line(benchmark, argv, words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmark", *argv])
    with pytest.raises(SystemExit) as ended:
        command.run(benchmark.main)
    assert ended.value.code == 1
    line, end = capsys.readouterr().err.split("\n")
    assert line.startswith("error: ") and words in line and not end


@pytest.mark.parametrize(
    ("benchmark", "argv", "words"),
    [
        (image_classification, ["tensorflow", "--measure=reader"], "Say pytorch."),
        (recommendation, ["tensorflow", "--peer=recbole"], "it runs in pytorch"),
        (recommendation, ["pytorch", "--peer=recbole", "--compile"], "it runs in pytorch"),
        (reinforcement, ["tensorflow"], "the peer is measured in pytorch"),
        (speech_recognition, ["pytorch", "--frames=460"], "expected a multiple of 50"),
        (speech_recognition, ["pytorch", "--measure=reader", "--compile"], "without a framework"),
    ],
)
def test_what_a_benchmark_lacks_is_one_line(benchmark, argv, words):
    with pytest.raises(command.UserError, match=words):
        benchmark.main(argv)


def test_a_missing_peer_is_named():
    command.need("numpy")
    with pytest.raises(command.UserError, match=r"the peer needs no_such_peer\. Install it"):
        command.need("no_such_peer")


class Device:
    """A framework of which only `synchronize` is asked, and counted."""

    def __init__(self):
        self.calls = []

    def synchronize(self):
        self.calls.append("synchronize")


def test_each_side_gets_every_batch_and_waits_for_the_device():
    device = Device()

    def step(name):
        return lambda batch: device.calls.append((batch, name)) or 0.5

    steps = {"ours": step("ours"), "peer": step("peer")}
    seconds = command.alternate(device, steps, ["a", "b", "c"], warmup=1)
    assert [len(times) for times in seconds.values()] == [2, 2]
    turns = itertools.product("abc", ["ours", "peer"])
    assert device.calls == [call for turn in turns for call in (turn, "synchronize")]


def test_a_loss_that_is_no_number_ends_the_benchmark():
    with pytest.raises(command.UserError, match="peer: the loss is nan"):
        steps = {"ours": lambda batch: 0.5, "peer": lambda batch: float("nan")}
        command.alternate(Device(), steps, ["a", "b"], warmup=1)


def make_small(monkeypatch):
    """Shrinks what the benchmarks measure, so that a step takes milliseconds."""
    small = dataclasses.replace(
        recommendation.REFERENCE, num_users=90, num_items=70, mlp_sizes=(8, 4)
    )
    monkeypatch.setattr(recommendation, "REFERENCE", small)
    small = dataclasses.replace(
        sentiment_analysis.REFERENCE, vocabulary_size=50, embedding_size=8, num_filters=4
    )
    monkeypatch.setattr(sentiment_analysis, "REFERENCE", small)
    small = dataclasses.replace(
        speech_recognition.REFERENCE, conv_channels=2, num_layers=2, hidden_size=4
    )
    monkeypatch.setattr(speech_recognition, "REFERENCE", small)
    small = dataclasses.replace(
        translation.QUICK, num_layers=1, hidden_size=16, filter_size=8, eval_batch_size=2
    )
    monkeypatch.setitem(translation.SIZES, "quick", small)
    monkeypatch.setattr(object_detection, "EVALUATED", 3)


@pytest.mark.parametrize(
    ("benchmark", "argv", "names"),
    [
        (object_detection, ["--measure=reader", "--batch_size=1"],
         ["training batch", "test batch", "files, resized", "files"]),
        (object_detection, ["--measure=evaluation", "--detections=5"],
         ["pasting and run lengths", "box AP and mask AP"]),
        (recommendation, ["--batch_size=32"], ["ours", "peer"]),
        (reinforcement, ["--measure=tree", "--board=5", "--games=2", "--readouts=4"], ["ours"]),
        (sentiment_analysis, ["--batch_size=2"], ["ours", "peer"] * 2),
        (speech_recognition, ["--batch_size=2", "--frames=100"], ["ours", "peer"]),
        (
            speech_recognition,
            ["--batch_size=2", "--measure=reader"],
            ["training batch", "test batch", "files, tempo and gain", "files"],
        ),
        (translation, ["--size=quick", "--measure=decoding"], ["greedy", "4 beams"]),
    ],
)
def test_a_benchmark_runs(framework, monkeypatch, tmp_path, benchmark, argv, names):
    make_small(monkeypatch)
    name = framework.__name__.rpartition(".")[2]
    output = tmp_path / "speed.json"
    benchmark.main([name, "--steps=1", "--warmup=0", f"--output={output}", *argv])
    written = json.loads(output.read_text())
    assert written["benchmark"] == benchmark.__name__.rpartition(".")[2]
    assert written["framework"]["framework"] == name
    assert written["flags"]["steps"] == 1
    assert [figure["name"] for figure in written["figures"]] == names
    for figure in written["figures"]:
        assert len(figure["seconds"]) == 1 and figure["per_second"] > 0
