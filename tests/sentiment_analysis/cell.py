"""What the shared tests need to know of sentiment analysis; tests/cells.py explains each."""

import shutil

from sentiment_analysis import data
from tests.sentiment_analysis.packed import unpack

TINY = ("--set=batch_size=840", "--set=eval_batch_size=400", "--set=embedding_size=16",
        "--set=num_filters=16")
RANDOM = ()
tiny_data = None
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/train/pos: no such folder"),
    (["--set=num_filter=3"], "Did you mean num_filters"),
    (["--set=windows=three"], "expected tuple"),
    (["--set=stream_multiple=10"], "multiple of block_size"),
)
RELAY_GAP = 1e-10  # 2e-13 was seen
QUICK_GAP = 0.01  # 0.003 was seen, three reviews of a thousand; rounding differs by processor
REAL = ("--target=1", "--set=min_count=3")
REAL_GAP = 0.01
REAL_EPOCHS = 4


def examples(config, batch):
    """[(words, label)] of a training batch, which knows the words that it holds."""
    words = set(batch["tokens"].tolist()) - {config.vocabulary_size}
    assert set(batch["seen"].nonzero()[0].tolist()) == words
    return list(zip(unpack(config, batch), batch["labels"].tolist(), strict=True))


def real_data(folder, sample):
    """Sentences of film reviews in IMDB's layout."""
    shutil.copytree(sample, folder, dirs_exist_ok=True)


def real_baseline(data_dir):
    """Three points below logistic regression on tf-idf of runs of one and two words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    folder = data.root(data_dir)
    texts, labels = {}, {}
    for split in data.SPLITS:
        parts = [data.read_folder(f"{folder}/{split}/{name}") for name in data.CLASSES]
        texts[split] = [b" ".join(words).decode() for part in parts for words in part]
        labels[split] = [label for label, part in enumerate(parts) for _ in part]
    features = TfidfVectorizer(ngram_range=(1, 2))
    model = LogisticRegression(C=4, max_iter=1000)
    model.fit(features.fit_transform(texts["train"]), labels["train"])
    return max(0.72, model.score(features.transform(texts["test"]), labels["test"]) - 0.03)
