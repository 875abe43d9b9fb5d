"""Prints what a trained network hears in FLAC or WAV files, a line for each:

    python -m speech_recognition.transcribe FRAMEWORK CHECKPOINT FILE...

CHECKPOINT is a file, or a run folder, whose newest one is taken; any of the frameworks may have
written it.  Files are 16 kHz, one channel.  Each is heard alone: among others in a batch the
network would see their padding.
"""

import dataclasses
import importlib
import os
import sys

import numpy as np

from common import checkpoint, options, run_folder
from common.command import FRAMEWORKS
from common.errors import UserError, told
from speech_recognition import audio, config, data, features
from speech_recognition.benchmark import BENCHMARK
from speech_recognition.parameters import specification
from speech_recognition.quality import text

USAGE = "usage: python -m speech_recognition.transcribe FRAMEWORK CHECKPOINT FILE..."


def main(arguments):
    """Returns the exit code: 0, or 1 for a fault of the user."""
    return told(lambda: run(*arguments))


def run(framework_name="", path="", *files):
    """Prints the text of each file.  Raises UserError.  Returns 0."""
    if framework_name not in FRAMEWORKS or not files:
        raise UserError(f"{USAGE}; FRAMEWORK is one of {', '.join(FRAMEWORKS)}.")
    path = newest(path)
    trained = config_of(path)
    sounds = [audio.read_audio(file) for file in files]  # all, before the framework starts
    parameters = checkpoint.load(path, expected_state(trained))["parameter"]
    try:
        framework = importlib.import_module(f"common.frameworks.{framework_name}")
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name}: not in this Python. Start it by common/in_environment.sh "
                        f"speech_recognition {framework_name}.") from None
    framework.start(trained)
    train = importlib.import_module(f"speech_recognition.{framework_name}.train")
    trainer = train.Trainer(trained, parameters)
    for samples in sounds:
        spectrogram = features.spectrogram(samples)
        batch = data.padded(trained, [spectrogram], [[]], len(spectrogram), 1)
        print(text(trainer.predict(batch)[0]), flush=True)
    return 0


def expected_state(trained):
    """What a checkpoint of this config holds: arrays of the right shapes, which take no memory.

    So that a file that speaks of a network larger than its own is refused before one is made.
    """
    zeros = {name: np.broadcast_to(np.float32(0.0), parameter.shape)
             for name, parameter in specification(trained).items()}
    weights = {name: zeros[name] for name, parameter in specification(trained).items()
               if parameter.trained}
    return {"parameter": zeros} | dict.fromkeys(BENCHMARK.optimizer_sums, weights)


def newest(path):
    """The path of a checkpoint: itself, or the newest of a run folder.  Raises UserError."""
    found = [path] if os.path.isfile(path) else (
        checkpoint.paths(run_folder.checkpoint_folder(path)))
    if not found:
        raise UserError(f"{path}: no checkpoint. Name a file, or a run folder that holds one.")
    return found[-1]


def config_of(path):
    """The config of the run that wrote a checkpoint, for one CPU process of any framework.

    Raises UserError.
    """
    fields = checkpoint.read_position(path)["config"]
    if fields.get("application") != "speech_recognition":
        raise UserError(f"{path}: a checkpoint of {fields.get('application')!r}. "
                        "Expected one of speech_recognition.")
    try:
        found = config.check(options.from_json(config.Config, fields))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return dataclasses.replace(
        found, device="cpu", precision="fp32", compile=False, recurrence="auto"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
