"""Seconds of each cell's quick profile, alone on the machine: ./tests/run.sh timing

--seeds=10 runs each cell so often, with seeds 1 to 10; --results=FOLDER keeps each run's folder,
with result.json and run.log: docs/results.sh makes the pages' tables of them.
"""

import json
import pathlib
import shutil
import statistics
import time

import pytest

from common import run_folder
from common.mllog import PREFIX
from tests.cells import CELLS, script

SECONDS = 60        # to the target, on two cores
FIRST_STEP = 20     # from the command to run_start: what is there already is not made again
REACHED = 0.9       # share of the seeds


@pytest.mark.timeout(0)  # a limit for one run is none for as many as are asked for
@pytest.mark.parametrize(("application", "framework_name"), CELLS)
def test_quick_is_quick(application, framework_name, command, request, tmp_path):
    seeds = request.config.getoption("--seeds")
    kept = request.config.getoption("--results")
    results = []
    for seed in range(1, seeds + 1):
        name = f"{application}-{framework_name}-quick-{seed}"
        folder = pathlib.Path(kept or tmp_path) / name
        started = time.time()
        done = command(script(application, framework_name), f"--seed={seed}",
                       f"--output_dir={folder}", check=False)
        assert done.returncode in (0, 2), done.stderr
        results.append(run_folder.read_result(folder))
        assert run_start(folder) - started < FIRST_STEP
        shutil.rmtree(run_folder.checkpoint_folder(folder))
    reached = [result["status"] == "success" for result in results]
    seconds = [result["seconds_to_quality"] for result in results]
    print(f"{sum(reached)} of {seeds} reached the target; seconds: median "
          f"{statistics.median(seconds):.1f}, slowest {max(seconds):.1f}")
    assert sum(reached) >= REACHED * seeds
    assert max(seconds) <= SECONDS


def run_start(folder):
    """When the clock started, in seconds since 1970."""
    with open(run_folder.log_path(folder)) as opened:
        line = next(line for line in opened if '"run_start"' in line)
    return json.loads(line.removeprefix(PREFIX))["time_ms"] / 1000
