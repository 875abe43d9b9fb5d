"""Dumps what one implementation computes, for each folder of records in turn:

    python -m common.parity.record APPLICATION NAME MODULE DEVICE FOLDER...

In one process, for importing a framework takes longer than a few steps in it.
"""

import dataclasses
import importlib
import os
import shutil
import sys

from common import benchmark
from common.checkpoint import save_tensors
from common.errors import UserError, told
from common.parity import inputs


def main(application, name, module_name, device, *folders):
    """Returns the exit code: 0, or 1 for a fault of the user."""

    def run():
        facts = benchmark.benchmark_of(application)
        module = imported(module_name)
        for folder in folders:
            config = dataclasses.replace(inputs.read_config(facts, folder), device=device)
            record(facts, config, module.framework, module.Trainer, folder, name)
        return 0

    return told(run)


def imported(name):
    """The module of that name.  Raises UserError where there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # what the module itself imports
        raise UserError(f"{name}: no such module. Name its folder in PYTHONPATH.") from None


def record(facts, config, framework, trainer_class, folder, name):
    """Runs the optimizer steps of a folder of records; writes outputs/NAME, whole or not at all."""
    framework.start(config)
    whole = os.path.join(folder, "outputs", name)
    part = f".{name}.part"
    unfinished = os.path.join(folder, "outputs", part)
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)
    trainer = trainer_class(config, inputs.load(inputs.input_path(folder, "parameters")))
    initial = flat({"parameter": trainer.state()["parameter"]})
    save_tensors(inputs.output_path(folder, part, "initial"), initial)
    names = inputs.dumps(folder)[1:]
    for step, dump in enumerate(names):
        batch = inputs.load(inputs.input_path(folder, f"batch_{step:04d}"))
        tensors = record_step(trainer, framework, facts, config, batch, step)
        if dump == names[-1] and facts.predictions:
            found = zip(facts.predictions, trainer.decode(batch), strict=True)
            tensors |= {f"prediction/{name}": array for name, array in found}
        save_tensors(inputs.output_path(folder, part, dump), tensors)
    framework.stop()
    shutil.rmtree(whole, ignore_errors=True)
    os.rename(unfinished, whole)


def record_step(trainer, framework, facts, config, batch, step):
    """{tensor name: array} of one optimizer step, which the trainer has done when this returns.

    The forward and backward pass is run apart first, to see inside, and taken back: the parameters
    are those that the real, compiled train_step leaves.
    """
    module = benchmark.module(facts.application, "parameters")
    before = trainer.state()
    _, points, gradients = trainer.gradients(framework.put(batch))
    tensors = {
        f"activation/{name}": framework.to_canonical(points[name], point.role)
        for name, point in module.points(config).items()
    }
    specification = module.specification(config)
    tensors |= {
        f"gradient/{name}": framework.to_canonical(gradient, specification[name].role)
        for name, gradient in gradients.items()
    }
    trainer.load_state(before)
    tensors["loss"] = framework.get(trainer.train_step(batch, step))
    return tensors | flat(trainer.state())


def flat(state):
    """{group/name: array} of {group: {name: array}}."""
    return {f"{g}/{name}": array for g, arrays in state.items() for name, array in arrays.items()}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
