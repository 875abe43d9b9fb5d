"""Every number of the toy."""

from dataclasses import dataclass, replace

from common.errors import UserError
from common.options import Options


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark."""

    num_train: int = 256
    num_eval: int = 64
    batch_size: int = 16
    learning_rate: float = 0.1


REFERENCE = Config(profile="reference", target=0.001, num_epochs=10)
QUICK = replace(REFERENCE, profile="quick", target=0.1)


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if config.batch_size < 1:
        raise UserError(f"batch_size={config.batch_size}: expected at least 1.")
    return config


def learning_rate(config, step):
    """Learning rate of an optimizer step, counted from 0."""
    return config.learning_rate

PROFILES = {"quick": QUICK, "reference": REFERENCE}
