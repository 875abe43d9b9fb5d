"""Dumps what one implementation computes, for each folder of records in turn:

    record.py APPLICATION NAME MODULE DEVICE (PRECISION FOLDER)...

In one process, for importing a framework takes longer than a few steps in it.
"""

import dataclasses
import importlib
import os
import shutil
import sys

from common import benchmark
from common.checkpoint import save_tensors
from common.errors import told
from common.parity import inputs


def main(application, name, module_name, device, *settings):
    """Returns the exit code: 0, or 1 for a fault of the user."""

    def run():
        facts = benchmark.benchmark_of(application)
        module = importlib.import_module(module_name)
        for precision, folder in zip(settings[::2], settings[1::2], strict=True):
            config = dataclasses.replace(
                inputs.read_config(facts, folder), device=device, precision=precision
            )
            record(facts, config, module.framework, module.Trainer, folder, name)
        return 0

    return told(run)


def record(facts, config, framework, trainer_class, folder, name):
    """Runs the optimizer steps of a folder of records; writes outputs/NAME, whole or not at all."""
    framework.start(config)
    whole = os.path.join(folder, "outputs", name)
    shutil.rmtree(whole, ignore_errors=True)
    part = f".{name}.part"
    shutil.rmtree(os.path.join(folder, "outputs", part), ignore_errors=True)
    os.makedirs(os.path.join(folder, "outputs", part))
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
    os.rename(os.path.join(folder, "outputs", part), whole)


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
