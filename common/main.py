"""Runs one process of one variant: python -m common.main APPLICATION FRAMEWORK --flags.

The launcher starts it; so does each process of torchrun and its like.  It imports no framework
itself: the data workers, which import the main module anew, stay light.
"""

import importlib
import os
import sys

from common import command, processes, run_folder
from common.errors import ABORTED, told


def main(arguments):
    """Parses the command line and runs.  Returns the exit code."""
    def body():
        config = command.parse(arguments).config
        with run_folder.advising(config.output_dir):
            return run(config)

    may_speak = processes.may_speak if processes.LAUNCHED in os.environ else None
    return told(body, may_speak=may_speak)


def run(config):
    """Runs a variant.  Returns the exit code: 0 target met, 2 aborted.  Raises UserError."""
    config = command.prepare(config)
    framework = importlib.import_module(f"common.frameworks.{config.framework}")
    framework.start(config)
    try:
        status = importlib.import_module(f"{config.application}.{config.framework}.train").main(
            config
        )
    finally:
        framework.stop()
    return 0 if status == "success" else ABORTED


if __name__ == "__main__":
    if processes.LAUNCHED in os.environ:
        processes.end_with_parent()
        sys.excepthook = processes.show_late
    sys.exit(main(sys.argv[1:]))
