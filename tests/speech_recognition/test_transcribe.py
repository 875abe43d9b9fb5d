"""One's own audio: each file as a batch of its own, and what is refused in one line."""

import dataclasses

import numpy as np
import pytest
import soundfile

from common import checkpoint, trained
from speech_recognition import data, quality, transcribe
from tests import trainers
from tests.speech_recognition import sounds

TINY = {"batch_size": 1, "conv_channels": 2, "num_layers": 1, "hidden_size": 8}


def save(folder, state=None, **changes):
    """A run folder with a checkpoint of a tiny network; its path."""
    config = sounds.own("", **TINY, application="speech_recognition")
    fields = dataclasses.asdict(config) | changes
    checkpoint.save(str(folder / "checkpoint"), state or {}, {"step": 3, "config": fields})
    return str(folder)


def test_each_file_is_heard_as_a_batch_of_its_own(framework, folder, tmp_path, capsys):
    name = framework.__name__.rpartition(".")[2]
    config = data.prepare(sounds.own(folder, **TINY))
    trainer = trainers.started("speech_recognition", framework, config)
    numbers = [np.array([number]) for number in (2, 0)]
    expected = [quality.text(trainer.predict(data.read(config, "test", 1, number))[0])
                for number in numbers]
    assert all(expected) and len(set(expected)) == 2
    state = trainer.state()
    # What the run began with is not what its checkpoint holds.
    run = save(tmp_path / "run", state, seed=config.seed + 1, recurrence="fused")
    index = data.index.load(config, "test")
    paths = [str(folder / index.path(int(number[0]))) for number in numbers]
    for path in (run, checkpoint.path(f"{run}/checkpoint", 3)):
        assert transcribe.main([name, path, *paths]) == 0
        assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage: python -m speech_recognition.transcribe FRAMEWORK CHECKPOINT FILE..."),
        (["mxnet", "{run}", "{sound}"], "FRAMEWORK is one of pytorch, tensorflow, paddlepaddle"),
        (["pytorch", "{run}"], "usage"),
        (["pytorch", "{tmp}/nothing", "{sound}"], "nothing: no checkpoint. Name a file"),
        (["pytorch", "{sound}", "{sound}"], "a.wav: damaged"),
        (["pytorch", "{other}", "{sound}"], "a checkpoint of 'translation'"),
        (["pytorch", "{wrong}", "{sound}"], "hidden_size=0: expected 1 or more"),
        # Before its arrays are made.
        (["pytorch", "{large}", "{sound}"], "holds another model: parameter/convolutions.0.bias is "
                                            "nothing, this run has (65536,)"),
        (["pytorch", "{run}", "{sound}"], "torch: not in this Python. Start it by common/in_env"),
        (["pytorch", "{run}", "{sound}", "{tmp}/b.wav"], "b.wav: no such file"),
        (["pytorch", "{run}", "{sound}", "{fast}"], "44,100 Hz, channels: 2, PCM_16. Expected"),
        (["pytorch", "{run}", "{text}"], "c.txt: neither FLAC nor WAV"),
        (["pytorch", "{run}", "{cut}"], "cut.wav: "),
    ],
)
def test_what_is_refused_in_one_line(tmp_path, capsys, arguments, words):
    names = {name: str(tmp_path / file) for name, file in {
        "tmp": "", "sound": "a.wav", "fast": "fast.wav", "text": "c.txt", "cut": "cut.wav"}.items()}
    soundfile.write(names["sound"], sounds.noise(0.5), 16000)
    soundfile.write(names["fast"], np.zeros((999, 2)), 44100)
    (tmp_path / "c.txt").write_text("WHAT IS SAID\n")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:40])
    config = sounds.own("", application="speech_recognition", **TINY)
    names["run"] = save(tmp_path / "run", trained.expected_state(config))
    names["large"] = save(tmp_path / "large", conv_channels=1 << 16, hidden_size=1 << 16)
    names["other"] = save(tmp_path / "other", application="translation")
    names["wrong"] = save(tmp_path / "wrong", hidden_size=0)
    assert transcribe.main([part.format(**names) for part in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
