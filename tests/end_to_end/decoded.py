"""Decodes the test set from a run's checkpoint: python -m ... FRAMEWORK RUN_FOLDER OUT...

Each OUT, a pair PRECISION=FILE, gets each sentence's pieces, zeros behind them, and its score, from
the same parameters.
"""

import importlib
import os
import sys

import numpy as np

from common import checkpoint, command
from translation import data
from translation.parameters import initial_parameters


def decode(framework_name, folder, precision, out):
    """Writes one file."""
    arguments = ["translation", framework_name, "--resume", f"--output_dir={folder}",
                 f"--precision={precision}"]
    config = command.prepare(command.parse(arguments).config)
    module = importlib.import_module(f"translation.{framework_name}.train")
    module.framework.start(config)
    trainer = module.Trainer(config, initial_parameters(config))
    newest = checkpoint.paths(os.path.join(folder, "checkpoint"))[-1]
    trainer.load_state(checkpoint.load(newest, trainer.state()))
    pieces = np.zeros((config.num_eval_sentences, config.max_positions), np.int64)
    scores = np.zeros(config.num_eval_sentences)
    for batch in data.batches(config, "test").stream():
        found, scores[batch["numbers"]] = trainer.evaluate(batch)
        pieces[batch["numbers"], : found.shape[1]] = found
    module.framework.stop()
    np.savez(out, pieces=pieces, scores=scores)


if __name__ == "__main__":
    for pair in sys.argv[3:]:
        decode(*sys.argv[1:3], *pair.split("="))
