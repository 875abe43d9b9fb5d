"""Records a framework's variant as it is and with one fault after another, in one process:

    plant.py APPLICATION FRAMEWORK FOLDER...

tests/parity/APPLICATION.py    PLANTED: flags of the small records that faults are planted in, one
                               for each precision; PLANTED_MORE: {name: flags} of further ones, as
                               "masks", of given masks
tests/parity/faults/APPLICATION.py
                               a class for each fault, put before each framework's own Trainer; it
                               names no framework.  FAULTS tells where it is named first, of which
                               precisions and, if not of all, frameworks:
                               {fault: {"fp64 fp32": (dump, tensor), "bf16 tensorflow": ...}};
                               "masks": in the further record of that name
tests/parity/edited.py         a class's `edits` are of its Trainer's source
tests/parity/faulty.py         what faults are made of: a step's outcome rewritten in numpy, a layer
                               that computes something else
tests/parity/operators/FRAMEWORK.py
                               the few operators that a fault needs of a framework: self.operators

PyTorch's own Trainer leads, so PyTorch is first.  A record lies under FRAMEWORK_FAULT, the sound
one under FRAMEWORK.
"""

import importlib
import os
import sys
from unittest import mock

from common import benchmark
from common.command import FRAMEWORKS
from common.parity import inputs, record
from tests.parity.edited import edited

PRECISIONS = ("fp32", "fp64", "bf16")
LEADER = "pytorch"


def main(application, framework_name, *folders):
    facts = benchmark.benchmark_of(application)
    module = record.imported(f"{application}.{framework_name}.train")
    operators = record.imported(f"tests.parity.operators.{framework_name}")
    operators.start()
    for folder in folders:
        config = inputs.read_config(facts, folder)
        kind = os.path.basename(folder)
        to_record = record.lead if framework_name == LEADER else record.record
        if runs(application, framework_name, config.precision):
            to_record(facts, config, module.framework, module.Trainer, folder, framework_name)
        dumps = inputs.dumps(folder)
        for framework, own_kind, fault, place in cases(application):
            if (framework, own_kind) == (framework_name, kind):
                own = module
                if hasattr(fault, "edits"):
                    own = edited(application, framework_name, fault.edits)
                parts = {"operators": operators}
                trainer = type(fault.__name__, (fault, own.Trainer), parts)
                name = recorded_as(framework, fault)
                kept = needed(dumps, fault, place)
                with mock.patch.object(inputs, "dumps", return_value=kept):
                    record.record(facts, config, module.framework, trainer, folder, name)


def needed(dumps, fault, place):
    """Those of a record's dumps that tell where a fault is named: what comes behind takes most of
    the time.  One that evaluates otherwise may show in the step that comes after.
    """
    if place[0] not in ("initial", "step_0000"):
        return dumps
    return [name for name in dumps if name in ("initial", "step_0000")
            or (name.startswith("evaluation") and hasattr(fault, "evaluate"))]


def settings_of(application):
    """The module tests/parity/APPLICATION.py."""
    return importlib.import_module(f"tests.parity.{application}")


def kinds(application):
    """The names of the records that faults are planted in, which are their folders'."""
    return (*PRECISIONS, *getattr(settings_of(application), "PLANTED_MORE", {}))


def runs(application, framework_name, precision):
    """Whether a framework has a precision on the CPU, and the application's faults are told in it.
    """
    without = getattr(settings_of(application), "PLANTED_WITHOUT", set())
    return (framework_name, precision) not in without | {("paddlepaddle", "bf16")}


def recorded_as(framework_name, fault):
    """The name of a fault's record; fault: None: of the sound one."""
    return f"{framework_name}_{fault.__name__}" if fault else framework_name


def cases(application):
    """Yields (framework, one of kinds, fault, (dump, tensor) where it is named first)."""
    faults = record.imported(f"tests.parity.faults.{application}").FAULTS
    for fault, places in faults.items():
        for words, place in places.items():
            words = words.split()
            for framework_name in [name for name in FRAMEWORKS if name in words] or FRAMEWORKS:
                for kind in kinds(application):
                    if kind in words and runs(application, framework_name, kind):
                        yield framework_name, kind, fault, place


if __name__ == "__main__":
    main(*sys.argv[1:])
