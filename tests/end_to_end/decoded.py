"""Decodes the test set from a run's checkpoint: python -m ... FRAMEWORK RUN_FOLDER OUT [flags]

Writes OUT.npz: each sentence's pieces, zeros behind them, and its score.  The flags are those of
the run; --precision=fp64 decodes the same parameters in float64.
"""

import importlib
import os
import sys

import numpy as np

from common import checkpoint, main
from translation import data
from translation.parameters import initial_parameters


def decode(framework_name, folder, out, flags):
    config = main.load_config("translation", framework_name, [f"--output_dir={folder}", *flags])
    framework = importlib.import_module(f"common.frameworks.{framework_name}")
    framework.start(config)
    module = importlib.import_module(f"translation.{framework_name}.train")
    trainer = module.Trainer(config, initial_parameters(config))
    newest = checkpoint.paths(os.path.join(folder, "checkpoint"))[-1]
    trainer.load_state(checkpoint.load(newest, trainer.state()))
    pieces = np.zeros((config.num_eval_sentences, config.max_positions), np.int64)
    scores = np.zeros(config.num_eval_sentences)
    for batch in data.batches(config, "test").stream():
        found, scores[batch["numbers"]] = trainer.decode(batch)
        pieces[batch["numbers"], : found.shape[1]] = found
    np.savez(out, pieces=pieces, scores=scores)


if __name__ == "__main__":
    decode(*sys.argv[1:4], sys.argv[4:])
