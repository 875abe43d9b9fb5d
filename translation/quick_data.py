"""The embedded data of the quick profile: English sentences and their German translation.

One lexicon of some 150 words a language and one grammar write both, so each English sentence has
one right translation.  What a translator has to learn beside the words:

    order      the finite verb second, first in questions, last behind weil, dass, obwohl, wenn;
               infinitives and participles last; time before the object
    agreement  articles and adjectives by gender, case, number and article; verbs by person
    verbs      separable ones, together or apart; perfects with haben or sein; datives
    negation   nicht behind the object, or kein for an object with a
    numbers    einundzwanzig for twenty-one

Held out: a sixth of all pairs of adjective and noun, and a sixth of the numbers from twenty-one to
ninety-nine, see `held_out`.  No training sentence holds one; each test sentence holds one at least,
and no other adjective with a noun, and no other such number.  So no test sentence, and no noun
phrase with an adjective in one, is in the training text.
"""

import os
from dataclasses import dataclass

import numpy as np

from common.data import embedded

VERSION = 1        # of the sentences: another number, another folder
NUM_TRAIN = 14_000
NUM_TEST = 500
SEED = 20170612
MIN_WORDS, MAX_WORDS = 4, 16      # English

# English, its plural, German, its plural, gender.
PEOPLE = (
    ("man", "men", "Mann", "Männer", "m"),
    ("teacher", "teachers", "Lehrer", "Lehrer", "m"),
    ("brother", "brothers", "Bruder", "Brüder", "m"),
    ("woman", "women", "Frau", "Frauen", "f"),
    ("mother", "mothers", "Mutter", "Mütter", "f"),
    ("sister", "sisters", "Schwester", "Schwestern", "f"),
    ("child", "children", "Kind", "Kinder", "n"),
    ("girl", "girls", "Mädchen", "Mädchen", "n"),
)
THINGS = (
    ("apple", "apples", "Apfel", "Äpfel", "m"),
    ("hat", "hats", "Hut", "Hüte", "m"),
    ("table", "tables", "Tisch", "Tische", "m"),
    ("lamp", "lamps", "Lampe", "Lampen", "f"),
    ("bag", "bags", "Tasche", "Taschen", "f"),
    ("flower", "flowers", "Blume", "Blumen", "f"),
    ("book", "books", "Buch", "Bücher", "n"),
    ("picture", "pictures", "Bild", "Bilder", "n"),
    ("bicycle", "bicycles", "Fahrrad", "Fahrräder", "n"),
)
PLACES = (
    ("garden", "gardens", "Garten", "Gärten", "m"),
    ("kitchen", "kitchens", "Küche", "Küchen", "f"),
    ("school", "schools", "Schule", "Schulen", "f"),
    ("house", "houses", "Haus", "Häuser", "n"),
    ("village", "villages", "Dorf", "Dörfer", "n"),
)
NOUNS = PEOPLE + THINGS + PLACES

COLOURS = (("red", "rot"), ("green", "grün"), ("black", "schwarz"))          # not of people
ADJECTIVES = (("old", "alt"), ("new", "neu"), ("small", "klein"), ("big", "groß"),
              ("beautiful", "schön"), *COLOURS)

# English, third person, participle; German infinitive, third person, participle, auxiliary, what
# is split off.
THING_VERBS = (
    ("buy", "buys", "bought", "kaufen", "kauft", "gekauft", "haben", ""),
    ("see", "sees", "seen", "sehen", "sieht", "gesehen", "haben", ""),
    ("find", "finds", "found", "finden", "findet", "gefunden", "haben", ""),
    ("take", "takes", "taken", "nehmen", "nimmt", "genommen", "haben", ""),
    ("sell", "sells", "sold", "verkaufen", "verkauft", "verkauft", "haben", ""),
    ("draw", "draws", "drawn", "zeichnen", "zeichnet", "gezeichnet", "haben", ""),
    ("bring back", "brings back", "brought back",
     "bringen", "bringt", "gebracht", "haben", "zurück"),
    ("throw away", "throws away", "thrown away", "werfen", "wirft", "geworfen", "haben", "weg"),
    ("look at", "looks at", "looked at", "sehen", "sieht", "gesehen", "haben", "an"),
)  # fmt: skip
PERSON_VERBS = (
    ("love", "loves", "loved", "lieben", "liebt", "geliebt", "haben", ""),
    ("visit", "visits", "visited", "besuchen", "besucht", "besucht", "haben", ""),
    ("call", "calls", "called", "rufen", "ruft", "gerufen", "haben", "an"),
    ("invite", "invites", "invited", "laden", "lädt", "geladen", "haben", "ein"),
)
DATIVE_VERBS = (
    ("help", "helps", "helped", "helfen", "hilft", "geholfen", "haben", ""),
    ("thank", "thanks", "thanked", "danken", "dankt", "gedankt", "haben", ""),
    ("follow", "follows", "followed", "folgen", "folgt", "gefolgt", "sein", ""),
)
VERBS_ALONE = (
    ("laugh", "laughs", "laughed", "lachen", "lacht", "gelacht", "haben", ""),
    ("sing", "sings", "sung", "singen", "singt", "gesungen", "haben", ""),
    ("sleep", "sleeps", "slept", "schlafen", "schläft", "geschlafen", "haben", ""),
    ("stay", "stays", "stayed", "bleiben", "bleibt", "geblieben", "sein", ""),
)
# First person, third, plural.
SAYING = (
    ("know", "knows", ("weiß", "weiß", "wissen")),
    ("believe", "believes", ("glaube", "glaubt", "glauben")),
    ("hear", "hears", ("höre", "hört", "hören")),
)
MODALS = (
    ("must", ("muss", "muss", "müssen")),
    ("can", ("kann", "kann", "können")),
    ("should", ("soll", "soll", "sollen")),
)
AUXILIARIES = {"haben": ("habe", "hat", "haben"), "sein": ("bin", "ist", "sind")}
FIRST, THIRD, PLURAL = range(3)

PRONOUNS = (("I", "ich", FIRST), ("he", "er", THIRD), ("she", "sie", THIRD), ("we", "wir", PLURAL),
            ("they", "sie", PLURAL))
CONJUNCTIONS = (("because", "weil"), ("although", "obwohl"), ("when", "wenn"))
TIMES = (("today", "heute"), ("now", "jetzt"), ("tomorrow", "morgen"), ("on Sunday", "am Sonntag"))
NOT_IN_PERFECT = ("now", "tomorrow")
PREPOSITIONS = (("with", "mit", "dative"), ("for", "für", "accusative"),
                ("without", "ohne", "accusative"))

ARTICLES = ("the", "a", "this", "my", "every")
DEFINITE = {"m": "der", "f": "die", "n": "das"}
STRONG = {  # endings of dies- and jed-; the one of d- differs in die and das
    "nominative": {"m": "er", "f": "e", "n": "es"},
    "accusative": {"m": "en", "f": "e", "n": "es"},
    "dative": {"m": "em", "f": "er", "n": "em"},
}
UNITS = (("one", "ein"), ("two", "zwei"), ("three", "drei"), ("four", "vier"), ("five", "fünf"),
         ("six", "sechs"), ("seven", "sieben"), ("eight", "acht"), ("nine", "neun"))
TENS = (("twenty", "zwanzig"), ("thirty", "dreißig"), ("forty", "vierzig"), ("fifty", "fünfzig"),
        ("sixty", "sechzig"), ("seventy", "siebzig"), ("eighty", "achtzig"), ("ninety", "neunzig"))


def held_out(first, second):
    """Whether a pair is for the test alone.

    Of an adjective's place in ADJECTIVES and a noun's in NOUNS, or of a ten's and a unit's.
    """
    return (first + second) % 6 == 0


class Unfit(Exception):
    """What was drawn does not go together: draw again."""


@dataclass(frozen=True)
class Phrase:
    """A subject or an object, and what the words around it must know."""

    english: str
    german: dict          # {case: text}
    person: int           # FIRST, THIRD or PLURAL
    article: str = ""     # English
    negated: dict | None = None   # {case: text} with kein, for an object with a


class Writer:
    """Draws sentences.  test: with what is held out, and only that."""

    def __init__(self, rng, test):
        self.rng = rng
        self.test = test
        self.has_held_out = False

    def draw(self, choices):
        """One of a tuple."""
        return choices[self.rng.integers(len(choices))]

    def chance(self, share):
        """True in that share of the cases."""
        return self.rng.random() < share

    def pair(self, firsts, seconds, second=None):
        """A pair of the right side of held_out.  second: given, or drawn too."""
        second = self.draw(seconds) if second is None else second
        place = seconds.index(second)
        fit = [one for n, one in enumerate(firsts) if held_out(n, place) == self.test]
        fit = [one for one in fit if second not in PEOPLE or one not in COLOURS]
        if not fit:
            raise Unfit
        self.has_held_out |= self.test
        return self.draw(fit), second

    def adjective(self, noun, share):
        """(English, German) without its ending, or None."""
        return self.pair(ADJECTIVES, NOUNS, noun)[0] if self.chance(share) else None

    def number(self):
        """(English, German) from two on."""
        if self.chance(0.4):
            return self.draw(UNITS[1:])
        tens, units = self.pair(TENS, UNITS)
        return f"{tens[0]}-{units[0]}", f"{units[1]}und{tens[1]}"

    def noun_phrase(self, nouns, share=0.45):
        """Phrase of an article, maybe an adjective, and a noun.  share: of adjectives."""
        noun = self.draw(nouns)
        article = self.draw(ARTICLES)
        adjective = self.adjective(noun, share)
        words = [article, adjective[0] if adjective else "", noun[0]]
        english = " ".join(word for word in words if word)
        if english.startswith("a ") and english[2] in "aeiou":
            english = f"an {english[2:]}"
        german = {case: decline(article, adjective, noun, case) for case in STRONG}
        negated = {case: decline("no", adjective, noun, case) for case in STRONG}
        return Phrase(english, german, THIRD, article, negated)

    def counted(self, nouns):
        """Phrase of a number and a noun, maybe with an adjective."""
        noun = self.draw(nouns)
        number = self.number()
        adjective = self.adjective(noun, 0.3)
        english = " ".join([number[0], *([adjective[0]] if adjective else []), noun[1]])
        german = {}
        for case in STRONG:
            ending = "en" if case == "dative" else "e"
            words = [number[1], *([adjective[1] + ending] if adjective else []), noun[3]]
            if case == "dative" and not noun[3].endswith("n"):
                words[-1] += "n"
            german[case] = " ".join(words)
        return Phrase(english, german, PLURAL, "number")

    def phrase(self, nouns, counted):
        """Phrase of any kind.  counted: the share of numbers."""
        return self.counted(nouns) if self.chance(counted) else self.noun_phrase(nouns)

    def subject(self):
        """Phrase of a person, or a pronoun."""
        if self.chance(0.35):
            english, german, person = self.draw(PRONOUNS)
            return Phrase(english, {"nominative": german}, person)
        return self.phrase(PEOPLE, 0.1)

    def clause(self, long):
        """A Clause.  long: with a place or a companion, or a time, more often."""
        kind = self.rng.choice(4, p=(0.45, 0.2, 0.15, 0.2))
        verb = self.draw((THING_VERBS, PERSON_VERBS, DATIVE_VERBS, VERBS_ALONE)[kind])
        case = ("accusative", "accusative", "dative", "")[kind]
        subject = self.subject()
        obj = None
        if case:
            obj = self.phrase(THINGS if kind == 0 else PEOPLE, 0.3 if kind == 0 else 0.1)
        tense = ("present", "perfect", "modal")[self.rng.choice(3, p=(0.45, 0.3, 0.25))]
        modal = self.draw(MODALS)
        negated = self.chance(0.25)
        if negated:
            # Their scope can be taken in two ways, and so can must not.
            odd = {subject.article, obj.article if obj else ""} & {"every", "number"}
            if odd or (tense == "modal" and modal[0] == "must"):
                raise Unfit
        time = self.draw(TIMES) if self.chance(0.5 if long else 0.15) else None
        if time and tense == "perfect" and time[0] in NOT_IN_PERFECT:
            raise Unfit
        around = self.around() if self.chance(0.4 if long else 0.1) else None
        return Clause(subject, verb, case, obj, tense, modal, negated, time, around)

    def around(self):
        """(English, German): where, or with whom."""
        if self.chance(0.5):
            place = self.noun_phrase(PLACES, 0.3)
            german = f"in {place.german['dative']}"
            return f"in {place.english}", german.replace("in dem ", "im ")
        english, german, case = self.draw(PREPOSITIONS)
        person = self.noun_phrase(PEOPLE, 0.3)
        return f"{english} {person.english}", f"{german} {person.german[case]}"

    def sentence(self):
        """(English, German), or Unfit."""
        kind = self.rng.choice(5, p=(0.4, 0.1, 0.2, 0.15, 0.15))
        if kind == 0:
            clause = self.clause(long=True)
            front = clause.time is not None and self.chance(0.5)
            english, german = clause.english(front), clause.german("second", front)
            mark = "."
        elif kind == 1:
            clause = self.clause(long=True)
            english, german, mark = clause.question(), clause.german("first"), "?"
        elif kind == 2:
            subject, clause = self.subject(), self.clause(long=False)
            say, says, forms = self.draw(SAYING)
            says = says if subject.person == THIRD else say
            english = f"{subject.english} {says} that {clause.english()}"
            says = f"{subject.german['nominative']} {forms[subject.person]}"
            german, mark = f"{says}, dass {clause.german('last')}", "."
        else:
            main, clause = self.clause(long=False), self.clause(long=False)
            conjunction, konjunktion = self.draw(CONJUNCTIONS)
            english = f"{conjunction} {clause.english()}"
            german = f"{konjunktion} {clause.german('last')}"
            mark = "."
            if kind == 3:
                english = f"{english}, {main.english()}"
                german = f"{german}, {main.german('first')}"
            else:
                english = f"{main.english()} {english}"
                german = f"{main.german('second')}, {german}"
        return start(english) + mark, start(german) + mark


@dataclass(frozen=True)
class Clause:
    """Who does what, in either language and any order."""

    subject: Phrase
    verb: tuple
    case: str             # of the object; "": none
    object: Phrase | None
    tense: str
    modal: tuple
    negated: bool
    time: tuple | None
    around: tuple | None

    def english_parts(self):
        """(auxiliary, main verb); the auxiliary is "" in the affirmative present."""
        base, third, participle = self.verb[:3]
        singular = self.subject.person == THIRD
        if self.tense == "perfect":
            return "has" if singular else "have", participle
        if self.tense == "modal":
            return self.modal[0], base
        return "", third if singular else base

    def english_rest(self, time):
        """What follows the verb."""
        parts = [self.object.english if self.object else "", self.around[0] if self.around else "",
                 self.time[0] if self.time and time else ""]
        return " ".join(part for part in parts if part)

    def english(self, front=False):
        """str.  front: the time comes first."""
        auxiliary, verb = self.english_parts()
        if self.negated:
            if not auxiliary:
                auxiliary = "does" if self.subject.person == THIRD else "do"
                verb = self.verb[0]
            auxiliary = "cannot" if auxiliary == "can" else f"{auxiliary} not"
        words = [self.time[0] if front else "", self.subject.english, auxiliary, verb,
                 self.english_rest(not front)]
        return " ".join(word for word in words if word)

    def question(self):
        """str: whether it is so.  Raises Unfit for a negated one."""
        if self.negated:
            raise Unfit
        auxiliary, verb = self.english_parts()
        if not auxiliary:
            auxiliary = "does" if self.subject.person == THIRD else "do"
            verb = self.verb[0]
        return " ".join(f"{auxiliary} {self.subject.english} {verb} "
                        f"{self.english_rest(True)}".split())

    def german(self, finite_place, front=False):
        """str, with the finite verb first, second or last.  front: the time comes first."""
        infinitive, third, participle, auxiliary, prefix = self.verb[3:]
        person = self.subject.person
        if self.tense == "perfect":
            finite, end = AUXILIARIES[auxiliary][person], prefix + participle
        elif self.tense == "modal":
            finite, end = self.modal[1][person], prefix + infinitive
        else:
            finite, end = (infinitive[:-1], third, infinitive)[person], prefix
            if finite_place == "last":
                finite, end = prefix + finite, ""
        middle = [self.time[1] if self.time and not front else ""]
        none = self.negated and self.object and self.object.article == "a"
        if self.object:
            middle.append((self.object.negated if none else self.object.german)[self.case])
        middle += ["nicht" if self.negated and not none else "",
                   self.around[1] if self.around else ""]
        subject = self.subject.german["nominative"]
        words = {
            "first": [finite, subject, *middle, end],
            "second": [subject, finite, *middle, end],
            "last": [subject, *middle, end, finite],
        }[finite_place]
        if front:
            words = [self.time[1], finite, subject, *middle, end]
        return " ".join(word for word in words if word)


def decline(article, adjective, noun, case):
    """str: a German noun phrase in the singular.  article: English, or "no" for kein."""
    gender = noun[4]
    strong = STRONG[case][gender]
    # Ein, mein and kein have no ending where the adjective shows the gender in their place.
    bare = (case, gender) in (("nominative", "m"), ("nominative", "n"), ("accusative", "n"))
    if article in ("a", "my", "no"):
        stem = {"a": "ein", "my": "mein", "no": "kein"}[article]
        word = stem if bare else stem + strong
        ending = strong if bare else "en"
    else:
        if article == "the":
            word = DEFINITE[gender] if strong in ("e", "es") else f"d{strong}"
        else:
            word = {"this": "dies", "every": "jed"}[article] + strong
        ending = "e" if bare else "en"
    if gender == "f" and case != "dative":
        ending = "e"
    return " ".join([word, *([adjective[1] + ending] if adjective else []), noun[2]])


def start(sentence):
    """The sentence with a capital letter; the others stay as they are."""
    return sentence[0].upper() + sentence[1:]


def write_pair(rng, test):
    """(English, German): one sentence.  test: with what is held out."""
    while True:
        writer = Writer(rng, test)
        try:
            english, german = writer.sentence()
        except Unfit:
            continue
        fits = MIN_WORDS <= len(english.split()) <= MAX_WORDS
        if fits and writer.has_held_out == test:
            return english, german


def write(folder):
    """Writes train.en, train.de, test.en and test.de into an empty folder."""
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        rng = np.random.default_rng([SEED, split == "test"])
        pairs = [write_pair(rng, split == "test") for _ in range(count)]
        for language, texts in zip(("en", "de"), zip(*pairs)):
            path = os.path.join(folder, f"{split}.{language}")
            with open(path, "w", encoding="utf-8", newline="\n") as opened:
                opened.writelines(f"{text}\n" for text in texts)


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("translation", VERSION, write)
