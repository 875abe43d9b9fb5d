"""A trained network's checkpoint, for a program that uses it."""

import dataclasses
import importlib
import os

import numpy as np

from common import benchmark, checkpoint, options, run_folder
from common.errors import UserError


def newest(path):
    """The path of a checkpoint: itself, or the newest of a run folder.  Raises UserError."""
    found = [path] if os.path.isfile(path) else (
        checkpoint.paths(run_folder.checkpoint_folder(path)))
    if not found:
        raise UserError(f"{path}: no checkpoint. Name a file, or a run folder that holds one.")
    return found[-1]


def config_of(path, application):
    """The config of the run that wrote a checkpoint, for one CPU process.  Raises UserError."""
    fields = checkpoint.read_position(path)["config"]
    if fields.get("application") != application:
        raise UserError(f"{path}: a checkpoint of {fields.get('application')!r}. "
                        f"Expected one of {application}.")
    module = benchmark.module(application, "config")
    try:
        found = module.check(options.from_json(module.Config, fields))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return dataclasses.replace(found, device="cpu", precision="fp32", compile=False)


def trainer_of(config, framework_name, path):
    """A Trainer with a checkpoint's parameters.  Starts the framework.  Raises UserError."""
    parameters = checkpoint.load(path, expected_state(config))["parameter"]
    try:
        framework = importlib.import_module(f"common.frameworks.{framework_name}")
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name}: not in this Python. Start it by common/in_environment.sh "
                        f"{config.application} {framework_name}.") from None
    framework.start(config)
    train = importlib.import_module(f"{config.application}.{framework_name}.train")
    return train.Trainer(config, parameters)


def expected_state(config):
    """What a checkpoint of this config holds: arrays of the right shapes, which take no memory.

    So that a file that speaks of a network larger than its own is refused before one is made.
    """
    specification = benchmark.module(config.application, "parameters").specification(config)
    zeros = {name: np.broadcast_to(np.float32(0.0), parameter.shape)
             for name, parameter in specification.items()}
    weights = {name: zeros[name] for name, parameter in specification.items()
               if parameter.trained}
    sums = benchmark.benchmark_of(config.application).optimizer_sums
    return {"parameter": zeros} | dict.fromkeys(sums, weights)
