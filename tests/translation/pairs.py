"""Six training pairs and two test pairs, and the quick config on them."""

import dataclasses

from translation.config import QUICK

ENGLISH = ["A man.", "The old man buys an apple.", "Two apples", "", "He  sleeps.", "Apple!"]
GERMAN = ["Ein Mann.", "Der alte Mann kauft einen Apfel.", "Zwei Äpfel", "", "Er schläft.",
          "Apfel!"]
TEST_ENGLISH = ["A man buys two apples.", "Two!"]
TEST_GERMAN = ["Ein Mann kauft zwei Äpfel.", "2"]


def write(folder, name, english, german):
    for language, texts in (("en", english), ("de", german)):
        text = "".join(f"{line}\n" for line in texts)
        (folder / f"{name}.{language}").write_bytes(text.encode())


def own(folder, **changes):
    """The quick config on a folder, with a vocabulary that little text can give."""
    changes = {"vocabulary_size": 300} | changes
    return dataclasses.replace(QUICK, seed=1, data_dir=str(folder), **changes)
