"""Small samples of real data in the published datasets' own layouts, through the same readers."""

import shutil

import pytest

from common import benchmark, options, run_folder
from common.command import FRAMEWORKS
from tests.cells import APPLICATIONS, CELLS, cell, script
from tests.end_to_end.runs import in_order


@pytest.mark.parametrize(("application", "framework_name"), CELLS)
def test_an_epoch_of_real_data(application, framework_name, ran):
    real = ran(application, framework_name, "real")
    assert real.code == 2, real.stderr  # no run is perfect: the epochs end it
    assert real.stderr == ""
    assert in_order(real.folder)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_frameworks_learn_it_alike(application, ran):
    values = {name: ran(application, name, "real").curve()[0] for name in FRAMEWORKS}
    print(values)
    gaps = [max(metric) - min(metric) for metric in zip(*values.values())]
    assert max(gaps) < cell(application).REAL_GAP, values


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("framework_name", ["pytorch"])
def test_more_epochs_pass_the_baseline(
    application, framework_name, ran, real_dir, command, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(ran(application, framework_name, "real").folder, folder)
    command(script(application, framework_name), "--seed=1", *cell(application).REAL,
            f"--data_dir={real_dir(application)}", f"--output_dir={folder}", "--resume",
            f"--max_epochs={cell(application).REAL_EPOCHS}", check=False)
    found = run_folder.read_result(folder)["quality"]
    baseline = cell(application).real_baseline(str(real_dir(application)))
    print(f"{application}: {found}, baseline {baseline}")
    fields = [flag.removeprefix("--set=") for flag in cell(application).REAL if "--set=" in flag]
    config = options.assign(benchmark.module(application, "config").QUICK, fields)
    quality = benchmark.benchmark_of(application).quality(config)
    assert quality.met(found, quality.targets(baseline))
