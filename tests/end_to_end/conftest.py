"""The runs that end-to-end tests look at, each made once whoever asks first."""

import functools

import pytest

from tests.cells import cell
from tests.end_to_end import runs


@pytest.fixture(scope="session")
def tiny_data(once):
    """tiny_data(application): the --data_dir of its small run, or None."""

    def get(application):
        write = cell(application).tiny_data
        return once(f"tiny-{application}", write) if write else None

    return get


@pytest.fixture(scope="session")
def real_dir(unpacked, once):
    """real_dir(application): the --data_dir of its run on real data."""

    def get(application):
        sample = unpacked(application)
        write = functools.partial(cell(application).real_data, sample=sample)
        return once(f"sample-{application}", write)

    return get


@pytest.fixture(scope="session")
def ran(command, once, tiny_data, real_dir):
    """ran(application, framework, name): one of these runs, made once in a session, as a Ran.

    quick   the quick profile to its target
    whole   the small run, two epochs in float32, saved every four steps
    one     the small run, an epoch in float64, observed
    two     the same by two processes
    real    an epoch of the real sample
    """

    def arguments(application, framework, name):
        """The command."""
        if name == "quick":
            return runs.quick(application, framework)
        if name == "real":
            return [runs.script(application, framework), "--seed=1", *cell(application).REAL,
                    f"--data_dir={real_dir(application)}", "--max_epochs=1"]
        data = tiny_data(application)
        if name == "whole":
            return runs.resumable(application, framework, data)
        flags = runs.tiny(application, data)
        processes = 2 if name == "two" else 1
        return runs.observed(application, framework, [*flags, f"--processes={processes}"])

    def get(application, framework, name):
        words = arguments(application, framework, name)

        def make(folder):
            done = command(*words, f"--output_dir={folder}/run", check=False,
                           environment={"OBSERVED": str(folder)})
            runs.write(folder / "ended.json", done)

        return runs.read(once(f"{application}-{framework}-{name}", make) / "ended.json")

    return get


@pytest.fixture(scope="session")
def error_line(command):
    """Runs a command with a fault of the user's; returns the one line that it ends with."""

    def run(*arguments, **more):
        done = command(*arguments, check=False, **more)
        assert done.returncode == 1
        assert done.stdout == ""
        lines = [line for line in done.stderr.splitlines() if line]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return run
