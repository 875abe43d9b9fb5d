"""What is decided: counted as sets, and the reference's given to the others, but in fp64."""

import numpy as np
import pytest

from common.parity import compare, inputs
from tests.common.parity import numbers
from tests.common.parity.test_inputs import written

APPLICATION = "object_detection"


@pytest.mark.parametrize(("expected", "found", "flips"), [
    ([[5, 3, 9, -1]], [[5, 3, 9, -1]], (0, 3)),
    ([[5, 3, 9, -1]], [[9, 5, 3, -1]], (0, 3)),     # the order is none of it
    ([[5, 3, 9, -1]], [[5, 4, 9, -1]], (1, 3)),
    ([[5, 3, 9, -1]], [[5, 3, -1, -1]], (1, 3)),
    ([[5, 3, -1, -1]], [[5, 3, 9, 4]], (2, 2)),
    ([[5, 3, 9, -1], [-1] * 4], [[5, 3, 9, -1], [-1, -1, -1, 2]], (1, 3)),
    ([[0, 0, 1, 2]], [[0, 0, 2, 1]], (2, 4)),       # no places: one by one
    ([[[0, 1], [1, 1]]], [[[1, 1], [1, 1]]], (1, 4)),
])  # fmt: skip
def test_flips(expected, found, flips):
    assert compare.flips(np.array(expected), np.array(found)) == flips


class Otherwise(numbers.Trainer):
    """Decides a little otherwise in a step and in an evaluation, and keeps what it is given."""

    given = None

    def decided(self, name, meaning):
        found = super().decided(name, meaning)
        found.flat[0] += 1000
        return found

    def gradients(self, batch):
        Otherwise.given = {n: array for n, array in batch.items() if n.startswith("decision.")}
        return super().gradients(batch)


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
def test_decisions_are_given_and_flips_counted(precision, tmp_path, capsys):
    facts = written(tmp_path, APPLICATION, precision=precision)
    numbers.lead(facts, tmp_path)
    numbers.dump(facts, tmp_path, "other", Otherwise)
    own = inputs.load(inputs.output_path(tmp_path, "reference", "step_0000"))
    names = {n.partition("/")[2] for n in own if inputs.decides(n)}
    assert {"decision.anchors", "decision.proposals", "decision.region_levels"} <= names
    assert Otherwise.given.keys() == (set() if precision == "fp64" else names)
    for name, array in Otherwise.given.items():
        assert np.array_equal(array, own[f"activation/{name}"])
    rows = [row for row in compare.rows(facts, str(tmp_path), "reference", "other")
            if inputs.decides(row.name)]
    assert {row.dump for row in rows} == {"step_0000", "step_0001", "evaluation_0000"}
    assert all(row.reason.startswith("1 of ") for row in rows)
    assert [row.beyond for row in rows] == [precision == "fp64"] * len(rows)
    assert compare.report(facts, str(tmp_path), "reference") == (precision != "fp64")
    assert ": 1 of 40\n" in capsys.readouterr().out.replace("  BEYOND", "")
