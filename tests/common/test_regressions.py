"""The rank test over seeds against scipy's own and by hand, and what --against says."""

import itertools
import json
import math

import numpy as np
import pytest
import scipy.stats

from common import regressions, results
from tests.common import fake


def of(*seconds, reached=True):
    return [(float(second), reached) for second in seconds]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((1, 2, 3, 4), (5, 6, 7, 8)),
        ((1, 3, 5, 7, 9), (2, 4, 6, 8, 10)),
        ((1, 2, 3, 9), (4, 5, 6, 7, 8)),
        (range(1, 11), range(6, 16)),  # ties between the two
    ],
)
def test_without_censored_runs_it_is_the_rank_sum(old, new):
    found = regressions.compare(of(*old), of(*new))
    ranks = scipy.stats.rankdata([*new, *old])
    sums = np.array([ranks[list(deal)].sum()
                     for deal in itertools.combinations(range(len(ranks)), len(new))])  # fmt: skip
    own = ranks[:len(new)].sum()
    expected = min(1.0, 2 * min((sums >= own - 1e-9).mean(), (sums <= own + 1e-9).mean()))
    assert found.p == pytest.approx(expected)
    if not set(old) & set(new):
        exact = scipy.stats.mannwhitneyu(list(new), list(old), method="exact")
        assert found.p == pytest.approx(exact.pvalue)
        assert found.share == exact.statistic / (len(old) * len(new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (of(10, 11, 12, 13), of(14, 15, 16, 17), "slower"),
        (of(14, 15, 16, 17), of(10, 11, 12, 13), "faster"),
        (of(10, 11, 12), of(14, 15, 16), "not told apart"),  # 3 and 3: p is 0.1 at the least
        (of(10, 12, 14, 16), of(11, 13, 15, 17), "not told apart"),
        (of(10), of(99), "not told apart"),
        # None of the new ones reached its target: slower, by all that is known.
        (of(10, 11, 12, 13), of(20, 20, 20, 20, reached=False), "slower"),
        # They gave up before the old ones were over: nobody knows.
        (of(10, 11, 12, 13), of(5, 5, 5, 5, reached=False), "not told apart"),
        (of(10, 11, 12, 13), of(13, 13, 13, 13, reached=False), "slower"),
    ],
)
def test_words_of_two_sets(old, new, words):
    assert regressions.compare(old, new).words == words


def test_votes_by_hand():
    new = [*of(5, 7), *of(6, reached=False)]
    old = [*of(5, 6), *of(7, reached=False)]
    assert regressions.votes(new, old).tolist() == [
        [0, -1, -1],  # a tie; 5 before 6; 5 before whatever is longer than 7
        [1, 1, -1],   # 7 before what was not over at 7
        [1, 1, 0],    # two that were not over
    ]
    assert (regressions.votes(old, new) == -regressions.votes(new, old).T).all()


def test_how_many_runs_it_would_take():
    assert regressions.fewest() == 4  # 2 of the 70 ways to deal 8 runs are 2.9 %; of 20, 10 %
    assert regressions.needed_runs(0.5) is None
    assert regressions.needed_runs(1.0) == regressions.needed_runs(0.0)
    # (1.960 + 0.842)^2 / (6 (p - 1/2)^2), Noether's formula for two sets of one size.
    assert regressions.needed_runs(0.75) == math.ceil(7.849 / (6 * 0.0625)) == 21


def test_as_many_runs_tell_as_often_as_promised():
    """Simulated: times of two sets with the new run slower in 80 % of the pairs."""
    random = np.random.default_rng(0)
    shift = math.sqrt(2) * scipy.stats.norm.ppf(0.8)
    runs = regressions.needed_runs(0.8)
    found = [
        scipy.stats.mannwhitneyu(random.normal(size=runs) + shift, random.normal(size=runs)).pvalue
        for _ in range(500)
    ]
    assert 0.7 < np.mean(np.array(found) <= regressions.LEVEL) < 0.95


def test_many_runs_are_dealt_at_random_and_always_alike():
    random = np.random.default_rng(1)
    old, new = of(*random.normal(100, 5, 60)), of(*random.normal(110, 5, 60))
    one, other = regressions.compare(old, new), regressions.compare(old, new)
    assert one == other
    assert one.words == "slower"


def write(folder, seconds, **changes):
    """A folder with a run's result for each of the seconds."""
    fake.run(fake.config_of(folder / "0"), [0.95])
    result = json.loads((folder / "0" / "result.json").read_text()) | {"load": {}} | changes
    for seed, second in enumerate(seconds):
        (folder / str(seed)).mkdir(exist_ok=True)
        own = result | {"seed": seed, "seconds_to_quality": second}
        (folder / str(seed) / "result.json").write_text(json.dumps(own))
    return str(folder)


def said(argv, capsys):
    """The last line that the command prints; it must end well."""
    capsys.readouterr()
    assert results.main(argv) == 0
    return capsys.readouterr().out.splitlines()[-1]


CELL = "image_classification pytorch quick to top1_accuracy=0.9: "


def test_the_command_names_a_regression(tmp_path, capsys):
    old = write(tmp_path / "old", [10.0, 11.0, 12.0, 13.0], commit="a" * 40)
    new = write(tmp_path / "new", [20.0, 21.0, 22.0, 23.0], commit="b" * 40)
    assert said([new, "--against", old], capsys) == (
        f"{CELL}slower: 21.5 s of 4 runs, before 11.5 s of 4 runs (x 1.87), p 0.029; what else "
        "changed: commit")
    assert said([old, f"--against={new}"], capsys).startswith(f"{CELL}faster: 11.5 s")
    one = str(tmp_path / "new" / "3" / "result.json")
    assert said([old, f"--against={one}"], capsys) == (
        f"{CELL}not told apart: 11.5 s of 4 runs, before 23.0 s of 1 run (x 0.50), p 1; so large a "
        "difference takes 6 runs on each side; what else changed: commit")


def test_the_command_counts_what_missed_its_target(tmp_path, capsys):
    old = write(tmp_path / "old", [10.0, 11.0, 12.0, 13.0])
    new = write(tmp_path / "new", [20.0, 21.0, 22.0, 23.0], status="aborted")
    assert said([new, f"--against={old}"], capsys) == (
        f"{CELL}slower: no target reached of 4 runs, before 11.5 s of 4 runs, p 0.029; missed the "
        "target: 4, before 0")


def test_the_command_compares_only_what_is_of_one_kind(tmp_path, capsys):
    old = write(tmp_path / "old", [10.0, 11.0])
    write(tmp_path / "new" / "one", [20.0], commit="c" * 40)
    write(tmp_path / "new" / "two", [21.0], commit="d" * 40)
    assert said([str(tmp_path / "new"), f"--against={old}"], capsys) == (
        f"{CELL}the new runs are of 2 kinds, which differ in commit")
    elsewhere = write(tmp_path / "elsewhere", [1.0], target={"top1_accuracy": 0.5})
    assert said([elsewhere, f"--against={old}"], capsys) == f"{CELL}no new runs"


def test_a_file_of_many_results_is_a_set_too(tmp_path, capsys):
    folder = write(tmp_path / "old", [10.0, 11.0, 12.0])
    file = tmp_path / "OLD.json"
    file.write_text(json.dumps(results.find([folder])[0]))
    assert said([folder, f"--against={file}"], capsys).endswith(
        "no number of such runs tells them apart")
    file.write_text(json.dumps([*results.find([folder])[0], {}]))
    assert results.main([folder, f"--against={file}"]) == 1
    assert "damaged (application is missing" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "words"), [
    (["--agianst=x"], "--agianst=x: expected each of --against once"),
    (["--against"], "--against: expected a value behind it"),
    (["--against=a", "--against=b"], "--against=b: expected each of --against once"),
    (["--against=nowhere"], "nowhere: no result.json here or below"),
])  # fmt: skip
def test_wrong_words_are_one_line(argv, words, tmp_path, capsys):
    folder = write(tmp_path, [1.0])
    assert results.main([folder, *argv]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_without_scipy_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    folder = write(tmp_path, [1.0])
    monkeypatch.setitem(__import__("sys").modules, "scipy.stats", None)
    assert results.main([folder]) == 0
    assert results.main([folder, f"--against={folder}"]) == 1
    assert "scipy is missing here" in capsys.readouterr().err
