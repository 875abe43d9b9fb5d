"""Starts one process of one variant: python -m common.main APPLICATION FRAMEWORK --flags.

The launcher starts it; so does each process of torchrun and its like.  It imports no framework
itself: the data workers, which import the main module anew, stay light.
"""

import dataclasses
import importlib
import os
import sys
import time

from common import checkpoint, options
from common.application import application_module
from common.errors import UserError

FRAMEWORKS = ("pytorch", "tensorflow", "paddlepaddle")


def load_config(application, framework, argv):
    """The config of a run, its data found and counted.  Raises UserError."""
    module = application_module(application, "config")
    config = options.parse({"quick": module.QUICK, "reference": module.REFERENCE}, argv)
    config = dataclasses.replace(config, application=application, framework=framework)
    if config.resume and not config.output_dir:
        raise UserError("--resume: name the run's folder with --output_dir.")
    if config.seed is None:
        seed = checkpoint.saved_seed(config.output_dir) if config.resume else None
        config = dataclasses.replace(config, seed=seed if seed is not None else clock_seed())
    if not config.output_dir:
        config = dataclasses.replace(config, output_dir=options.default_output_dir(config))
    return application_module(application, "data").prepare(module.check(config))


def clock_seed():
    """A seed from the clock, as the rules allow; the launcher gives one to all processes."""
    return time.time_ns() % 2**31


def main(argv):
    """Runs a variant.  Returns the exit code: 0 target met, 1 fault of the user, 2 aborted."""
    try:
        if len(argv) < 2 or argv[1] not in FRAMEWORKS:
            raise UserError(
                f"usage: python -m common.main APPLICATION {{{','.join(FRAMEWORKS)}}} [flags]"
            )
        config = load_config(argv[0], argv[1], argv[2:])
        framework = importlib.import_module(f"common.frameworks.{argv[1]}")
        framework.start(config)
        try:
            status = importlib.import_module(f"{argv[0]}.{argv[1]}.train").main(config)
        finally:
            framework.stop()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted. Go on with --resume and the same --output_dir.", file=sys.stderr)
        return 130
    # A launcher may know no such code: common/launch.py.
    return 0 if status == "success" else int(os.environ.get("EXIT_CODE_OF_ABORTED", 2))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
