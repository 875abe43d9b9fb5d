"""Whether implementations compute the same: python -m common.parity APPLICATION NAME...

NAME is a framework of this repository, or NAME=MODULE:FRAMEWORK for a module of your own with
`framework` (an adapter) and `Trainer`, run where FRAMEWORK is installed.

Each runs in a process of its own, on the same batches, for a few optimizer steps, each step from
the state that the first one had there, and evaluates the same.  What they dump is compared tensor
by tensor with the first one's, in forward order, and the first beyond tolerance is named.
docs/parity.md tells how a port takes part that no command of ours can run.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from absl import flags

from common import benchmark, machine, options, run_folder
from common.command import FRAMEWORKS
from common.errors import ABORTED, UserError, printable, told
from common.options import CHOICES
from common.parity import compare, inputs

IN_ENVIRONMENT = os.path.join(benchmark.ROOT, "common", "in_environment.sh")
USAGE = "usage: python -m common.parity APPLICATION NAME... [flags]; docs/parity.md tells which."
# What a folder of records has settled.
SETTLED = ("steps", "profile", "precision", "seed", "record", "set")


@dataclass(frozen=True)
class Implementation:
    """Something with a Trainer.  module: where it is; framework: whose environment it needs."""

    name: str
    module: str
    framework: str


def main(argv):
    """Returns the exit code: 0 all agree, 1 a fault of the user, 2 a tensor beyond tolerance."""
    return told(lambda: run(argv))


def run(argv):
    """Records and judges what the command line asks for.  Raises UserError."""
    values, names = parse(argv)
    if len(names) < 2:
        raise UserError(USAGE)
    facts = benchmark.benchmark_of(names[0])
    implementations = [implementation_of(facts.application, name) for name in names[1:]]
    reference, *others = [one.name for one in implementations]
    if len({reference, *others}) < len(implementations):
        raise UserError(f"{' '.join(names[1:])}: expected a name only once.")
    if not others and not values.record and not values.against:
        raise UserError("nothing to compare: name two implementations, or --record=FOLDER.")
    if values.verdicts and not os.path.isdir(os.path.dirname(os.path.abspath(values.verdicts))):
        raise UserError(f"--verdicts={values.verdicts}: its folder does not exist. Make it.")
    with tempfile.TemporaryDirectory() as temporary:
        if values.against:
            folders = inputs.found(values.against)
            if all(reference in inputs.recorded(folder) for folder in folders):
                implementations = implementations[1:]  # all others that are named: anew
            anew = {one.name for one in implementations}
            for folder in folders:
                inputs.check(facts, folder, reference, anew)
                if not {*inputs.recorded(folder), *anew} - {reference}:
                    raise UserError(f"{folder}: nothing lies there to be held against {reference}.")
            record(facts, implementations, folders, values.device)
        else:
            root = os.path.join(temporary, "record")
            folders = write(facts, values, root)
            record(facts, implementations, folders, values.device, reference)
            for folder in folders:
                tolerances = compare.tolerances(facts, folder, reference)
                inputs.write_manifest(facts, folder, reference, tolerances)
            if values.record:  # whole or not at all
                part = part_of(values.record)
                try:
                    shutil.copytree(root, part)
                    os.rename(part, values.record)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
        verdicts = []
        agreed = [compare.report(facts, folder, reference, verdicts) for folder in folders]
    if values.verdicts:
        with open(values.verdicts, "w") as opened:
            json.dump({"parity": verdicts, "commit": run_folder.commit(),
                       "system": machine.system_description()}, opened, indent=2)
    return 0 if all(agreed) else ABORTED


def define_flags():
    """The command's flags: an absl FlagValues of its own."""
    values = flags.FlagValues()
    flags.DEFINE_integer("steps", 5, "optimizer steps", 1, flag_values=values)
    flags.DEFINE_string("profile", "quick", "quick, reference, or another of config.py", values)
    flags.DEFINE_list("precision", ["fp32"], "of the arithmetic: one, or several by commas",
                      flag_values=values)
    flags.DEFINE_enum("device", "cpu", CHOICES["device"], "where to compute", values)
    flags.DEFINE_integer("seed", 1, "of parameters and batches", 0, flag_values=values)
    flags.DEFINE_string("record", None, "keep the records in this new folder", values)
    flags.DEFINE_string("against", None, "judge what lies in this folder of records", values)
    flags.DEFINE_string("verdicts", None, "write the verdicts to this file, for common.report",
                        values)
    flags.DEFINE_multi_string("set", [], "NAME=VALUE: any field of config.py", values)
    return values


def parse(argv):
    """(flag values, what stands beside the flags).  Raises UserError."""
    values = define_flags()
    names = options.read_flags(values, argv, USAGE)
    for name in SETTLED if values.against else ():
        if values[name].present:
            raise UserError(f"--{name}: settled by the record in --against. Leave it out.")
    for assignment in values.set:
        name = assignment.partition("=")[0]
        if name in ("precision", "device", "seed"):
            raise UserError(f"--set {assignment}: say --{name} instead.")
    return values, names


def implementation_of(application, text):
    """The Implementation of FRAMEWORK or NAME=MODULE:FRAMEWORK.  Raises UserError."""
    if text in FRAMEWORKS:
        return Implementation(text, f"{application}.{text}.train", text)
    name, _, rest = text.partition("=")
    module, _, framework = rest.partition(":")
    if not name.isidentifier() or not module or framework not in FRAMEWORKS:
        raise UserError(f"{text}: expected one of {', '.join(FRAMEWORKS)}, or "
                        "NAME=MODULE:FRAMEWORK for a module of your own.")
    return Implementation(name, module, framework)


def write(facts, values, root):
    """Writes config and inputs for each precision.  Returns the folders.  Raises UserError."""
    for precision in values.precision or [""]:  # --precision= alone would compare nothing
        inputs.check_precision(facts, precision, f"--precision={precision}")
    if values.record:
        check_new(values.record)
    module = benchmark.module(facts.application, "config")
    if values.profile not in module.PROFILES:
        raise UserError(f"--profile={values.profile}: expected one of "
                        f"{', '.join(module.PROFILES)}.")
    profile = module.PROFILES[values.profile]
    changes = benchmark.module(facts.application, "parity").CHANGES
    profile = dataclasses.replace(profile, **changes.get(values.profile, {}))
    config = options.assign(profile, values.set)
    config = dataclasses.replace(config, application=facts.application, seed=values.seed)
    several = len(values.precision) > 1
    folders = {precision: os.path.join(root, precision) if several else root
               for precision in values.precision}
    for precision, folder in folders.items():
        own = dataclasses.replace(config, precision=precision)
        inputs.write(module.check(own), values.steps, folder)
    return list(folders.values())


def check_new(folder):
    """Raises UserError where a new folder cannot be made, or holds something already."""
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise UserError(f"{folder}: there already. Judge it with --against, or name a new folder.")
    part = part_of(folder)
    if os.path.lexists(part):
        raise UserError(f"{part}: there already, the rest of a record or yours. Remove it, or name "
                        "another folder.")
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written. Name another folder.")


def part_of(folder):
    """Where a record is gathered before it is FOLDER."""
    return f"{os.path.normpath(folder)}.part"


def record(facts, implementations, folders, device, leader=None):
    """Has the implementations dump their tensors, each in the environment of its framework.

    leader: name of the one whose states the others' steps start from; None: the states are there.
    The others are started beside it, and begin when it has ended.
    """
    with contextlib.ExitStack() as stack:
        children = {}
        for one in implementations:
            role = "leads" if one.name == leader else "follows"
            command = [IN_ENVIRONMENT, facts.application, one.framework,
                       "-m", "common.parity.record", str(os.getpid()), facts.application, one.name,
                       one.module, device, role, *map(os.path.abspath, folders)]
            said = stack.enter_context(tempfile.TemporaryFile("w+"))
            child = subprocess.Popen(
                command, env=os.environ | {"DEVICE": device}, stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=said, text=True,
            )  # fmt: skip
            stack.callback(child.wait)  # or it would write where all is being removed
            stack.callback(child.kill)
            children[one.name] = child, said
        if leader:
            finish(leader, *children.pop(leader))
        for child, _ in children.values():
            with contextlib.suppress(BrokenPipeError):  # it has ended: finish tells why
                child.stdin.write("begin\n")
                child.stdin.close()
        for name, (child, said) in children.items():
            finish(name, child, said)


def finish(name, child, said):
    """Waits for an implementation's process.  Raises UserError where it failed."""
    if not child.wait():
        return
    said.seek(0)
    lines = [line for line in said.read().splitlines() if line.strip()]
    faults = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    reason = faults[-1] if faults else lines[-1] if lines else "it said nothing"
    for line in () if faults else lines:  # a fault of a port's program, whole
        print(printable(line), file=sys.stderr)
    raise UserError(f"{name}: could not be recorded: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
