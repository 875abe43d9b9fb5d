"""A folder of records: what goes in, what comes out, and the manifest that tells of both.

    config.json                             every number of the benchmark, each step's learning rate
    manifest.json                           every tensor of inputs and outputs, in forward order
    inputs/parameters.safetensors           initial values: canonical names and layouts
    inputs/batch_0000.safetensors           one for each step
    inputs/state_0001.safetensors           what each step but the first starts from, as the
                                            reference had it: parameter/... statistic/... SUM/...
    inputs/evaluation_0000.safetensors      parameter/... statistic/... batch/...
    inputs/decisions_step_0000.safetensors  decision... : what the reference decided in a step or an
                                            evaluation, but in fp64; see forced
    outputs/NAME/initial.safetensors        parameter/... statistic/... as loaded
    outputs/NAME/step_0000.safetensors      activation/... loss gradient/... SUM/... parameter/...
                                            statistic/...
    outputs/NAME/evaluation_0000.safetensors  evaluation/...
    exact/                                  of a record in bf16: the reference in fp64, as outputs/

SUM: each of the application's optimizer_sums.  With several precisions each has a folder of its
own in the one that was named.
"""

import dataclasses
import hashlib
import json
import os
import re

import numpy as np
import safetensors
import safetensors.numpy

from common import benchmark, options
from common.checkpoint import save_tensors
from common.errors import UserError
from common.files import open_regular, require_regular

MAX_STEPS = 10_000
ANYTHING = 1e300  # more than any difference but that of a missing tensor, or of another shape
MAX_CONFIG = 1 << 24  # bytes

# How the meaning of a batch's tensor begins: its type, and its shape if that has names.
TYPED = re.compile(r"(\w*)(?: \[([^]]*)\])?")
FLOATS = ("BF16", "F16", "F32", "F64")
WORDS = {"bool": "BOOL", "uint8": "U8", "int32": "I32", "int64": "I64", "float32": "F32"}

LAYOUTS = {
    "weight": "[out, in, space...]",
    "activation": "[B, C, space...]",
    "plain": "as it is",
}


def write(config, steps, folder):
    """Writes config, parameters and batches of so many steps to a new folder.  Raises UserError."""
    application = config.application
    parity = benchmark.module(application, "parity")
    config, batches = parity.training(config, steps)
    os.makedirs(os.path.join(folder, "inputs"))
    parameters = parity.initial_parameters(config)
    save_tensors(input_path(folder, "parameters"), parameters)
    for step, batch in enumerate(batches):
        save_tensors(input_path(folder, f"batch_{step:04d}"), batch)
    evaluations = parity.evaluations(config)
    for number, (parameters, batch) in enumerate(evaluations):
        tensors = flat(config, {"parameter": parameters})
        tensors |= {f"batch/{name}": array for name, array in batch.items()}
        save_tensors(input_path(folder, f"evaluation_{number:04d}"), tensors)
    learning_rate = benchmark.module(application, "config").learning_rate
    rates = [learning_rate(config, step) for step in range(steps)]
    numbers = dataclasses.asdict(config) | {
        "steps": steps, "learning_rates": rates, "evaluations": len(evaluations)
    }  # fmt: skip
    write_json(folder, "config", numbers | {"sha256": digest(numbers)})


def digest(numbers):
    """The sum that tells whether config.json is as it was written."""
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def write_json(folder, name, content):
    """Writes config.json or manifest.json."""
    with open(os.path.join(folder, f"{name}.json"), "w") as opened:
        json.dump(content, opened, indent=1)


def flat(config, state):
    """{group/name: array} of what a trainer's `state` gives, moving statistics a group apart."""
    specification = benchmark.module(config.application, "parameters").specification(config)
    return {
        f"{group if specification[name].trained else 'statistic'}/{name}": array
        for group, arrays in state.items()
        for name, array in arrays.items()
    }


def nested(tensors):
    """{group: {name: array}}, as `load_state` takes it, of what `flat` gives."""
    state = {}
    for name, array in tensors.items():
        group, _, name = name.partition("/")
        state.setdefault("parameter" if group == "statistic" else group, {})[name] = array
    return state


def input_path(folder, name):
    """parameters, or batch_0000, state_0001, evaluation_0000 and so on."""
    return os.path.join(folder, "inputs", f"{name}.safetensors")


def output_path(folder, name, dump):
    """An implementation's dump: initial, or step_0000, evaluation_0000 and so on."""
    return os.path.join(folder, "outputs", name, f"{dump}.safetensors")


def expected_path(config, folder, reference, dump):
    """The dump that all others are held against: the reference's, in bf16 the one in fp64."""
    if config.precision == "bf16":
        return os.path.join(folder, "exact", f"{dump}.safetensors")
    return output_path(folder, reference, dump)


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
        evaluations = numbers.get("evaluations")
        if type(evaluations) is not int or not 0 <= evaluations <= MAX_STEPS:
            raise ValueError(f"{evaluations!r} evaluations")
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
    own = ("steps", "learning_rates", "evaluations")
    fields = {name: value for name, value in numbers.items() if name not in own}
    config = options.from_json(benchmark.module(facts.application, "config").Config, fields)
    check_precision(facts, config.precision, f"{folder}: a record in {config.precision}")
    return config


def check_precision(facts, precision, where):
    """Raises UserError where an application has no tolerances for a precision."""
    known = (*facts.tolerances, "bf16")  # whose tolerances are the reference's own distances
    if precision not in known:
        raise UserError(f"{where}: {facts.application} has tolerances for {', '.join(known)}.")


def check(facts, folder, reference, renewed):
    """Looks at every file of a folder of records, and changes none.  Raises UserError.

    reference: whose dumps must be complete.  renewed: names of those that are recorded anew.
    """
    config, names = read_config(facts, folder), dumps(folder)
    outputs = os.path.join(folder, "outputs")
    for path in (outputs, *(os.path.join(outputs, name) for name in recorded(folder))):
        if os.path.islink(path):  # what is recorded anew would be written elsewhere
            raise UserError(f"{path}: a link. Put the folder itself there.")
    specification = benchmark.module(facts.application, "parameters").specification(config)
    path = input_path(folder, "parameters")
    if header(path).keys() != specification.keys():
        raise UserError(f"{path}: of another network. Make the record again.")
    check_shapes(facts, config, path, dict.fromkeys(specification, ""))
    for path, expected in ingoing(facts, config, folder).items():
        if header(path).keys() != expected.keys():
            found = ", ".join(list(expected)[:8])
            raise UserError(f"{path}: expected {found}, ... Make the record again.")
        check_shapes(facts, config, path, expected)
    asked = wanted(facts, config, names)
    for dump, tensors in asked.items():
        for path in references(config, folder, reference, dump, renewed):
            header(path, tensors)
            check_shapes(facts, config, path, dict.fromkeys(tensors, ""))
    for name in sorted(set(recorded(folder)) - set(renewed)):
        own = os.path.join(folder, "outputs", name)
        if not os.path.isdir(own):
            raise UserError(f"{own}: expected a folder of dumps. Remove it.")
        for odd in sorted(set(os.listdir(own)) - {f"{dump}.safetensors" for dump in names}):
            raise UserError(f"{os.path.join(own, odd)}: no dump of this record. Remove it.")
        for dump in asked if name != reference else ():
            path = output_path(folder, name, dump)
            header(path)
            for other in references(config, folder, reference, dump, renewed):
                if os.path.samefile(path, other):
                    raise UserError(f"{path}: the reference's own file. Write what the port "
                                    "computes, no link.")


def references(config, folder, reference, dump, renewed):
    """The files of a dump that lie there and that others are held against."""
    own = [output_path(folder, reference, dump)] if reference not in renewed else []
    exact = [expected_path(config, folder, reference, dump)] if config.precision == "bf16" else []
    return own + exact


def check_shapes(facts, config, path, meanings):
    """Raises UserError where a tensor of a file is not the network's, or no loss, or not what its
    meaning begins with: its type and, by name or number, its axes.  meanings: {tensor name: text}.
    """
    specification = benchmark.module(facts.application, "parameters").specification(config)
    sizes = dict(vars(config))  # of an axis; B and its like are the same in all of a file

    def fits(name, meaning, dtype, shape):
        own = specification.get(name.partition("/")[2] or name)
        if own or name == "loss":
            return dtype in FLOATS and shape == (list(own.shape) if own else [])
        word, axes = TYPED.match(meaning).groups()
        axes = axes.split(", ") if axes else shape
        return dtype == WORDS.get(word, dtype) and len(axes) == len(shape) and all(
            size == (int(axis) if str(axis).isdigit() else sizes.setdefault(axis, size))
            for axis, size in zip(axes, shape)
        )

    for name, (dtype, shape) in header(path).items():
        if name in meanings and not fits(name, meanings[name], dtype, shape):
            raise UserError(f"{path}: {name} is {dtype} of shape {shape}, not of this network. "
                            "Make the record again.")


def ingoing(facts, config, folder):
    """{path of an input but the initial parameters: {tensor name: what it is}}, in order."""
    meanings = forward_order(facts, config)
    state = {name: f"before the step: {text}" for name, text in meanings.items()
             if group(name) in ("parameter", "statistic", *facts.optimizer_sums)}
    evaluated = {name: text.removeprefix("before the step: ") for name, text in state.items()
                 if group(name) in ("parameter", "statistic")}
    evaluated |= {f"batch/{name}": text for name, text in facts.evaluation_batch.items()}
    found = {}
    for dump in dumps(folder)[1:]:
        kind, _, number = dump.partition("_")
        if kind == "evaluation":
            found[dump] = evaluated
            continue
        if int(number):
            found[f"state_{number}"] = state
        found[f"batch_{number}"] = facts.batch | given_masks(config)
    for dump, texts in forced(facts, config, dumps(folder)).items():
        found[f"decisions_{dump}"] = texts
    return {input_path(folder, name): tensors for name, tensors in found.items()}


def forced(facts, config, names):
    """{dump: {tensor: what it is}}: what a step or an evaluation decides, as which anchors it
    samples.  The reference's decisions are given to the others, so that one near tie does not hide
    all that follows.  In fp64 each decides for itself.

    names: of the dumps.
    """
    found = {}
    for dump, texts in wanted(facts, config, names).items() if config.precision != "fp64" else ():
        own = {n.partition("/")[2]: text for n, text in texts.items() if decides(n)}
        if own:
            found[dump] = own
    return found


def decides(name):
    """Whether a tensor of a dump holds decisions: activation/decision.ANYTHING, or evaluation/."""
    return name.partition("/")[2].startswith("decision.")


def given_masks(config):
    """{tensor of a batch: what it is}: the masks of a config with dropout."""
    if not getattr(config, "dropout", 0.0):
        return {}
    return benchmark.module(config.application, "parity").masks(config)


def dumps(folder):
    """The names of the dumps, in order: initial, the steps, the evaluations."""
    numbers = read_json(folder)
    return ["initial", *(f"step_{number:04d}" for number in range(numbers["steps"])),
            *(f"evaluation_{number:04d}" for number in range(numbers["evaluations"]))]


def header(path, needed=()):
    """{tensor name: (dtype, shape)} of a safetensors file, in its words.

    Raises UserError where it cannot be read, holds odd types, or one of the needed lacks.
    """
    try:
        require_regular(path)
        with safetensors.safe_open(path, "numpy") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            found = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    for name, (dtype, shape) in found.items():
        if dtype.rstrip("1234567890") not in ("F", "BF", "I", "U", "BOOL"):
            raise UserError(f"{path}: {name} is {dtype}. Write BF16, F32 or F64.")
        try:
            np.broadcast_to(np.float64(), shape)  # takes no memory
        except ValueError as error:
            raise UserError(f"{path}: {name} cannot be read ({error}).") from None
    for name in needed:
        if name not in found:
            raise UserError(f"{path}: lacks {name}, so nothing can be held against it.")
    return found


def load(path):
    """{tensor name: array} of a safetensors file; BF16 as float32.  Raises UserError."""
    dtypes = {name: dtype for name, (dtype, _) in header(path).items()}
    if "BF16" not in dtypes.values():
        return safetensors.numpy.load_file(path)
    with open_regular(path) as opened:
        parts = dict(safetensors.deserialize(opened.read()))
    with safetensors.safe_open(path, "numpy") as opened:
        return {name: widened(parts[name]) if dtype == "BF16" else opened.get_tensor(name)
                for name, dtype in dtypes.items()}


def widened(part):
    """The float32 array of a BF16 tensor, which numpy has not: each is a float32's upper half."""
    halves = np.frombuffer(part["data"], np.uint16).astype(np.uint32)
    return (halves << 16).view(np.float32).reshape(part["shape"])


def forward_order(facts, config):
    """{tensor name of a dump: what it is}: activations, loss, gradients, optimizer's sums,
    parameters and moving statistics after a step; then what the evaluation gives."""
    module = benchmark.module(facts.application, "parameters")
    specification = module.specification(config)
    meanings = {}
    for name, point in module.points(config).items():
        where = f", where {point.places} are not 0" * bool(point.places)
        layout = "" if decides(f"activation/{name}") else f", {LAYOUTS[point.role]}"
        meanings[f"activation/{name}"] = f"{point.meaning}{layout}{where}"
    meanings["loss"] = facts.loss
    groups = {"gradient": "g, of the loss, without weight decay"} | facts.optimizer_sums
    for group, meaning in groups.items():
        for name, parameter in specification.items():
            if parameter.trained:
                meanings[f"{group}/{name}"] = f"{meaning}, {LAYOUTS[parameter.role]}"
    for name, parameter in specification.items():
        if parameter.trained:
            decay = ", with weight decay" if parameter.decayed else ""
            meanings[f"parameter/{name}"] = f"{facts.update}{decay}, {LAYOUTS[parameter.role]}"
    for name, parameter in specification.items():
        if not parameter.trained:
            meanings[f"statistic/{name}"] = f"{facts.statistic}, {LAYOUTS[parameter.role]}"
    return meanings | {f"evaluation/{name}": text for name, text in facts.evaluation.items()}


def wanted(facts, config, names):
    """{dump: {tensor name: what it is}}, in order: what an implementation writes.

    names: of the dumps.  With dropout by given masks a step is the forward and backward pass alone:
    in training each framework draws its own.
    """
    meanings = forward_order(facts, config)
    passes = {"activation", "loss", "gradient"}
    groups = {group(name) for name in meanings}
    kinds = {
        "initial": {"parameter", "statistic"},
        "step": passes if given_masks(config) else groups - {"evaluation"},
        "evaluation": {"evaluation"},
    }
    of_kind = {kind: {name: "initial value" if kind == "initial" else text
                      for name, text in meanings.items() if group(name) in own}
               for kind, own in kinds.items()}  # fmt: skip
    return {name: of_kind[name.partition("_")[0]] for name in names}


def group(name):
    """activation, loss, gradient, ..."""
    return name.partition("/")[0]


def heading(name):
    """The same, decisions apart: under which a report shows a tensor."""
    return "decision" if decides(name) else group(name)


def write_manifest(facts, folder, reference, tolerances):
    """Writes what a program must know of each tensor, as the reference's dumps have it.

    tolerances: {dump: {tensor name: largest difference}}.
    """
    config, names = read_config(facts, folder), dumps(folder)

    def described(path, texts, more=lambda name: {}):
        tensors = header(path, texts)
        return [
            {"name": name, "dtype": tensors[name][0], "shape": tensors[name][1], "meaning": text}
            | more(name)
            for name, text in texts.items()
        ]

    def allowed(tolerance):
        return tolerance if tolerance < ANYTHING else None

    specification = benchmark.module(facts.application, "parameters").specification(config)
    parameters = {n: f"initial value, {LAYOUTS[p.role]}" for n, p in specification.items()}
    given = {input_path(folder, "parameters"): parameters} | ingoing(facts, config, folder)
    asked = wanted(facts, config, names)
    write_json(folder, "manifest", {
        "application": facts.application,
        "precision": config.precision,
        "difference": "norm of (found - expected) over norm of expected, at most the tolerance" + (
            "; of integers the share of examples that differ, where the reference in bf16 does not"
        ) * (config.precision == "bf16"),
        "inputs": {os.path.basename(path).removesuffix(".safetensors"): described(path, texts)
                   for path, texts in given.items()},
        "outputs": {
            dump: described(expected_path(config, folder, reference, dump), texts,
                            lambda name, dump=dump: {"tolerance": allowed(tolerances[dump][name])})
            for dump, texts in asked.items()
        },
    })  # fmt: skip
