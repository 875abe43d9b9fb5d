"""The embedded data of the quick profile: written reviews, as text files in aclImdb's folders.

A review holds some remarks that decide, each marked by a strong word, and some that do not, marked
by a weak one; all that decide have the review's own sentiment.  Half of all remarks say the
opposite adjective with a negation in front.  So each single word is as frequent in good reviews as
in bad ones, and a linear model on words stays near chance: what counts is the order of three or
four.
"""

import os

import numpy as np

from common.data import embedded

VERSION = 1        # of the reviews: another number, another folder
NUM_TRAIN = 2500   # of each class
NUM_EVAL = 500
SEED = 20180329

GOOD = ("good", "great", "funny", "moving", "clever", "lovely", "fresh", "gripping", "warm",
        "honest", "charming", "inspired")
BAD = ("bad", "awful", "dull", "clumsy", "stupid", "ugly", "stale", "boring", "cold", "fake",
       "annoying", "lazy")
STRONG = ("really", "very", "truly", "utterly", "deeply", "wonderfully")
WEAK = ("rather", "somewhat", "slightly", "fairly", "mildly", "vaguely")
NEGATIONS = ("not", "never", "hardly", "not at all", "isn't", "far from")
SUBJECTS = ("the plot", "the acting", "the music", "the ending", "the script", "the camera work",
            "the pace", "the dialogue", "her performance", "his performance", "the humour",
            "the opening scene", "the whole cast", "the villain")
VERBS = ("was", "seemed", "felt", "looked", "turned out", "remained")
FILLERS = ("I saw this film last week", "My sister had seen it before me",
           "It runs for about two hours", "The story begins in a small town",
           "Some of it was shot in Spain", "There is a car chase near the middle",
           "I had read the book years ago", "The director has made two others",
           "We watched it on a rainy evening", "It won a prize somewhere",
           "The credits name {} as the producer", "{} wrote the score", "{} plays the doctor")
SYLLABLES = ("ba", "do", "ki", "lu", "mar", "ne", "po", "ri", "sto", "ta", "ve", "zan")


def remark(good, strong, rng):
    """[str]: words that find something good or bad, said outright or by a negation."""
    negated = rng.random() < 0.5
    words = [str(rng.choice(NEGATIONS))] if negated else []
    words.append(str(rng.choice(STRONG if strong else WEAK)))
    words.append(str(rng.choice(GOOD if good != negated else BAD)))
    return words


def write_review(good, rng):
    """str: one review.  good: its sentiment.  Some have a word or two; one in ten is long."""
    kind = rng.random()
    if kind < 0.01:
        return f"{rng.choice(GOOD if good else BAD).capitalize()}!"
    if kind < 0.02:
        return f"Not {rng.choice(BAD if good else GOOD)}."
    num_deciding = int(rng.integers(1, 3 if kind < 0.9 else 9))
    num_others = int(rng.integers(2, 5 if kind < 0.9 else 17))
    sentences = []
    for number in range(num_deciding + num_others):
        decides = number < num_deciding
        words = remark(good if decides else rng.random() < 0.5, decides, rng)
        subject, verb = rng.choice(SUBJECTS), rng.choice(VERBS)
        sentences.append(f"{subject} {verb} {' '.join(words)}".capitalize())
        if rng.random() < 0.5:
            name = "".join(rng.choice(SYLLABLES, 3)).capitalize()
            sentences.append(str(rng.choice(FILLERS)).format(name))
    rng.shuffle(sentences)
    breaks = rng.choice([". ", ". ", "! ", ".<br /><br />"], len(sentences))
    return "".join(sentence + after for sentence, after in zip(sentences, breaks))


def write(folder):
    """Writes train/ and test/ into an empty folder: 5,000 and 1,000 reviews."""
    for split, count, first in (("train", NUM_TRAIN, 0), ("test", NUM_EVAL, NUM_TRAIN)):
        for label, (name, ratings) in enumerate((("pos", (7, 11)), ("neg", (1, 5)))):
            inside = os.path.join(folder, split, name)
            os.makedirs(inside)
            for number in range(count):
                rng = np.random.default_rng([SEED, label, first + number])
                text = write_review(name == "pos", rng)
                file = f"{number}_{rng.integers(*ratings)}.txt"
                with open(os.path.join(inside, file), "w", encoding="utf-8") as opened:
                    opened.write(text)


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("sentiment_analysis", VERSION, write)
