"""The sub-word vocabulary: its size, its reserved pieces, and that no character is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from translation import vocabulary

TEXT = ["The man buys an apple.", "Der Mann kauft einen Apfel.", "Zwei Äpfel, drei Straßen!"] * 3
SIZE = 290
# sentencepiece writes a space as this sign, and cannot tell the two apart.
SPACE_SIGN = "\u2581"


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.model"
    path.write_bytes(vocabulary.learn(TEXT, SIZE))
    return vocabulary.load(str(path))


def test_size_and_reserved_pieces(processor):
    assert processor.get_piece_size() == SIZE
    assert (processor.pad_id(), processor.eos_id(), processor.unk_id()) == (0, 1, 2)
    assert processor.bos_id() == -1


def test_the_same_text_gives_the_same_pieces():
    assert vocabulary.learn(TEXT, SIZE) == vocabulary.learn(iter(TEXT), SIZE)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SPACE_SIGN)))
def test_every_text_survives(processor, text):
    pieces = processor.encode(text)
    assert vocabulary.decode(processor, pieces) == text
    assert all(vocabulary.UNKNOWN < piece < SIZE for piece in pieces)


@pytest.mark.parametrize(
    "text", ["", "  two  spaces ", "MiXed CaSe", "\ufb01 \u00bd A\u030a", "漢字 🙂", "a\tb\u2028c"]
)
def test_nothing_is_normalised(processor, text):
    assert vocabulary.decode(processor, processor.encode(text)) == text


def test_what_follows_the_end_is_cut(processor):
    pieces = processor.encode("Der Apfel", add_eos=True)
    assert pieces[-1] == vocabulary.END
    assert vocabulary.decode(processor, [*pieces, 0, 0]) == "Der Apfel"
    assert vocabulary.decode(processor, [*pieces, 77, 5, 1]) == "Der Apfel"
    assert vocabulary.decode(processor, [vocabulary.END, *pieces]) == ""


@pytest.mark.parametrize("size", [10, 5_000], ids=["no room for the bytes", "too little text"])
def test_a_size_that_cannot_be_is_named(size):
    with pytest.raises(UserError, match=f"vocabulary_size={size}: ") as caught:
        vocabulary.learn(TEXT, size)
    assert "\n" not in str(caught.value)
