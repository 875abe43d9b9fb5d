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
import hashlib
import json
import os

import safetensors
import safetensors.numpy

from common import benchmark, options
from common.checkpoint import save_tensors
from common.errors import UserError
from common.files import open_regular, require_regular

MAX_STEPS = 10_000
MAX_CONFIG = 1 << 24  # bytes

LAYOUTS = {
    "weight": "[out, in, space...]",
    "activation": "[B, C, space...]",
    "plain": "as it is",
}


def write(config, steps, folder):
    """Writes config, parameters and batches of so many steps to a new folder.  Raises UserError."""
    application = config.application
    config, batches = benchmark.module(application, "data").parity_batches(config, steps)
    os.makedirs(os.path.join(folder, "inputs"))
    parameters = benchmark.module(application, "parameters").initial_parameters(config)
    save_tensors(input_path(folder, "parameters"), parameters)
    for step, batch in enumerate(batches):
        save_tensors(input_path(folder, f"batch_{step:04d}"), batch)
    learning_rate = benchmark.module(application, "config").learning_rate
    rates = [learning_rate(config, step) for step in range(steps)]
    numbers = dataclasses.asdict(config) | {"steps": steps, "learning_rates": rates}
    write_json(folder, "config", numbers | {"sha256": digest(numbers)})


def digest(numbers):
    """The sum that tells whether config.json is as it was written."""
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def write_json(folder, name, content):
    """Writes config.json or manifest.json."""
    with open(os.path.join(folder, f"{name}.json"), "w") as opened:
        json.dump(content, opened, indent=1)


def input_path(folder, name):
    """parameters, or batch_0000 and so on."""
    return os.path.join(folder, "inputs", f"{name}.safetensors")


def output_path(folder, name, dump):
    """An implementation's dump: initial, or step_0000 and so on."""
    return os.path.join(folder, "outputs", name, f"{dump}.safetensors")


def found(root):
    """The folders of records in the one that was named: itself, or one for each precision."""
    folders = [root] + [os.path.join(root, name) for name in options.CHOICES["precision"]]
    folders = [f for f in folders if os.path.exists(os.path.join(f, "config.json"))]
    if not folders:
        raise UserError(f"{root}: no config.json lies there. Make a record with --record.")
    return folders


def recorded(folder):
    """Names of the implementations that have dumped something, sorted."""
    outputs = os.path.join(folder, "outputs")
    names = os.listdir(outputs) if os.path.isdir(outputs) else []
    return sorted(name for name in names if not name.startswith("."))  # .NAME.part: unfinished


def read_json(folder):
    """The content of config.json, as it was written.  Raises UserError."""
    path = os.path.join(folder, "config.json")
    try:
        with open_regular(path) as opened:
            numbers = json.loads(opened.read(MAX_CONFIG))
        if not isinstance(numbers, dict) or numbers.pop("sha256", None) != digest(numbers):
            raise ValueError("not as it was written")
        steps = numbers.get("steps")
        if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"{steps!r} steps")
        if not isinstance(numbers.get("application"), str):
            raise ValueError("no application")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Make a record with --record.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}). Make the record again.") from None
    return numbers


def read_config(facts, folder):
    """The config that a folder of records was made with.  Raises UserError."""
    numbers = read_json(folder)
    if numbers["application"] != facts.application:
        raise UserError(f"{folder}: a record of {numbers['application']!r}, not of "
                        f"{facts.application}.")
    fields = {n: value for n, value in numbers.items() if n not in ("steps", "learning_rates")}
    config = options.from_json(benchmark.module(facts.application, "config").Config, fields)
    check_precision(facts, config.precision, f"{folder}: a record in {config.precision}")
    return config


def check_precision(facts, precision, where):
    """Raises UserError where an application has no tolerances for a precision."""
    if precision not in facts.tolerances:
        raise UserError(f"{where}: {facts.application} has tolerances for "
                        f"{', '.join(facts.tolerances)}.")


def check(facts, folder, reference, renewed):
    """Looks at every file of a folder of records, and changes none.  Raises UserError.

    reference: whose dumps must be complete.  renewed: names of those that are recorded anew.
    """
    config, names = read_config(facts, folder), dumps(folder)
    outputs = os.path.join(folder, "outputs")
    for path in (outputs, *(os.path.join(outputs, name) for name in recorded(folder))):
        if os.path.islink(path):  # what is recorded anew would be written elsewhere
            raise UserError(f"{path}: a link. Put the folder itself there.")
    path = input_path(folder, "parameters")
    shapes = {name: shape for name, (_, shape) in header(path).items()}
    specification = benchmark.module(facts.application, "parameters").specification(config)
    if shapes != {name: list(parameter.shape) for name, parameter in specification.items()}:
        raise UserError(f"{path}: of another network. Make the record again.")
    for dump in names[1:]:
        path = input_path(folder, dump.replace("step", "batch"))
        if header(path).keys() != facts.batch.keys():
            raise UserError(f"{path}: expected {', '.join(facts.batch)}. Make the record again.")
    for name in sorted(set(recorded(folder)) - set(renewed)):
        own = os.path.join(folder, "outputs", name)
        if not os.path.isdir(own):
            raise UserError(f"{own}: expected a folder of dumps. Remove it.")
        for odd in sorted(set(os.listdir(own)) - {f"{dump}.safetensors" for dump in names}):
            raise UserError(f"{os.path.join(own, odd)}: no dump of this record. Remove it.")
        for dump, tensors in wanted(facts, config, names).items():
            header(output_path(folder, name, dump), tensors if name == reference else ())


def dumps(folder):
    """The names of the dumps, in order: initial, then the steps."""
    return ["initial"] + [f"step_{step:04d}" for step in range(read_json(folder)["steps"])]


def header(path, needed=()):
    """{tensor name: (dtype, shape)} of a safetensors file, in its words.

    Raises UserError where it cannot be read, numpy has no such type, or one of the needed lacks.
    """
    try:
        require_regular(path)
        with safetensors.safe_open(path, "numpy") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            found = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    for name, (dtype, _) in found.items():
        if dtype.rstrip("1234567890") not in ("F", "I", "U", "BOOL"):
            raise UserError(f"{path}: {name} is {dtype}. Write F32 or F64: numpy has no {dtype}.")
    for name in needed:
        if name not in found:
            raise UserError(f"{path}: lacks {name}, so nothing can be held against it.")
    return found


def load(path):
    """{tensor name: array} of a safetensors file.  Raises UserError."""
    header(path)
    return safetensors.numpy.load_file(path)


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


def wanted(facts, config, names):
    """{dump: {tensor name: what it is}}, in order: what an implementation writes.

    names: of the dumps.  Before the first step there are the parameters alone, and only after the
    last one does a network decode.
    """
    meanings = forward_order(facts, config)
    loaded = {name: "initial value" for name in meanings if group(name) == "parameter"}
    trained = {name: text for name, text in meanings.items() if group(name) != "prediction"}
    return {names[0]: loaded} | dict.fromkeys(names[1:-1], trained) | {names[-1]: meanings}


def group(name):
    """activation, loss, gradient, ..."""
    return name.partition("/")[0]


def write_manifest(facts, folder, reference):
    """Writes what a program must know of each tensor, as the reference's dumps have it."""
    config, names = read_config(facts, folder), dumps(folder)
    tolerances = facts.tolerances[config.precision]

    def described(path, texts, more=lambda name: {}):
        tensors = header(path, texts)
        return [
            {"name": name, "dtype": tensors[name][0], "shape": tensors[name][1], "meaning": text}
            | more(name)
            for name, text in texts.items()
        ]

    path = input_path(folder, "parameters")
    specification = benchmark.module(facts.application, "parameters").specification(config)
    parameters = {n: f"initial value, {LAYOUTS[p.role]}" for n, p in specification.items()}
    ingoing = {"parameters": described(path, parameters)}
    for dump in names[1:]:
        batch = dump.replace("step", "batch")
        ingoing[batch] = described(input_path(folder, batch), facts.batch)
    outgoing = {
        dump: described(output_path(folder, reference, dump), texts,
                        lambda name: {"tolerance": tolerances[group(name)]})
        for dump, texts in wanted(facts, config, names).items()
    }  # fmt: skip
    write_json(folder, "manifest", {
        "application": facts.application,
        "precision": config.precision,
        "difference": "norm of (found - expected) over norm of expected, at most the tolerance",
        "inputs": ingoing,
        "outputs": outgoing,
    })  # fmt: skip
