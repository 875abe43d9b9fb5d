"""Dumps what one implementation computes: parity_record.py APPLICATION NAME FOLDER.

NAME: a framework, or any module with `framework` (an adapter) and `Trainer`.
"""

import importlib
import os
import sys

import safetensors.numpy

from common.application import application_module
from common.checkpoint import save_tensors
from common.parity import dumps, read_config


def record(application, name, folder):
    """Runs the optimizer steps of a folder of records; writes outputs/NAME."""
    config = read_config(application, folder)
    module_name = name if "." in name else f"{application}.{name}.train"
    module = importlib.import_module(module_name)
    framework = module.framework
    framework.start(config)
    outputs = os.path.join(folder, "outputs", name)
    os.makedirs(outputs, exist_ok=True)
    parameters = safetensors.numpy.load_file(
        os.path.join(folder, "inputs", "parameters.safetensors")
    )
    trainer = module.Trainer(config, parameters)
    initial = flat({"parameter": trainer.state()["parameter"]})
    save_tensors(os.path.join(outputs, "initial.safetensors"), initial)
    for step, dump in enumerate(dumps(folder)[1:]):
        batch = safetensors.numpy.load_file(
            os.path.join(folder, "inputs", f"batch_{step:04d}.safetensors")
        )
        tensors = record_step(trainer, framework, application, config, batch, step)
        if dump == dumps(folder)[-1]:
            names = getattr(application_module(application, "parameters"), "PREDICTIONS", ())
            found = trainer.decode(batch) if names else ()
            tensors |= {f"prediction/{n}": array for n, array in zip(names, found)}
        save_tensors(os.path.join(outputs, f"{dump}.safetensors"), tensors)
    with open(os.path.join(outputs, "done"), "w"):
        pass
    framework.stop()


def record_step(trainer, framework, application, config, batch, step):
    """{tensor name: array} of one optimizer step, which the trainer has done when this returns.

    The forward and backward pass is run apart first, to see inside, and taken back: the parameters
    are those that the real, compiled train_step leaves.
    """
    module = application_module(application, "parameters")
    before = trainer.state()
    _, points, gradients = trainer.gradients(framework.put(batch))
    tensors = {
        f"activation/{name}": framework.to_canonical(points[name], point)
        for name, point in module.points(config).items()
    }
    specification = module.specification(config)
    tensors |= {
        f"gradient/{name}": framework.to_canonical(gradient, specification[name])
        for name, gradient in gradients.items()
    }
    trainer.load_state(before)
    tensors["loss"] = framework.get(trainer.train_step(batch, step))
    return tensors | flat(trainer.state())


def flat(state):
    """{group/name: array} of {group: {name: array}}."""
    return {f"{g}/{name}": array for g, arrays in state.items() for name, array in arrays.items()}


if __name__ == "__main__":
    record(*sys.argv[1:])
