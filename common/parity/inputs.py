"""A folder of records: what goes in, what comes out, and the manifest that tells of both.

    config.json                        every number of the benchmark, and each step's learning rate
    manifest.json                      every tensor of inputs and outputs, in forward order
    inputs/parameters.safetensors      initial values: canonical names and layouts
    inputs/batch_0000.safetensors      one for each step
    outputs/NAME/initial.safetensors   parameter/... as loaded
    outputs/NAME/step_0000.safetensors activation/... loss gradient/... SUM/... parameter/...
                                       and in the last one prediction/..., where a network decodes

SUM: each of the application's optimizer_sums.  With several precisions each has a folder of its
own in the one that was named.
"""

import dataclasses
import json
import os

import numpy as np
import safetensors
import safetensors.numpy

from common import benchmark, options
from common.checkpoint import save_tensors
from common.errors import UserError

MAX_STEPS = 10_000

LAYOUTS = {
    "weight": "[out, in, space...]",
    "activation": "[B, C, space...]",
    "plain": "as it is",
}


def folders(root, precisions):
    """{precision: folder}."""
    if len(precisions) == 1:
        return {precisions[0]: root}
    return {precision: os.path.join(root, precision) for precision in precisions}


def write(application, folder, precision, values):
    """Writes config, parameters and batches.  values: the command's flags.  Raises UserError."""
    module = benchmark.module(application, "config")
    profile = {"quick": module.QUICK, "reference": module.REFERENCE}[values.profile]
    config = dataclasses.replace(
        profile, application=application, seed=values.seed, precision=precision
    )
    config = module.check(options.assign(config, values.set))
    config, batches = benchmark.module(application, "data").parity_batches(config, values.steps)
    os.makedirs(os.path.join(folder, "inputs"))
    parameters = benchmark.module(application, "parameters").initial_parameters(config)
    save_tensors(input_path(folder, "parameters"), parameters)
    for step, batch in enumerate(batches):
        save_tensors(input_path(folder, f"batch_{step:04d}"), batch)
    rates = [module.learning_rate(config, step) for step in range(values.steps)]
    more = {"steps": values.steps, "learning_rates": rates}
    with open(os.path.join(folder, "config.json"), "w") as opened:
        json.dump(dataclasses.asdict(config) | more, opened, indent=2)


def input_path(folder, name):
    """parameters, or batch_0000 and so on."""
    return os.path.join(folder, "inputs", f"{name}.safetensors")


def output_path(folder, name, dump):
    """An implementation's dump: initial, or step_0000 and so on."""
    return os.path.join(folder, "outputs", name, f"{dump}.safetensors")


def recorded(folder):
    """Names of the implementations that have dumped something, sorted."""
    outputs = os.path.join(folder, "outputs")
    names = sorted(os.listdir(outputs)) if os.path.isdir(outputs) else []
    return [name for name in names if not name.startswith(".")]  # what was broken off


def read_json(folder):
    """The content of config.json.  Raises UserError."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path) as opened:
            saved = json.load(opened)
        if not isinstance(saved, dict) or not isinstance(saved.get("steps"), int):
            raise ValueError("no steps")
        if not 1 <= saved["steps"] <= MAX_STEPS:
            raise ValueError(f"{saved['steps']} steps")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Make a record with --record.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}). Make the record again.") from None
    return saved


def read_config(facts, folder):
    """The config that a folder of records was made with.  Raises UserError."""
    saved = read_json(folder)
    if saved.get("application") != facts.application:
        raise UserError(f"{folder}: the record of another application.")
    fields = {n: value for n, value in saved.items() if n not in ("steps", "learning_rates")}
    return options.from_json(benchmark.module(facts.application, "config").Config, fields)


def dumps(folder):
    """The names of the dumps, in order: initial, then the steps."""
    return ["initial"] + [f"step_{step:04d}" for step in range(read_json(folder)["steps"])]


def load(path):
    """{tensor name: array} of a safetensors file.  Raises UserError."""
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None


def forward_order(facts, config):
    """{tensor name of a dump: what it is}: activations, loss, gradients, optimizer's sums,
    parameters, and after the last step what the network decodes, where it does."""
    module = benchmark.module(facts.application, "parameters")
    specification = module.specification(config)
    meanings = {
        f"activation/{name}": f"{point.meaning}, {LAYOUTS[point.role]}"
        for name, point in module.points(config).items()
    }
    meanings["loss"] = facts.loss
    groups = {"gradient": "g, of the loss, without weight decay"} | facts.optimizer_sums
    for group, meaning in groups.items():
        for name, parameter in specification.items():
            if parameter.trained:
                meanings[f"{group}/{name}"] = f"{meaning}, {LAYOUTS[parameter.role]}"
    for name, parameter in specification.items():
        meaning = facts.update if parameter.trained else "moving statistic"
        decay = ", with weight decay" if parameter.decayed else ""
        meanings[f"parameter/{name}"] = f"{meaning}{decay}, {LAYOUTS[parameter.role]}"
    return meanings | {f"prediction/{name}": text for name, text in facts.predictions.items()}


def write_manifest(facts, config, folder, reference):
    """Writes what a program must know of each tensor, as the reference's dumps have it."""
    tolerances = facts.tolerances.get(config.precision, {})
    meanings = forward_order(facts, config)
    steps = read_json(folder)["steps"]

    def described(tensors, texts, with_tolerance):
        return [
            {"name": name, "dtype": str(tensors[name].dtype), "shape": list(tensors[name].shape),
             "meaning": text}
            | ({"tolerance": tolerances.get(name.partition("/")[0])} if with_tolerance else {})
            for name, text in texts.items() if name in tensors
        ]  # fmt: skip

    parameters = load(input_path(folder, "parameters"))
    batches = [f"batch_{step:04d}" for step in range(steps)]
    manifest = {
        "application": facts.application,
        "difference": "norm of (found - expected) over norm of expected, at most the tolerance",
        "inputs": {"parameters": described(
            parameters, dict.fromkeys(parameters, "initial value"), False)}
        | {batch: described(load(input_path(folder, batch)), facts.batch, False)
           for batch in batches},
        "outputs": {dump: described(load(output_path(folder, reference, dump)), meanings, True)
                    for dump in dumps(folder)},
    }  # fmt: skip
    with open(os.path.join(folder, "manifest.json"), "w") as opened:
        json.dump(manifest, opened, indent=1)


def scalars(array):
    """float64, whatever type a dump has."""
    return np.asarray(array, np.float64)
