"""What the shared tests need to know of speech recognition; tests/cells.py explains each."""

import collections
import shutil

from speech_recognition import index, quality

TINY = ("--set=batch_size=8", "--set=conv_channels=2", "--set=num_layers=1", "--set=hidden_size=8",
        "--set=clip_norm=1e6", "--set=augment=False")
RANDOM = ("--set=augment=True",)
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/LibriSpeech"),
    (["--set=beem_size=3"], "Did you mean beam_size"),
    (["--set=order=random"], "expected one of ascending, sortagrad"),
    (["--set=tempo_low=2"], "expected tempo_high=1.15 or less"),
    (["--set=num_train_utterances=12"], "expected 12 for train utterances, found 1,200"),
)
RELAY_GAP = 1e-9
REAL = ("--target=-1", "--set=batch_size=8", "--set=augment=True")
REAL_GAP = 5.0  # WER, while little is heard: 1.3 was seen
REAL_EPOCHS = 6


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
