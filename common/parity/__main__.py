"""Whether implementations compute the same: python -m common.parity APPLICATION NAME...

NAME is a framework of this repository, or NAME=MODULE:FRAMEWORK for a module of your own with
`framework` (an adapter) and `Trainer`, run where FRAMEWORK is installed.

Each runs in a process of its own, all at the same time, from the same parameters, on the same
batches, for a few optimizer steps.  What they dump is compared tensor by tensor with the first
one's, in forward order, and the first beyond tolerance is named.  docs/parity.md tells how a port
takes part that no command of ours can run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from absl import flags

from common import benchmark
from common.command import FRAMEWORKS
from common.errors import ABORTED, UserError, told
from common.options import CHOICES
from common.parity import compare, inputs

IN_ENVIRONMENT = os.path.join(benchmark.ROOT, "common", "in_environment.sh")


@dataclass(frozen=True)
class Implementation:
    """Something with a Trainer.  module: None for the application's own."""

    name: str
    module: str | None
    framework: str


def main(argv):
    """Returns the exit code: 0 all agree, 1 a fault of the user, 2 a tensor beyond tolerance."""
    return told(lambda: run(argv))


def run(argv):
    """Records and judges what the command line asks for.  Raises UserError."""
    values, names = parse_flags(argv)
    application = names[0]
    facts = benchmark.benchmark_of(application)
    implementations = [implementation_of(name) for name in names[1:]]
    if len(implementations) < 2 and not values.record and not values.against:
        raise UserError("nothing to compare: name two implementations, or --record=FOLDER.")
    with tempfile.TemporaryDirectory() as temporary:
        root = values.against or os.path.join(temporary, "record")
        folders = inputs.folders(root, values.precision)
        if values.record and os.path.exists(values.record):
            raise UserError(f"{values.record}: is there already. Judge a record with "
                            f"--against={values.record}, or name a new folder.")
        if not values.against:
            for precision, folder in folders.items():
                inputs.write(application, folder, precision, values)
        record(application, implementations, folders, values)
        if values.record:  # whole or not at all
            shutil.move(root, values.record)
            folders = inputs.folders(values.record, values.precision)
        reference, named = implementations[0].name, [i.name for i in implementations[1:]]
        agreed = True
        for precision, folder in folders.items():
            others = named
            if values.against:
                others = [n for n in inputs.recorded(folder) if n != reference]
                if not others:
                    raise UserError(f"{folder}: holds nothing but {reference}: nothing to judge.")
            config = inputs.read_config(facts, folder)
            inputs.write_manifest(facts, config, folder, reference)
            agreed &= compare.report(facts, config, precision, folder, reference, others)
    return 0 if agreed else ABORTED


def parse_flags(argv):
    """(flag values, [application, implementation, ...]).  Raises UserError."""
    values = flags.FlagValues()
    flags.DEFINE_integer("steps", 5, "optimizer steps", 1, flag_values=values)
    flags.DEFINE_enum("profile", "quick", ["quick", "reference"], "which benchmark", values)
    flags.DEFINE_list("precision", ["fp32"], "of the arithmetic: one, or several by commas",
                      flag_values=values)
    flags.DEFINE_enum("device", "cpu", CHOICES["device"], "where to compute", values)
    flags.DEFINE_integer("seed", 1, "of parameters and batches", 0, flag_values=values)
    flags.DEFINE_string("record", None, "keep the records in this new folder", values)
    flags.DEFINE_string("against", None, "judge what lies in this folder of records", values)
    flags.DEFINE_multi_string("set", [], "NAME=VALUE: any field of config.py", values)
    try:
        names = values(["", *argv])[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from None
    if len(names) < 2:
        raise UserError("usage: python -m common.parity APPLICATION NAME... [--steps=5]")
    if values.record and values.against:
        raise UserError("--record makes a folder, --against judges one: give one of the two.")
    for precision in values.precision:
        if precision not in CHOICES["precision"]:
            raise UserError(f"--precision={precision}: expected {', '.join(CHOICES['precision'])}.")
    return values, names


def implementation_of(text):
    """The Implementation of FRAMEWORK or NAME=MODULE:FRAMEWORK.  Raises UserError."""
    if text in FRAMEWORKS:
        return Implementation(text, None, text)
    name, _, rest = text.partition("=")
    module, _, framework = rest.partition(":")
    if not name.isidentifier() or not module or framework not in FRAMEWORKS:
        raise UserError(f"{text}: expected one of {', '.join(FRAMEWORKS)}, or "
                        "NAME=MODULE:FRAMEWORK for a module of your own.")
    return Implementation(name, module, framework)


def record(application, implementations, folders, values):
    """Has the implementations dump their tensors, each in the environment of its framework.

    Whoever is named is recorded anew; but the reference of --against, which lies there.
    """
    children = {}
    for place, one in enumerate(implementations):
        if place == 0 and values.against and all(
            one.name in inputs.recorded(folder) for folder in folders.values()
        ):
            continue
        command = [IN_ENVIRONMENT, application, one.framework, "-m", "common.parity.record",
                   application, one.name, one.module or f"{application}.{one.framework}.train",
                   values.device]
        for precision, folder in folders.items():
            command += [precision, os.path.abspath(folder)]
        children[one.name] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    said = {name: child.communicate()[1] for name, child in children.items()}
    for name, child in children.items():
        if child.returncode:
            lines = [line for line in said[name].splitlines() if line.strip()]
            faults = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            reason = faults[-1] if faults else lines[-1] if lines else "it said nothing"
            sys.stderr.write("" if faults else said[name])  # a fault of a port's program, whole
            raise UserError(f"{name}: could not be recorded: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
