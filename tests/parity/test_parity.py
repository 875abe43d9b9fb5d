"""The three frameworks compute the same, in every application; a planted fault is named."""

import pytest

from common import benchmark
from common.command import FRAMEWORKS
from common.parity import compare, inputs
from tests.cells import APPLICATIONS
from tests.parity import plant
from tests.parity.plant import settings_of


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


def planted_cases():
    """Each framework's variant as it is, then with each of the application's faults."""
    for application in APPLICATIONS:
        for framework_name in FRAMEWORKS:
            for kind in plant.kinds(application):
                if plant.runs(application, framework_name, kind):
                    yield case(application, framework_name, kind, None, None)
        for planted_case in plant.cases(application):
            yield case(application, *planted_case)


@pytest.mark.timeout(1800)  # the first of a cell records all of its faults
@pytest.mark.parametrize("application, framework_name, kind, fault, place", [*planted_cases()])
def test_a_planted_fault_is_named_and_nothing_else_is(
    application, framework_name, kind, fault, place, planted
):
    folder = planted(application, framework_name)[kind]
    facts = benchmark.benchmark_of(application)
    name = plant.recorded_as(framework_name, fault)
    rows = compare.rows(facts, folder, plant.LEADER, name)
    assert next(((row.dump, row.name) for row in rows if row.beyond), None) == place
