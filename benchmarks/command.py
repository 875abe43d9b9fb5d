"""What the benchmarks share: their command line, and the steps that the timing loop alternates."""

import dataclasses
import importlib
import importlib.util
import itertools
import os
import sys

import numpy as np
from absl import flags

from common import timing
from common.errors import UserError


def define_flags(size, default, unit, rounds):
    """The flags of every benchmark.  Returns an absl FlagValues of its own, to add others to.

    size: the config's field that sizes a step, and its default.  unit: what it counts.
    rounds: {what can be measured: how many rounds by default}; the first is the default.
    """
    values = flags.FlagValues()
    names = list(rounds)
    flags.DEFINE_enum("measure", names[0], names, "what to measure", values)
    flags.DEFINE_integer(size, default, f"{unit} a step", lower_bound=1, flag_values=values)
    shown = ", ".join(f"{name} {number}" for name, number in rounds.items())
    flags.DEFINE_integer("steps", None, f"measured rounds; default: {shown}", lower_bound=1,
                         flag_values=values)
    flags.DEFINE_integer("warmup", 2, "rounds before those", lower_bound=0, flag_values=values)
    flags.DEFINE_enum("device", "cpu", ["cpu", "cuda"], "where to compute", values)
    flags.DEFINE_enum("precision", "fp32", ["fp32", "bf16"], "of ours and the peer", values)
    flags.DEFINE_boolean("compile", False, "compile ours and the peer", values)
    flags.DEFINE_string("output", None, "write the figures here, as JSON", values)
    return values


def parse(values, argv, peers, rounds):
    """The framework that a command line names; `values` takes its flags.  Raises UserError.

    peers: {framework: peer}.  rounds: as in define_flags.
    """
    try:
        names = values(["", *argv])[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split()).removeprefix("flag ")) from None
    if len(names) != 1 or names[0] not in peers:
        raise UserError(f"expected one framework of {', '.join(peers)}, and flags; "
                        f"found {' '.join(names) or 'none'}.")
    if values.precision == "bf16" and names[0] == "paddlepaddle":
        raise UserError("--precision=bf16: PaddlePaddle's peers compute in fp32 alone. Leave it.")
    if values.output and not os.path.isdir(os.path.dirname(os.path.abspath(values.output))):
        raise UserError(f"--output={values.output}: its folder does not exist. Make it first.")
    if values.steps is None:
        values.steps = rounds[values.measure]
    return names[0]


def configure(config, values, size):
    """The config with what the flags say; size: as in define_flags."""
    names = (size, "device", "precision", "compile")
    return dataclasses.replace(config, seed=1, **{name: values[name].value for name in names})


def start(application, name, config):
    """(the framework's adapter, started; the application's train module in it)."""
    framework = importlib.import_module(f"common.frameworks.{name}")
    framework.start(config)
    return framework, importlib.import_module(f"{application}.{name}.train")


def need(package):
    """Raises UserError where a peer's package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"the peer needs {package}. Install it beside the framework: "
                        "pip install --no-deps -r benchmarks/requirements.txt")


def training_step(framework, trainer):
    """Our side: step(batch) -> loss, the steps counted from 0."""
    numbers = itertools.count()
    return lambda batch: float(framework.get(trainer.train_step(batch, next(numbers))))


def alternate(framework, steps, batches, warmup):
    """Times steps on the same batches, turn by turn.  Returns what timing.alternate does.

    steps: {name: step(batch) -> loss}.  batches: a list, the first `warmup` of them not counted.
    Raises UserError where a loss is not finite: such numbers have a speed of their own.
    """

    def candidate(name, step):
        remaining = iter(batches)

        def run():
            loss = step(next(remaining))
            framework.synchronize()  # the loss is known before the last weight is updated
            if not np.isfinite(loss):
                raise UserError(f"{name}: the loss is {loss}. Take fewer --steps.")

        return run

    candidates = {name: candidate(name, step) for name, step in steps.items()}
    return timing.alternate(candidates, len(batches) - warmup, warmup)


def write(values, application, name, figures):
    """Writes the figures where --output asks for them; name: the framework's."""
    if values.output:
        framework = importlib.import_module(f"common.frameworks.{name}")
        timing.write(
            values.output,
            figures,
            benchmark=application,
            framework=framework.describe(),
            flags=values.flag_values_dict(),
        )


def run(main):
    """Runs a benchmark's main; a user's error becomes one line and exit code 1."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
