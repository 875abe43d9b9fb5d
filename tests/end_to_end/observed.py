"""A run that writes down what its trainer sees: python -m ... [launch] APPLICATION FRAMEWORK ...

The folder is OBSERVED in the environment: rankR_stepSSSS.npz gets this process's batch, and the
state after the step.
"""

import importlib
import os
import sys

import numpy as np

from common import command, launch, main, processes
from common.errors import told


def run(config):
    """A run like any other, its trainer observed.  Returns the exit code."""
    # First, as in common/main.py: it keeps the framework from greeting.
    framework = importlib.import_module(f"common.frameworks.{config.framework}")
    module = importlib.import_module(f"{config.application}.{config.framework}.train")
    folder = os.environ["OBSERVED"]

    class Observed(module.Trainer):
        def train_step(self, batch, step):
            loss = super().train_step(batch, step)
            found = {f"batch/{name}": array for name, array in batch.items()}
            for group, arrays in self.state().items():
                found |= {f"{group}/{name}": array for name, array in arrays.items()}
            path = os.path.join(folder, f"rank{framework.rank()}_step{step:04d}.npz")
            np.savez(path, **found)
            return loss

    module.Trainer = Observed
    return main.run(config)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "launch":
        sys.exit(told(lambda: launch.launch(arguments[1:], program="tests.end_to_end.observed")))
    processes.end_with_parent()
    sys.exit(told(lambda: run(command.parse(arguments).config), may_speak=processes.may_speak))
