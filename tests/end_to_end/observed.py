"""A process that writes down what its trainer sees: python -m ... APPLICATION FRAMEWORK [flags]

The folder is OBSERVED in the environment: rankR_stepS.npz gets this process's batch, and the state
before and after the step.  With HALVES set, a single process also writes the gradient of each half.
"""

import importlib
import os
import sys

import numpy as np

from common import launch, main


def observe(application, framework_name):
    """Puts the observing trainer into the variant's train.py."""
    module = importlib.import_module(f"{application}.{framework_name}.train")
    framework = importlib.import_module(f"common.frameworks.{framework_name}")
    folder = os.environ["OBSERVED"]

    class Observed(module.Trainer):
        def train_step(self, batch, step):
            found = {f"batch/{name}": array for name, array in batch.items()}
            found |= flat("before", self.state())
            if os.environ.get("HALVES"):
                found |= self.gradients_of_halves(batch)
            loss = super().train_step(batch, step)
            found |= flat("after", self.state())
            np.savez(os.path.join(folder, f"rank{framework.rank()}_step{step}.npz"), **found)
            return loss

        def gradients_of_halves(self, batch):
            before = self.state()
            found = {}
            for half in range(2):
                part = {name: np.array_split(array, 2)[half] for name, array in batch.items()}
                _, _, gradients = self.gradients(framework.put(part))
                for name, gradient in gradients.items():
                    array = framework.to_canonical(gradient, self.specification[name])
                    found[f"half{half}/{name}"] = array
                after = self.state()
                statistics = set(self.specification) - set(gradients)
                found |= {f"half{half}/{n}": after["parameter"][n] for n in statistics}
                self.load_state(before)
            return found

    module.Trainer = Observed


def flat(prefix, state):
    return {f"{prefix}/{g}/{n}": a for g, arrays in state.items() for n, a in arrays.items()}


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        launch.PROGRAM = "tests.end_to_end.observed"
        sys.exit(launch.main(sys.argv[2:]))
    observe(*sys.argv[1:3])
    sys.exit(main.main(sys.argv[1:]))
