"""Labels of transcripts."""

from hypothesis import given
from hypothesis import strategies as st

from speech_recognition import alphabet


def test_labels_by_hand():
    labels, dropped = alphabet.encode(" Don't stop\n")
    assert labels.tolist() == [5, 16, 15, 1, 21, 28, 20, 21, 16, 17] and dropped == {}
    assert alphabet.encode("A_b-c-É 1")[0].tolist() == [2, 3, 4, 28]
    assert alphabet.encode("A_b-c-É 1")[1] == {"_": 1, "-": 2, "É": 1, "1": 1}
    assert len(alphabet.SYMBOLS) == 29 and alphabet.SYMBOLS[27:] == "Z "


@given(st.text())
def test_labels_come_back(text):
    labels, dropped = alphabet.encode(text)
    assert all(1 <= label <= 28 for label in labels)
    kept = "".join(c for c in text.strip().upper() if c in alphabet.SYMBOLS[1:])
    assert alphabet.decode(labels) == kept
    assert len(kept) + sum(dropped.values()) == len(text.strip().upper())
