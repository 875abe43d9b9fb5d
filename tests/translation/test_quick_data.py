"""The embedded sentences: right German by hand, what is held out, and beyond simple translators."""

import collections
import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from common.data import sums
from translation import data, quality, quick_data
from translation.config import QUICK
from translation.text import LANGUAGES, SPLITS, path_of, read_lines

LIMIT = 0.45  # BLEU that no simple translator reaches


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The config of the embedded data, written by two processes at once into an empty cache."""
    cache = tmp_path_factory.mktemp("cache")
    code = (
        "import dataclasses; from translation import data; from translation.config import QUICK; "
        "print(data.prepare(dataclasses.replace(QUICK, seed=1)))"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    found = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert found[0] == found[1]
    # Nothing half-written is left.
    [name] = os.listdir(cache / "time-to-quality")
    folder = cache / "time-to-quality" / name
    config = data.prepare(dataclasses.replace(QUICK, seed=1, data_dir=str(folder)))
    expected = {f"{split}.{language}" for split in SPLITS for language in LANGUAGES}
    assert set(os.listdir(folder)) == expected | {config.encoded, sums.SUMS}
    return config


@pytest.fixture(scope="module")
def text(written):
    """{split: [(English, German)]}"""
    return {
        split: list(zip(*(read_lines(path_of(written, split, n)) for n in LANGUAGES)))
        for split in SPLITS
    }


def noun(english):
    return next(noun for noun in quick_data.NOUNS if noun[0] == english)


@pytest.mark.parametrize(
    ("article", "adjective", "english", "expected"),
    [
        ("the", "old", "man", "der alte Mann, den alten Mann, dem alten Mann"),
        ("a", "old", "man", "ein alter Mann, einen alten Mann, einem alten Mann"),
        ("this", "small", "woman", "diese kleine Frau, diese kleine Frau, dieser kleinen Frau"),
        ("my", "big", "sister", "meine große Schwester, meine große Schwester, "
                                "meiner großen Schwester"),
        ("the", "new", "lamp", "die neue Lampe, die neue Lampe, der neuen Lampe"),
        ("the", "new", "book", "das neue Buch, das neue Buch, dem neuen Buch"),
        ("no", "red", "book", "kein rotes Buch, kein rotes Buch, keinem roten Buch"),
        ("every", "green", "picture", "jedes grüne Bild, jedes grüne Bild, jedem grünen Bild"),
        ("every", None, "hat", "jeder Hut, jeden Hut, jedem Hut"),
        ("my", None, "hat", "mein Hut, meinen Hut, meinem Hut"),
    ],
)  # fmt: skip
def test_articles_and_adjectives(article, adjective, english, expected):
    pair = (adjective, dict(quick_data.ADJECTIVES)[adjective]) if adjective else None
    found = [
        quick_data.decline(article, pair, noun(english), case)
        for case in ("nominative", "accusative", "dative")
    ]
    assert ", ".join(found) == expected


def phrase(article, english):
    """Phrase without an adjective."""
    german = {
        case: quick_data.decline(article, None, noun(english), case) for case in quick_data.STRONG
    }
    negated = {
        case: quick_data.decline("no", None, noun(english), case) for case in quick_data.STRONG
    }
    return quick_data.Phrase(f"{article} {english}", german, quick_data.THIRD, article, negated)


def verb(english):
    kinds = (quick_data.THING_VERBS, quick_data.PERSON_VERBS, quick_data.DATIVE_VERBS,
             quick_data.VERBS_ALONE)  # fmt: skip
    return next(verb for verbs in kinds for verb in verbs if verb[0] == english)


def clause(subject, does, case="", target=None, tense="present", modal=0, negated=False, time=None):
    return quick_data.Clause(
        subject,
        verb(does),
        case,
        target,
        tense,
        quick_data.MODALS[modal],
        negated,
        quick_data.TIMES[time] if time is not None else None,
        None,
    )


ME, HE, SHE, WE, THEY = (
    quick_data.Phrase(english, {"nominative": german}, person)
    for english, german, person in quick_data.PRONOUNS
)


@pytest.mark.parametrize(
    ("made", "english", "second", "last"),
    [
        (clause(HE, "buy", "accusative", phrase("the", "hat"), time=0),
         "he buys the hat today", "er kauft heute den Hut", "er heute den Hut kauft"),
        (clause(ME, "throw away", "accusative", phrase("a", "lamp")),
         "I throw away a lamp", "ich werfe eine Lampe weg", "ich eine Lampe wegwerfe"),
        (clause(SHE, "call", "accusative", phrase("my", "sister"), "perfect"),
         "she has called my sister", "sie hat meine Schwester angerufen",
         "sie meine Schwester angerufen hat"),
        (clause(WE, "invite", "accusative", phrase("this", "child"), "modal", 1),
         "we can invite this child", "wir können dieses Kind einladen",
         "wir dieses Kind einladen können"),
        (clause(THEY, "follow", "dative", phrase("the", "woman"), "perfect"),
         "they have followed the woman", "sie sind der Frau gefolgt", "sie der Frau gefolgt sind"),
        (clause(HE, "find", "accusative", phrase("the", "bag"), negated=True),
         "he does not find the bag", "er findet die Tasche nicht", "er die Tasche nicht findet"),
        (clause(HE, "find", "accusative", phrase("a", "hat"), negated=True),
         "he does not find a hat", "er findet keinen Hut", "er keinen Hut findet"),
        (clause(ME, "sleep", tense="modal", modal=1, negated=True),
         "I cannot sleep", "ich kann nicht schlafen", "ich nicht schlafen kann"),
        (clause(ME, "stay", tense="perfect", negated=True),
         "I have not stayed", "ich bin nicht geblieben", "ich nicht geblieben bin"),
    ],
)  # fmt: skip
def test_clauses(made, english, second, last):
    assert made.english() == english
    assert made.german("second") == second
    assert made.german("last") == last


def test_questions_and_times_in_front():
    made = clause(HE, "help", "dative", phrase("my", "mother"), "perfect", time=3)
    assert made.question() == "has he helped my mother on Sunday"
    assert made.german("first") == "hat er am Sonntag meiner Mutter geholfen"
    assert made.english(front=True) == "on Sunday he has helped my mother"
    assert made.german("second", front=True) == "am Sonntag hat er meiner Mutter geholfen"
    with pytest.raises(quick_data.Unfit):
        clause(HE, "sing", negated=True).question()


def test_numbers_and_plurals(text):
    """Seen in the text: both parts swapped, plurals by noun, an n for the dative."""
    pairs = text["train"] + text["test"]
    found = collections.Counter()
    for english, german in pairs:
        for number, word in (("twenty-one", "einundzwanzig"), ("ninety-nine", "neunundneunzig")):
            assert (number in english.lower()) == (word in german.lower())
            found[number] += number in english.lower()
        found["children"] += "hilft" in german and "Kindern" in german
    assert all(found.values()) and len(found) == 3


def test_counts_and_lengths(text):
    assert (len(text["train"]), len(text["test"])) == (14_000, 500)
    for split in SPLITS:
        words = np.array([len(english.split()) for english, _ in text[split]])
        assert words.min() == 4 and words.max() == 16
    assert len({english for english, _ in text["train"]}) > 12_500


def test_one_right_translation(text):
    found = collections.defaultdict(set)
    for english, german in text["train"] + text["test"]:
        found[english].add(german)
    assert max(map(len, found.values())) == 1


def phrases(sentence):
    """({(adjective, noun)}, {(tens, units)}) of an English sentence, as places in the lexicon."""
    words = sentence.lower().replace(",", "").rstrip(".?").split()
    adjectives = [english for english, _ in quick_data.ADJECTIVES]
    nouns = {word: n for n, noun in enumerate(quick_data.NOUNS) for word in noun[:2]}
    tens, units = ([e for e, _ in words] for words in (quick_data.TENS, quick_data.UNITS))
    described = {
        (adjectives.index(word), nouns[after])
        for word, after in itertools.pairwise(words)
        if word in adjectives
    }
    numbers = {(tens.index(a), units.index(b)) for a, b in
               (word.split("-") for word in words if "-" in word)}  # fmt: skip
    return described, numbers


def test_what_is_held_out(text):
    """No adjective with a noun, and no number from 21 on, is in both halves."""
    seen = {split: [phrases(english) for english, _ in text[split]] for split in SPLITS}
    for kind in range(2):
        train = set().union(*(found[kind] for found in seen["train"]))
        test = set().union(*(found[kind] for found in seen["test"]))
        assert not any(quick_data.held_out(*pair) for pair in train)
        assert all(quick_data.held_out(*pair) for pair in test)
        assert len(test) > 10 and len(train) > 40
        # Each part of what is held out is known from training.
        for part in range(2):
            assert {pair[part] for pair in test} <= {pair[part] for pair in train}
    assert all(described | numbers for described, numbers in seen["test"])


def test_each_test_word_is_in_the_training_text(text):
    """German too: an ending of an adjective is never new, but for numbers, made of known parts."""
    for language in range(2):
        known, asked = (
            {word.strip(".,?").lower() for pair in text[split] for word in pair[language].split()}
            for split in ("train", "test")
        )
        new = {word for word in asked - known if "-" not in word and "und" not in word}
        assert not new


def test_sentences_depend_on_the_seed_alone():
    one, same, other = (
        quick_data.write_pair(np.random.default_rng(seed), True) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_copying_fails(text):
    value = quality.bleu(*map(list, zip(*text["test"])))
    print(f"copied: {value:.3f}")
    assert value < LIMIT


def test_a_dictionary_word_by_word_fails(text):
    """The best of IBM's model 1, in the order of the source."""
    chosen = dictionary([(e.lower().split(), g.lower().split()) for e, g in split_marks(text)])
    made = [
        " ".join(chosen.get(word, word) for word in marked(english).lower().split())
        for english, _ in text["test"]
    ]
    value = quality.bleu(made, [german for _, german in text["test"]])
    print(f"word by word: {value:.3f}; {text['test'][0]}: {made[0]}")
    assert value < LIMIT


def marked(sentence):
    """The sentence with its marks as words."""
    return "".join(f" {letter}" if letter in ".,?" else letter for letter in sentence)


def split_marks(text):
    return [(marked(english), marked(german)) for english, german in text["train"]]


def dictionary(pairs, rounds=5):
    """{source word: likeliest target word}, Brown et al. 1993, model 1."""
    sources = sorted({word for source, _ in pairs for word in source})
    targets = sorted({word for _, target in pairs for word in target})
    source_number = {word: n for n, word in enumerate(sources)}
    target_number = {word: n for n, word in enumerate(targets)}
    encoded = [
        (np.array([source_number[w] for w in s]), np.array([target_number[w] for w in t]))
        for s, t in pairs[:6_000]
    ]
    # All pairs of a source's and a target's word, with the place of the target's in the text.
    rows = np.concatenate([np.repeat(s, len(t)) for s, t in encoded])
    columns = np.concatenate([np.tile(t, len(s)) for s, t in encoded])
    ends = np.cumsum([len(t) for _, t in encoded])
    places = np.concatenate([np.tile(np.arange(e - len(t), e), len(s))
                             for e, (s, t) in zip(ends, encoded)])  # fmt: skip
    table = np.ones((len(sources), len(targets)))
    for _ in range(rounds):
        weights = table[rows, columns]
        weights /= np.bincount(places, weights)[places]
        table = np.bincount(rows * len(targets) + columns, weights, table.size)
        table = table.reshape(len(sources), -1)
        table /= np.maximum(table.sum(axis=1, keepdims=True), 1e-12)
    return {word: targets[table[n].argmax()] for word, n in source_number.items()}


def test_the_nearest_training_sentence_fails(text):
    """The translation of the training sentence that is most alike by tf-idf of up to two words."""
    features = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"[\w-]+|[.,?]")
    train = features.fit_transform([english for english, _ in text["train"]])
    test = features.transform([english for english, _ in text["test"]])
    nearest = np.concatenate(
        [(test[first : first + 100] @ train.T).toarray().argmax(axis=1)
         for first in range(0, 500, 100)]
    )  # fmt: skip
    made = [text["train"][place][1] for place in nearest]
    value = quality.bleu(made, [german for _, german in text["test"]])
    print(f"nearest training sentence: {value:.3f}")
    assert value < LIMIT
