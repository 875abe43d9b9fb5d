"""DeepBench's lists as its headers have them: how many, which sums, and what was corrected."""

import csv

import pytest

from tests.conftest import ROOT

# (file, list): rows and distinct rows; the sheet of facts has both.
COUNTS = {
    ("gemm", "training"): (160, 160), ("gemm", "server"): (75, 75), ("gemm", "device"): (13, 13),
    ("convolution", "training"): (94, 90), ("convolution", "server"): (107, 103),
    ("convolution", "device"): (16, 15),
    ("recurrent", "training"): (53, 53), ("recurrent", "server"): (69, 69),
    ("recurrent", "device"): (3, 3),
    ("all_reduce", "training"): (7, 7),
    ("sparse", "server"): (24, 24), ("sparse", "device"): (8, 8),
}  # fmt: skip


def rows(file):
    with open(ROOT / "kernels" / "deepbench" / f"{file}.csv") as opened:
        return list(csv.DictReader(line for line in opened if not line.startswith("#")))


@pytest.mark.parametrize(("file", "name"), COUNTS, ids="-".join)
def test_a_list_has_its_rows_in_their_order(file, name):
    own = [row for row in rows(file) if row["list"] == name]
    sizes = {tuple(v for k, v in row.items() if k not in ("number", "label", "correction"))
             for row in own}
    assert (len(own), len(sizes)) == COUNTS[file, name]
    assert [int(row["number"]) for row in own] == list(range(1, len(own) + 1))


def test_no_list_is_left_out():
    names = ("gemm", "convolution", "recurrent", "all_reduce", "sparse")
    assert {(name, row["list"]) for name in names for row in rows(name)} == COUNTS.keys()


def test_transposes_and_cells_are_counted_as_published():
    gemm = [row["a"] + row["b"] for row in rows("gemm") if row["list"] == "training"]
    assert [gemm.count(pair) for pair in ("NN", "TN", "NT", "TT")] == [77, 73, 10, 0]
    expected = {"training": [12, 22, 19], "server": [0, 15, 54], "device": [2, 1, 0]}
    for name, counts in expected.items():
        cells = [row["cell"] for row in rows("recurrent") if row["list"] == name]
        assert [cells.count(cell) for cell in ("vanilla", "lstm", "gru")] == counts


def test_7680_rows_are_7680_and_say_so():
    sparse = rows("sparse")
    assert {row["m"] for row in sparse} == {"7680", "10752"}
    corrected = [(row["list"], int(row["number"])) for row in sparse if row["correction"]]
    assert corrected == [("server", n) for n in (2, 3, 5, 6, 14, 15, 17, 18)]


def test_a_power_of_two_and_one():
    assert "16777217" in {row["floats"] for row in rows("all_reduce")}


def test_the_outputs_of_deepbench_convolutions_fit_its_next_layers():
    """341 x 79 is what the first layer of DeepSpeech makes of 700 x 161."""
    first, *_ = rows("convolution")
    for axis, expected in (("width", 341), ("height", 79)):
        padded = int(first[axis]) + 2 * int(first[f"pad_{axis}"]) - int(first[f"filter_{axis}"])
        assert padded // int(first[f"stride_{axis}"]) + 1 == expected
