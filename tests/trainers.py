"""What tests ask of an application's Trainer, inside this session's framework."""

import dataclasses
import importlib

import numpy as np

from common import benchmark


def train_module(application, framework):
    """The module APPLICATION.FRAMEWORK.train."""
    name = framework.__name__.rpartition(".")[2]
    return importlib.import_module(f"{application}.{name}.train")


def started(application, framework, config, values=None):
    """A Trainer; the framework starts with its config.

    values: {name: array} of parameters; None: the config's initial ones.
    """
    framework.start(config)
    if values is None:
        values = benchmark.module(application, "parameters").initial_parameters(config)
    return train_module(application, framework).Trainer(config, values)


def losses(trainer, framework, batches):
    """[steps]: the loss of a step on each batch."""
    return np.array([float(framework.get(trainer.train_step(b, k))) for k, b in enumerate(batches)])


def canonical(gradients, framework, trainer):
    """{name: array} of {name: gradient}."""
    specification = trainer.specification
    return {n: framework.to_canonical(g, specification[n].role) for n, g in gradients.items()}


def look(trainer, framework, batch):
    """(loss, {point: array}, {name: gradient}), canonical."""
    application = type(trainer).__module__.partition(".")[0]
    roles = benchmark.module(application, "parameters").points(trainer.config)
    loss, points, gradients = trainer.gradients(framework.put(batch))
    found = {n: framework.to_canonical(points[n], p.role) for n, p in roles.items()}
    return float(framework.get(loss)), found, canonical(gradients, framework, trainer)


def assert_compiled_alike(application, framework, config, batches, losses_apart, weights_apart):
    """Steps with --compile end as those without; both gaps are relative, of each tensor's norm."""
    plain = started(application, framework, config)
    expected = losses(plain, framework, batches)
    if framework.__name__.endswith("tensorflow"):
        # A run with --compile never turns it on; in this process the tests before have.
        from tensorflow.python.framework.config import disable_op_determinism

        disable_op_determinism()
    compiled = started(application, framework, dataclasses.replace(config, compile=True))
    found = losses(compiled, framework, batches)
    np.testing.assert_allclose(found, expected, rtol=losses_apart)
    for name, array in plain.state()["parameter"].items():
        other = compiled.state()["parameter"][name]
        assert np.linalg.norm(array - other) <= weights_apart * np.linalg.norm(array) + 1e-12, name
