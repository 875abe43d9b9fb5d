"""What the shared tests need to know of speech recognition; tests/cells.py explains each."""

import collections
import itertools
import pathlib
import shutil

from speech_recognition import index, quality, quick_data

# Coefficients that float32 holds exactly, since PaddlePaddle keeps them so; two layers, for the
# batch norm between them.
TINY = ("--set=batch_size=8", "--set=conv_channels=2", "--set=num_layers=2", "--set=hidden_size=8",
        "--set=augment=False", "--set=momentum=0.875", "--set=batch_norm_momentum=0.875",
        f"--set=batch_norm_epsilon={2**-16}")
RANDOM = ("--set=augment=True",)
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/LibriSpeech"),
    (["--set=beem_size=3"], "Did you mean beam_size"),
    (["--set=order=random"], "expected one of ascending, sortagrad"),
    (["--set=tempo_low=2"], "expected tempo_high=1.15 or less"),
    (["--set=num_train_utterances=12"], "expected 12 for train utterances, found 1,200"),
)
RELAY_GAP = 1e-9
QUICK_GAP = 25.0  # WER, while it falls steeply
REAL = ("--target=-1", "--set=batch_size=8", "--set=augment=True")
REAL_GAP = 5.0  # WER, before anything is heard
REAL_EPOCHS = 6


def tiny_data(folder):
    """Of the embedded speech, 46 utterances of three speakers and ten of a fourth, the test's."""
    for subset, count in zip(quick_data.SUBSETS, (46, 10)):
        source = pathlib.Path(quick_data.ensure(), "LibriSpeech", subset)
        for path in itertools.islice(sorted(source.rglob("*.flac")), count):
            copied = folder / "LibriSpeech" / subset / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied)
            texts, = path.parent.glob("*.trans.txt")
            with open(copied.parent / texts.name, "a") as opened:
                opened.writelines(line for line in texts.read_text().splitlines(keepends=True)
                                  if line.startswith(f"{path.stem} "))


def examples(config, batch):
    """[(spectrogram, steps of the batch's longest, steps, symbols)] of a training batch."""
    steps, = batch["steps"]
    return [(spectrogram.tobytes(), steps, length, labels.tobytes()) for spectrogram, length, labels
            in zip(batch["spectrograms"], batch["lengths"], batch["labels"]) if length]


def real_data(folder, sample):
    """Spoken digits in LibriSpeech's layout, 320 and 60 utterances."""
    shutil.copytree(sample, folder, dirs_exist_ok=True)


def real_baseline(data_dir):
    """Half of the WER that the commonest word reaches, said as often as is best."""
    said = {}
    for split in index.SUBSETS:
        texts = []
        for chapter in index.chapters(data_dir, split):
            found = index.transcripts_of(data_dir, chapter)
            texts += [found[utterance] for utterance in chapter.sizes]
        said[split] = texts
    [(word, _)] = collections.Counter(" ".join(said["train"]).split()).most_common(1)
    rates = [quality.score([[(text, " ".join([word] * times)) for text in said["test"]]])
             for times in range(1, 7)]
    return min(rates) / 2
