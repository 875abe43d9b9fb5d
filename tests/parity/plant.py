"""Records PyTorch's variant with one fault after another: plant.py APPLICATION FOLDER FAULT...

In one process for all: importing a framework takes longer than a few steps in it.  A fault's record
lies under the fault's name.
"""

import importlib
import os
import sys

from common import parity_record


def plant(application, folder, faults):
    name = f"tests.parity.planted_{application}_pytorch"
    module = importlib.import_module(name)
    outputs = os.path.join(folder, "outputs")
    for fault in faults:
        module.FAULT = fault
        parity_record.record(application, name, folder)
        os.rename(os.path.join(outputs, name), os.path.join(outputs, fault))


if __name__ == "__main__":
    plant(sys.argv[1], sys.argv[2], sys.argv[3:])
