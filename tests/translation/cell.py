"""What the shared tests need to know of translation; tests/cells.py explains each."""

import io
import itertools

from translation import quality, quick_data

TINY = ("--set=vocabulary_size=500", "--set=hidden_size=32", "--set=filter_size=64",
        "--set=warmup_steps=20", "--set=batch_tokens=8000")
RANDOM = ("--set=dropout=0.1",)
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/train.en: no such file"),
    (["--set=num_head=3"], "Did you mean num_heads"),
    (["--set=num_heads=3"], "multiple of twice num_heads=3"),
    (["--set=vocabulary_size=100000"], "vocabulary_size=100000"),
    (["--set=num_train_pairs=12"], "expected 12 for train pairs, found 14,000"),
)
RELAY_GAP = 1e-9
QUICK_GAP = 0.15  # 0.07 was seen, while BLEU rises fast
REAL = ("--target=1", "--set=vocabulary_size=4000", "--set=warmup_steps=50",
        "--set=test_name=valid")
REAL_GAP = 0.01  # 0.0014 was seen
REAL_EPOCHS = 3


def tiny_data(folder):
    """The first 2,000 pairs of the embedded text, and 60 of its test."""
    for name, count in (("train", 2_000), ("test", 60)):
        for language in ("en", "de"):
            with open(f"{quick_data.ensure()}/{name}.{language}", "rb") as opened:
                write_first(folder / f"{name}.{language}", opened.read(), count)


def write_first(path, text, count):
    """Writes the first lines of a text."""
    path.write_bytes(b"".join(itertools.islice(io.BytesIO(text), count)))


def examples(config, batch):
    """[(source, target)] of a training batch."""
    return [(source.tobytes(), target.tobytes())
            for source, target in zip(batch["sources"], batch["targets"])]


def real_data(folder, sample):
    """A third of Multi30k's captions."""
    for name in ("train", "valid"):
        for language in ("en", "de"):
            file = f"{name}.{language}"
            write_first(folder / file, (sample / file).read_bytes(), 6_000)


def real_baseline(data_dir):
    """Two points of BLEU more than the English text itself, taken for German, reaches."""
    texts = {}
    for language in ("en", "de"):
        with open(f"{data_dir}/valid.{language}", encoding="utf-8") as opened:
            texts[language] = opened.read().splitlines()
    return quality.bleu(texts["en"], texts["de"]) + 0.02
