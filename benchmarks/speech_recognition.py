"""DeepSpeech2's reader: utterances a second on one core, and where the time goes.

    common/in_environment.sh speech_recognition FRAMEWORK \\
        -m benchmarks.speech_recognition FRAMEWORK --measure=reader

reader: a batch of utterances of LibriSpeech's mean length, written to a folder of its own.  What
runs in turn, on one thread: reading the FLAC files alone; that, tempo and gain; that and the
spectrograms, which is a training batch; a test batch, without augmentation.
"""

import dataclasses
import functools
import os
import tempfile

import numpy as np
import soundfile

from benchmarks import command
from common import timing
from common.errors import UserError
from speech_recognition import audio, augment, data, index
from speech_recognition.config import REFERENCE

ROUNDS = {"reader": 15}
PEERS = dict.fromkeys(("pytorch", "tensorflow", "paddlepaddle"))
SECONDS = 12.3           # of an utterance: the mean of the three train-*


def write_utterances(folder, count):
    """A LibriSpeech folder: noise that a slow tone swells, of SECONDS, in both splits."""
    rng = np.random.default_rng(0)
    times = np.arange(int(SECONDS * audio.SAMPLE_RATE))
    swell = 1.0 + np.sin(2 * np.pi * 3 * times / audio.SAMPLE_RATE)
    for subset in ("train-clean-100", "dev-clean"):
        path = os.path.join(folder, "LibriSpeech", subset, "1", "2")
        os.makedirs(path)
        with open(os.path.join(path, "1-2.trans.txt"), "w") as transcripts:
            for number in range(count):
                name = f"1-2-{number:04}"
                samples = (rng.normal(0, 700, len(times)) * swell).astype(np.int16)
                soundfile.write(os.path.join(path, f"{name}.flac"), samples, audio.SAMPLE_RATE)
                transcripts.write(f"{name} {'WHAT IS SAID ' * 14}\n")


def measure_reader(config, values):
    """Times batches of the reader on one thread.  Returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        write_utterances(folder, config.batch_size)
        config = data.prepare(
            dataclasses.replace(
                config, data_dir=folder, num_train_utterances=None, num_eval_utterances=None
            )
        )
        utterances = index.load(config, "train")
        paths = [os.path.join(folder, utterances.path(n)) for n in range(len(utterances))]

        def augmented():
            for number, path in enumerate(paths):
                augment.augment(audio.read_audio(path, own=True), config, 1, number)

        (numbers,) = data.batches(config, "train", 1).indices
        candidates = {
            "training batch": functools.partial(data.read, config, "train", 1, numbers),
            "test batch": functools.partial(data.read, config, "test", 1, numbers),
            "files, tempo and gain": augmented,
            "files": lambda: [audio.read_audio(path, own=True) for path in paths],
        }
        seconds = timing.alternate(candidates, values.steps, values.warmup)
        return timing.report("reader, one thread,", seconds, len(paths), "utterances")


def main(argv):
    values = command.define_flags("batch_size", 8, "utterances", ROUNDS)
    name = command.parse(values, argv, PEERS, ROUNDS)
    if values.device != "cpu" or values.compile:
        raise UserError("--measure=reader: it reads on the CPU, without a framework.")
    figures = measure_reader(command.configure(REFERENCE, values, "batch_size"), values)
    command.write(values, "speech_recognition", name, figures)


if __name__ == "__main__":
    command.run(main)
