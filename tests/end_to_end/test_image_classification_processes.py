"""Two processes on loopback, through each framework's own launcher, do what one process does."""

import numpy as np
import pytest

from tests.conftest import FRAMEWORKS, ROOT

STEPS = 2
FLAGS = ["--seed=1", "--max_epochs=1", "--target=1.1", "--precision=fp64",
         "--set", "batch_size=2000", "--set", "eval_batch_size=1000",
         "--set", "image_size=32", "--set", "resize_size=32", "--set", "warmup_epochs=0.1"]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def observed(request, command, python_of, tmp_path_factory):
    """(records of one process, [records of rank 0, of rank 1], the run folder of the two).

    Records: a dictionary a step; see observed.py.
    """
    folders = {}
    for processes in (1, 2):
        folder = folders[processes] = tmp_path_factory.mktemp(f"{request.param}{processes}")
        environment = {"OBSERVED": str(folder), "PYTHONPATH": str(ROOT)}
        if processes == 1:
            environment["HALVES"] = "1"
        done = command(
            python_of(request.param), "-m", "tests.end_to_end.observed", "launch",
            "image_classification", request.param, *FLAGS, f"--processes={processes}",
            f"--output_dir={folder}/run", environment=environment, check=False,
        )  # fmt: skip
        assert (folder / "run" / "result.json").exists(), done.stderr

    def records(processes, rank):
        return [np.load(folders[processes] / f"rank{rank}_step{s}.npz") for s in range(STEPS)]

    return records(1, 0), [records(2, rank) for rank in range(2)], folders[2] / "run"


def test_together_they_see_the_batches_of_one(observed):
    one, two, _ = observed
    for step in range(STEPS):
        names = [name for name in one[step] if name.startswith("batch/")]
        assert names
        for name in names:
            together = np.concatenate([two[rank][step][name] for rank in range(2)])
            assert np.array_equal(one[step][name], together), name


def test_the_averaged_gradient_is_that_of_the_two_halves(observed):
    """The velocity after a step is momentum x the one before + averaged gradient + decay."""
    one, two, _ = observed
    first = one[0], two[0][0]  # later steps start from parameters that differ by batch norm's parts
    alone, together = first
    names = [n.removeprefix("half0/") for n in alone if n.startswith("half0/")]
    trained = [n for n in names if f"after/velocity/{n}" in together]
    assert len(trained) > 40
    for name in trained:
        decay = 0.0 if "norm" in name else 1e-4
        expected = (alone[f"half0/{name}"] + alone[f"half1/{name}"]) / 2
        expected = expected + decay * alone[f"before/parameter/{name}"]
        found = together[f"after/velocity/{name}"]
        assert np.linalg.norm(found - expected) <= 1e-9 * np.linalg.norm(expected), name


def test_moving_statistics_are_averaged(observed):
    one, two, _ = observed
    alone, together = one[0], two[0][0]
    names = [n.removeprefix("half0/") for n in alone if "running" in n and n.startswith("half0/")]
    assert names
    for name in names:
        expected = (alone[f"half0/{name}"] + alone[f"half1/{name}"]) / 2
        np.testing.assert_allclose(
            together[f"after/parameter/{name}"], expected, rtol=1e-6, atol=1e-12, err_msg=name
        )


def test_both_ranks_hold_the_same_bits(observed):
    _, two, _ = observed
    for step in range(STEPS):
        changed = 0
        for name in two[0][step]:
            if name.startswith("after/"):
                ranks = [two[rank][step][name].tobytes() for rank in range(2)]
                assert ranks[0] == ranks[1], name
                before = two[0][step][name.replace("after/", "before/")]
                changed += ranks[0] != before.tobytes()
        assert changed > 40


def test_rank_0_alone_logs_and_saves(observed):
    _, _, folder = observed
    assert (folder / "run.log").read_text().count('"run_start"') == 1
    assert sorted(path.name for path in folder.iterdir() if path.name != "processes") == [
        "checkpoint", "result.json", "run.log",
    ]  # fmt: skip
    saved = sorted(path.name for path in (folder / "checkpoint").iterdir())
    assert saved == ["step_0000000000.safetensors", "step_0000000002.safetensors"]
