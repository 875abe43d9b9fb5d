"""Prints what a trained network hears in FLAC or WAV files, a line for each:

    python -m speech_recognition.transcribe FRAMEWORK CHECKPOINT FILE...

CHECKPOINT is a file, or a run folder, whose newest one is taken; any of the frameworks may have
written it.  Files are 16 kHz, one channel.  Each is heard alone: among others in a batch the
network would see their padding.
"""

import sys

from common import trained
from common.command import FRAMEWORKS
from common.errors import UserError, told
from speech_recognition import audio, data, features
from speech_recognition.parameters import initial_parameters
from speech_recognition.quality import text

USAGE = "usage: python -m speech_recognition.transcribe FRAMEWORK CHECKPOINT FILE..."


def main(arguments):
    """Returns the exit code: 0, or 1 for a fault of the user."""
    return told(lambda: run(*arguments))


def run(framework_name="", path="", *files):
    """Prints the text of each file.  Raises UserError.  Returns 0."""
    if framework_name not in FRAMEWORKS or not files:
        raise UserError(f"{USAGE}; FRAMEWORK is one of {', '.join(FRAMEWORKS)}.")
    path = trained.newest(path)
    config = trained.config_of(path, "speech_recognition")
    sounds = [audio.read_audio(file) for file in files]  # all, before the framework starts
    trainer = trained.trainer_of(config, framework_name, path, initial_parameters(config))
    for samples in sounds:
        spectrogram = features.spectrogram(samples)
        batch = data.padded(config, [spectrogram], [[]], len(spectrogram), 1)
        print(text(trainer.predict(batch)[0]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
