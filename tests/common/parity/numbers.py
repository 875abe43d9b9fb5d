"""An implementation without a framework, for records: numpy arrays, drawn from their names."""

import zlib

import numpy as np

from common import benchmark
from common.parity import inputs, record


class Framework:
    """The adapter of numpy."""

    started = 0

    def start(self, config):
        self.started += 1

    def stop(self):
        self.started -= 1

    def put(self, batch):
        return batch

    def get(self, tensor):
        return np.asarray(tensor)

    def to_canonical(self, tensor, role):
        return tensor


framework = Framework()


def drawn(name, shape=(2, 3)):
    """float32 array: the same for the same name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)


class Trainer:
    """Gradients and activations that depend on their names alone; plain descent.

    A forward pass adds 1 to each moving statistic.
    """

    def __init__(self, config, parameters):
        facts = benchmark.benchmark_of(config.application)
        module = benchmark.module(config.application, "parameters")
        self.config = config
        self.points = list(module.points(config))
        specification = module.specification(config)
        self.trained = [name for name, one in specification.items() if one.trained]
        self.statistics = [name for name, one in specification.items() if not one.trained]
        self.predictions = list(facts.predictions)
        self.groups = {"parameter": dict(parameters)}
        for name in facts.optimizer_sums:
            self.groups[name] = {n: np.zeros_like(parameters[n]) for n in self.trained}

    def gradients(self, batch):
        points = {name: drawn(name) for name in self.points}
        weights = self.groups["parameter"]
        for name in self.statistics:
            weights[name] = weights[name] + 1.0
        return np.float32(1.0), points, {n: drawn(n, weights[n].shape) for n in self.trained}

    def train_step(self, batch, step):
        loss, _, gradients = self.gradients(batch)
        for name, gradient in gradients.items():
            self.groups["parameter"][name] = self.groups["parameter"][name] - 0.1 * gradient
        return loss

    def decode(self, batch):
        return tuple(drawn(name) for name in self.predictions)

    def state(self):
        return {group: dict(arrays) for group, arrays in self.groups.items()}

    def load_state(self, state):
        self.groups = {group: dict(arrays) for group, arrays in state.items()}


class DoubleGradient(Trainer):
    """The first trained parameter's gradient is twice what it should be."""

    factor = 2.0

    def gradients(self, batch):
        loss, points, gradients = super().gradients(batch)
        gradients[self.trained[0]] = self.factor * gradients[self.trained[0]]
        return loss, points, gradients


def dump(facts, folder, name, trainer_class=Trainer):
    """Records an implementation as common/parity/record.py does."""
    framework.started = 0
    config = inputs.read_config(facts, str(folder))
    record.record(facts, config, framework, trainer_class, str(folder), name)
    assert framework.started == 0  # as often stopped as started
