"""Records PyTorch's variant as it is and with one fault after another: plant.py APPLICATION FOLDER

In one process for all.  Each record lies under the class's name; FOLDER/faults.json tells where
each fault must be found.
"""

import json
import os
import sys

from common import benchmark
from common.parity import inputs, record


def main(application, folder):
    faults = record.imported(f"tests.parity.faults.{application}")
    facts = benchmark.benchmark_of(application)
    config = inputs.read_config(facts, folder)
    for trainer in [faults.Trainer, *faults.FAULTS]:
        record.record(facts, config, faults.framework, trainer, folder, trainer.__name__)
    with open(os.path.join(folder, "faults.json"), "w") as opened:
        json.dump({fault.__name__: place for fault, place in faults.FAULTS.items()}, opened)


if __name__ == "__main__":
    main(*sys.argv[1:])
