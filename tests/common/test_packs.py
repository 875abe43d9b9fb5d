"""Which tensors travel together, and in which order: worked by hand."""

import itertools

from common.packs import PACK_BYTES, Packs

SIZES = {"head": 6, "middle": 3, "body": 9, "stem": 1}


def test_a_pack_is_full_with_its_bytes():
    assert Packs(SIZES, 8).packs == [["head", "middle"], ["body"], ["stem"]]
    assert Packs(SIZES, 6).packs == [["head"], ["middle", "body"], ["stem"]]
    assert Packs(SIZES, 1).packs == [["head"], ["middle"], ["body"], ["stem"]]
    assert Packs(SIZES).packs == [list(SIZES)]
    assert len(Packs(dict.fromkeys(range(5), PACK_BYTES)).packs) == 5


def test_a_pack_goes_when_its_last_tensor_has_come():
    packs = Packs(SIZES, 8)
    assert list(packs.come("head")) == []
    assert packs.missing() == ["middle", "body", "stem"]
    assert list(packs.come("middle")) == [0]
    assert list(packs.come("body")) == [1]
    assert list(packs.come("stem")) == [2]
    assert packs.missing() == []


def test_all_processes_send_in_one_order():
    """Whatever order their tensors come in."""
    for names in itertools.permutations(SIZES):
        packs = Packs(SIZES, 8)
        assert [number for name in names for number in packs.come(name)] == [0, 1, 2]
    packs = Packs(SIZES, 8)
    assert [list(packs.come(name)) for name in ("stem", "body", "middle", "head")] == [
        [], [], [], [0, 1, 2],
    ]  # fmt: skip
