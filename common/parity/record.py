"""Dumps what one implementation computes, for each folder of records in turn:

    python -m common.parity.record PARENT APPLICATION NAME MODULE DEVICE leads|follows FOLDER...

PARENT: the id of the command that starts it, with which it ends.  In one process, for importing a
framework takes longer than a few steps in it.  The one that leads writes what each step starts
from; a follower begins when a line on its standard input says that it is there.
"""

import dataclasses
import importlib
import os
import shutil
import sys

import numpy as np

from common import benchmark, processes
from common.checkpoint import save_tensors
from common.errors import UserError, told
from common.parity import inputs


def main(application, name, module_name, device, role, *folders):
    """Returns the exit code: 0, or 1 for a fault of the user."""

    def run():
        facts = benchmark.benchmark_of(application)
        module = imported(module_name)
        if role == "follows" and not sys.stdin.readline():
            return 1  # the command was ended
        for folder in folders:
            config = dataclasses.replace(inputs.read_config(facts, folder), device=device)
            if role == "leads":
                lead(facts, config, module.framework, module.Trainer, folder, name)
            else:
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


def lead(facts, config, framework, trainer_class, folder, name):
    """Records the reference, with what each step starts from; in bf16 in fp64 as well."""
    own = os.path.join(folder, "outputs", name)
    if config.precision != "bf16":
        dump(facts, config, framework, trainer_class, folder, own, free=True)
        return
    exact = dataclasses.replace(config, precision="fp64")
    dump(facts, exact, framework, trainer_class, folder, os.path.join(folder, "exact"), free=True)
    dump(facts, config, framework, trainer_class, folder, own)


def record(facts, config, framework, trainer_class, folder, name):
    """Records an implementation as outputs/NAME."""
    whole = os.path.join(folder, "outputs", name)
    dump(facts, config, framework, trainer_class, folder, whole)


def dump(facts, config, framework, trainer_class, folder, whole, free=False):
    """Runs the steps and evaluations of a folder of records; writes a folder of dumps, whole or not
    at all.

    free: each step goes on from the one before, and its state is written as the next one's.
    Otherwise the state is the one given, and after the first the steps are done last first: what an
    implementation does not take up from what it is given differs.
    """
    framework.start(config)
    unfinished = os.path.join(os.path.dirname(whole), f".{os.path.basename(whole)}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)

    def save(name, tensors):
        save_tensors(os.path.join(unfinished, f"{name}.safetensors"), tensors)

    trainer = trainer_class(config, inputs.load(inputs.input_path(folder, "parameters")))
    save("initial", inputs.flat(config, {"parameter": trainer.state()["parameter"]}))
    names = inputs.dumps(folder)[1:]
    forced = inputs.forced(facts, inputs.read_config(facts, folder), names)

    def given(name, batch):
        """The batch, with what the reference has decided in it."""
        if free or name not in forced:
            return batch
        return batch | inputs.load(inputs.input_path(folder, f"decisions_{name}"))

    def keep(name, tensors):
        """Saves a dump, and what it decided if it is the reference's."""
        save(name, tensors)
        if free and name in forced:
            own = {n.partition("/")[2]: array for n, array in tensors.items() if inputs.decides(n)}
            save_tensors(inputs.input_path(folder, f"decisions_{name}"), own)

    steps = [name for name in names if name.startswith("step")]
    evaluations = names[len(steps):]
    for step in range(len(steps)) if free else [0, *range(len(steps) - 1, 0, -1)]:
        if step and free:
            state = inputs.flat(config, trainer.state())
            save_tensors(inputs.input_path(folder, f"state_{step:04d}"), state)
        elif step:
            state = inputs.load(inputs.input_path(folder, f"state_{step:04d}"))
            trainer.load_state(inputs.nested(state))
        if evaluations and step in (0, len(steps) - 1):
            # One that changes something shows in the step; at the last one there are sums as well.
            own = inputs.nested(inputs.load(inputs.input_path(folder, evaluations[0])))
            trainer.evaluate(own["batch"])
        batch = given(steps[step], inputs.load(inputs.input_path(folder, f"batch_{step:04d}")))
        keep(steps[step], record_step(trainer, framework, facts, config, batch, step))
    for name in evaluations:
        own = inputs.nested(inputs.load(inputs.input_path(folder, name)))
        trainer.load_state(trainer.state() | {"parameter": own["parameter"]})
        batch = given(name, own["batch"])
        found = dict(zip(facts.evaluation, trainer.evaluate(batch), strict=True))
        predicted = trainer.predict(batch)  # by which training ends
        if not isinstance(predicted, dict):
            predicted = {next(iter(found)): predicted}
        keep(name, {f"evaluation/{n}": array for n, array in (found | predicted).items()})
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
    loss, points, gradients = trainer.gradients(framework.put(batch))
    tensors = {
        f"activation/{name}": framework.to_canonical(points[name], point.role)
        for name, point in module.points(config).items()
    }
    for name in filter(inputs.decides, tensors):
        tensors[name] = tensors[name].astype(np.int64)
    specification = module.specification(config)
    tensors |= {
        f"gradient/{name}": framework.to_canonical(gradient, specification[name].role)
        for name, gradient in gradients.items()
    }
    trainer.load_state(before)
    if inputs.given_masks(config):
        return tensors | {"loss": framework.get(loss)}
    tensors["loss"] = framework.get(trainer.train_step(batch, step))
    return tensors | inputs.flat(config, trainer.state())


if __name__ == "__main__":
    processes.end_with_parent(int(sys.argv[1]))
    sys.exit(main(*sys.argv[2:]))
