"""A trained network's checkpoint, for a program that uses it."""

import dataclasses
import importlib
import os

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


def trainer_of(config, framework_name, path, initial_parameters):
    """A Trainer with a checkpoint's state.  initial_parameters: {name: array}, of its shapes.

    Starts the framework.  Raises UserError.
    """
    framework = importlib.import_module(f"common.frameworks.{framework_name}")
    framework.start(config)
    train = importlib.import_module(f"{config.application}.{framework_name}.train")
    trainer = train.Trainer(config, initial_parameters)
    trainer.load_state(checkpoint.load(path, trainer.state()))
    return trainer
