"""The tests of planted faults, the same for every application whose test module imports them.

The module's FAULTS: {fault: (dump, the first tensor there that it changes in forward order)}.
"""


def test_planted_fault_is_found_and_named(fault, verdict, request):
    agrees, shown = verdict(fault)
    dump, tensor = request.module.FAULTS[fault]
    assert not agrees
    assert f"DIFFERS first at {dump} {tensor}:" in shown, shown


def test_nothing_planted_agrees(verdict):
    agrees, shown = verdict("nothing")
    assert agrees, shown
