"""Two processes average their gradients, by their examples, while the backward pass goes on."""

import json

import pytest

from tests.cells import APPLICATIONS, CELLS
from tests.end_to_end.runs import tiny

EACH_CELL = pytest.mark.parametrize(("application", "framework_name"), CELLS)


@pytest.fixture()
def averaged(command, once, tiny_data):
    """averaged(application, framework): what averaging.py found, [of rank 0, of rank 1]."""

    def get(application, framework):
        def make(folder):
            command("common/in_environment.sh", application, framework, "-m",
                    "tests.end_to_end.averaging", "launch", application, framework,
                    *tiny(application, tiny_data(application)), "--precision=fp64",
                    "--processes=2", f"--output_dir={folder}/run",
                    environment={"AVERAGED": str(folder)})  # fmt: skip

        folder = once(f"{application}-{framework}-averaged", make)
        return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]

    return get


@EACH_CELL
def test_shares_are_the_whole(application, framework_name, averaged):
    """Two steps, one process with the whole batch; see averaging.py of batch norm."""
    for found in averaged(application, framework_name):
        gaps = [gap for name, gap in found.items() if name.startswith("4 ")]
        assert len(gaps) >= 2
        assert all(gap < 1e-9 for gap in gaps), gaps
        assert found["of a weight without gradient"] < 1e-12


@EACH_CELL
def test_the_first_gradients_are_sent_before_the_last_are_there(
    application, framework_name, averaged
):
    for found in averaged(application, framework_name):
        if framework_name == "tensorflow":
            # All gradients, what is beside included, but each in one message alone.
            assert found["weights"] <= sum(found["needs"])
            assert 0 < min(found["needs"]) <= max(found["needs"]) < found["weights"]
            continue
        events, names = found["events"], found["strides"].keys()
        assert events.count("sent") > 2
        if (application, framework_name) != ("sentiment_analysis", "paddlepaddle"):
            names = names - set(found["zeros"])  # batch norm takes a convolution's bias out
            assert set(events) == {"sent", *names}
            # There the heads, last of all, have biases that no gradient reaches: all waits for the
            # end.  The full network is one message anyway.
            if application != "reinforcement":
                last = max(events.index(name) for name in names)
                assert events[:last].count("sent") > 1
        else:  # paddle.grad calls no hooks
            assert set(events) == {"sent"}


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("framework_name", ["pytorch", "paddlepaddle"])
def test_a_small_step_is_one_message(application, framework_name, averaged):
    """Moving statistics and the number of examples go along; parity's door sends none."""
    for found in averaged(application, framework_name):
        assert found["sent in one pack"] == 1
        assert found["sent for parity"] == 0


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("framework_name", ["pytorch"])
def test_averaged_gradients_have_their_weights_strides(application, framework_name, averaged):
    for found in averaged(application, framework_name):
        assert found["strides"]
        for name, (weight, gradient) in found["strides"].items():
            assert weight == gradient, name
    if application == "image_classification":  # channels-last
        assert found["strides"]["stem.weight"][0][1] == 1
