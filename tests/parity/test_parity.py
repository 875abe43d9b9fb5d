"""The three frameworks compute the same, in every application; a planted fault is named."""

import pytest

from common import benchmark
from common.parity import compare, inputs
from tests.cells import APPLICATIONS
from tests.parity.conftest import settings_of


def case(application, *more):
    """A parameter whose tests share a worker, and with it what was recorded."""
    return pytest.param(application, *more, marks=pytest.mark.xdist_group(f"parity-{application}"))


SETTINGS = [case(a, setting) for a in APPLICATIONS for setting in settings_of(a).SETTINGS]


@pytest.mark.parametrize("other", ["tensorflow", "paddlepaddle"])
@pytest.mark.parametrize("application, setting", SETTINGS)
def test_the_frameworks_agree(application, setting, other, records):
    facts = benchmark.benchmark_of(application)
    folder = records(application)[setting]
    rows = list(compare.rows(facts, folder, "pytorch", other))
    assert [row for row in rows if row.beyond] == []
    config = inputs.read_config(facts, folder)
    sums = {"optimizer", "statistic", *facts.optimizer_sums} if inputs.given_masks(config) else {}
    groups = {*facts.tolerances["fp64"], "optimizer"} - {*sums}
    assert {inputs.group(row.name) for row in rows} == groups


@pytest.mark.parametrize("application", [case(a) for a in APPLICATIONS])
def test_each_planted_fault_is_named_and_nothing_else_is(application, planted):
    folder, faults = planted(application)
    facts = benchmark.benchmark_of(application)
    found = {}
    for name in ("Trainer", *faults):
        beyond = (row for row in compare.rows(facts, folder, "pytorch", name) if row.beyond)
        found[name] = next(([row.dump, row.name] for row in beyond), None)
    assert found == {"Trainer": None} | faults
    assert len(faults) >= 8
