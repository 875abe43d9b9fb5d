"""Whether implementations compute the same: python -m common.parity APPLICATION FRAMEWORK...

Each framework runs in a process of its own, from the same parameters, on the same batches, for a
few optimizer steps.  What they dump is compared tensor by tensor with the first one's, in forward
order, and the first beyond tolerance is named.  docs/parity.md tells how a port takes part.

A folder of records:

    config.json                        every number of the benchmark, and each step's learning rate
    inputs/parameters.safetensors      initial values: canonical names and layouts
    inputs/batch_0000.safetensors      one for each step
    outputs/NAME/initial.safetensors   parameter/... as loaded
    outputs/NAME/step_0000.safetensors activation/... loss gradient/... SUM/... parameter/...
                                       and in the last one prediction/..., where a network decodes

SUM: each of the application's OPTIMIZER_SUMS.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import safetensors
import safetensors.numpy
from absl import flags

from common import options
from common.application import application_module
from common.checkpoint import save_tensors
from common.errors import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(argv):
    """Returns the exit code: 0 when all agree, 1 when a tensor is beyond tolerance, 2 for faults
    of the user."""
    try:
        values, names = parse_flags(argv)
        application = names[0]
        with tempfile.TemporaryDirectory() as temporary:
            folder = values.record or values.against or temporary
            if values.against:
                config = read_config(application, folder)
            else:
                config = write_inputs(application, folder, values)
            for name in names[1:]:
                if not os.path.exists(os.path.join(folder, "outputs", name, "done")):
                    record_in_process(application, name, folder)
            others = names[2:]
            if values.against:
                found = sorted(os.listdir(os.path.join(folder, "outputs")))
                others = [name for name in found if name != names[1]]
            if not others and not values.record:
                raise UserError("nothing to compare: name two frameworks, or --record DIR.")
            return int(not report(config, folder, names[1], others))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parse_flags(argv):
    """(flag values, [application, implementation, ...]).  Raises UserError."""
    values = flags.FlagValues()
    flags.DEFINE_integer("steps", 5, "optimizer steps", 1, flag_values=values)
    flags.DEFINE_enum("profile", "quick", ["quick", "reference"], "which benchmark", values)
    flags.DEFINE_enum("precision", "fp32", ["fp32", "fp64"], "of the arithmetic", values)
    flags.DEFINE_integer("seed", 1, "of parameters and batches", flag_values=values)
    flags.DEFINE_string("record", None, "keep the records in this folder", values)
    flags.DEFINE_string("against", None, "judge what lies in this folder of records", values)
    flags.DEFINE_multi_string("set", [], "NAME=VALUE: any field of config.py", values)
    try:
        names = values(["", *argv])[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from None
    if len(names) < 2:
        raise UserError("usage: python -m common.parity APPLICATION FRAMEWORK... [--steps=5]")
    if values.record and values.against:
        raise UserError("--record makes a folder, --against judges one: give one of the two.")
    return values, names


def write_inputs(application, folder, values):
    """Writes config, parameters and batches.  Returns the config."""
    if os.path.exists(os.path.join(folder, "config.json")):
        raise UserError(f"{folder}: holds a record already. Judge it with --against={folder}.")
    module = application_module(application, "config")
    profile = {"quick": module.QUICK, "reference": module.REFERENCE}[values.profile]
    arguments = [f"--set={assignment}" for assignment in values.set]
    arguments += [f"--precision={values.precision}", f"--seed={values.seed}"]
    config = options.parse({"quick": profile}, arguments)
    config = dataclasses.replace(config, application=application)
    config, batches = application_module(application, "data").parity_batches(
        module.check(config), values.steps
    )
    inputs = os.path.join(folder, "inputs")
    os.makedirs(inputs, exist_ok=True)
    parameters = application_module(application, "parameters").initial_parameters(config)
    save_tensors(os.path.join(inputs, "parameters.safetensors"), parameters)
    for step, batch in enumerate(batches):
        save_tensors(os.path.join(inputs, f"batch_{step:04d}.safetensors"), batch)
    with open(os.path.join(folder, "config.json"), "w") as opened:
        rates = [module.learning_rate(config, step) for step in range(values.steps)]
        more = {"steps": values.steps, "learning_rates": rates}
        json.dump(dataclasses.asdict(config) | more, opened, indent=2)
    return config


def read_config(application, folder):
    """The config that a folder of records was made with.  Raises UserError."""
    try:
        with open(os.path.join(folder, "config.json")) as opened:
            saved = json.load(opened)
    except OSError:
        raise UserError(f"{folder}: no config.json there. Make a record with --record.") from None
    if saved.pop("application") != application:
        raise UserError(f"{folder}: the record of another application.")
    del saved["steps"], saved["learning_rates"]
    saved = {n: tuple(v) if isinstance(v, list) else v for n, v in saved.items()}
    config = application_module(application, "config").Config(**saved)
    return dataclasses.replace(config, application=application)


def record_in_process(application, name, folder):
    """Has one implementation dump its tensors, in the environment of its framework."""
    # A module's name ends the framework's folder: my_port.pytorch_fast would need its own PYTHON.
    framework = next((f for f in ("pytorch", "tensorflow", "paddlepaddle") if f in name), None)
    if framework is None:
        raise UserError(f"{name}: expected pytorch, tensorflow or paddlepaddle in the name.")
    command = [os.path.join(ROOT, "common", "in_environment.sh"), application, framework]
    command += ["-m", "common.parity_record", application, name, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{name}: could not be recorded:\n{done.stderr[-4000:]}")


def load(folder, name, file):
    """{tensor name: array} of one dump.  Raises UserError."""
    path = os.path.join(folder, "outputs", name, f"{file}.safetensors")
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None


def dumps(folder):
    """The names of the dumps, in order: initial, then the steps."""
    with open(os.path.join(folder, "config.json")) as opened:
        steps = json.load(opened)["steps"]
    return ["initial"] + [f"step_{step:04d}" for step in range(steps)]


def forward_order(config):
    """The tensor names of a dump: activations, loss, gradients, optimizer's sums, parameters, and
    after the last step what the network decodes, where it does."""
    module = application_module(config.application, "parameters")
    specification = module.specification(config)
    trained = [name for name, parameter in specification.items() if parameter.trained]
    names = [f"activation/{name}" for name in module.points(config)] + ["loss"]
    for group in ("gradient", *module.OPTIMIZER_SUMS):
        names += [f"{group}/{name}" for name in trained]
    names += [f"parameter/{name}" for name in specification]
    return names + [f"prediction/{name}" for name in getattr(module, "PREDICTIONS", ())]


def difference(expected, found):
    """Norm of the difference over the norm of what was expected; inf where one cannot say.

    The norm, not the largest element: where a sum next to zero rounds to the other side, a ReLU
    lets one element through or not, and that one element says nothing of the tensor.
    """
    if expected.shape != found.shape:
        return np.inf
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    gap = np.linalg.norm((expected - found).ravel())
    scale = np.linalg.norm(expected.ravel())
    if not np.isfinite(gap) or not np.isfinite(scale):
        return np.inf
    return float(gap / scale) if scale else float(gap)


def compare(config, folder, reference, other):
    """[(dump, tensor, difference, tolerance)] in forward order; a missing tensor differs by inf."""
    tolerances = application_module(config.application, "config").PARITY_TOLERANCES
    rows = []
    for dump in dumps(folder):
        expected, found = load(folder, reference, dump), load(folder, other, dump)
        for name in forward_order(config):
            if name not in expected:  # not every dump holds everything
                continue
            gap = difference(expected[name], found[name]) if name in found else np.inf
            group = name.partition("/")[0]
            rows.append((dump, name, gap, tolerances[config.precision][group]))
    return rows


def report(config, folder, reference, others):
    """Prints a table of the largest differences; names the first beyond.  Returns all agree."""
    agreed = True
    for other in others:
        rows = compare(config, folder, reference, other)
        print(f"\n{other} against {reference}, {config.profile}, {config.precision}")
        print(f"  {'dump':<10} {'tensors':<11} {'count':>5} {'tolerance':>9} {'largest':>9}  worst")
        for dump in dumps(folder):
            groups = dict.fromkeys(row[1].partition("/")[0] for row in rows if row[0] == dump)
            for group in groups:
                part = [r for r in rows if r[0] == dump and r[1].partition("/")[0] == group]
                worst = max(part, key=lambda row: row[2])
                mark = "" if worst[2] <= worst[3] else "  BEYOND"
                print(f"  {dump:<10} {group:<11} {len(part):>5} {worst[3]:>9.0e} {worst[2]:>9.1e}"
                      f"  {worst[1].partition('/')[2] or group}{mark}")
        beyond = next((row for row in rows if not row[2] <= row[3]), None)
        if beyond:
            agreed = False
            print(f"  DIFFERS first at {beyond[0]} {beyond[1]}: {beyond[2]:.1e}, "
                  f"tolerance {beyond[3]:.0e}")
        else:
            print("  AGREES")
    return agreed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
