"""An implementation without a framework, for records: numpy arrays, drawn from their names."""

import zlib

import numpy as np

from common import benchmark
from common.parity import compare, inputs, record


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
    """float64 array: the same for the same name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


class Trainer:
    """Activations and gradients that depend on their names alone, in the config's precision; the
    application's own optimizer on parameters and sums, which are float64 in fp64, else float32.

    A forward pass adds 1 to each moving statistic.  An evaluation depends on all parameters and
    the batch.
    """

    def __init__(self, config, parameters):
        facts = benchmark.benchmark_of(config.application)
        module = benchmark.module(config.application, "parameters")
        self.optimizer_step = benchmark.module(config.application, "parity").optimizer_step
        self.config = config
        self.dtype = np.float64 if config.precision == "fp64" else np.float32
        self.points = module.points(config)
        specification = module.specification(config)
        self.trained = [name for name, one in specification.items() if one.trained]
        self.statistics = [name for name, one in specification.items() if not one.trained]
        self.evaluation = facts.evaluation
        self.steps = []
        self.groups = {"parameter": {n: a.astype(self.dtype) for n, a in parameters.items()}}
        for name in facts.optimizer_sums:
            self.groups[name] = {n: np.zeros_like(self.groups["parameter"][n])
                                 for n in self.trained}

    def computed(self, array):
        """As the device computes: in bf16 rounded."""
        if self.config.precision == "bf16":
            array = compare.rounded(array, "BF16")
        return np.asarray(array, self.dtype)

    def decided(self, name, meaning):
        """int64 of the shape that its meaning begins with, what has no number being 2."""
        axes = inputs.TYPED.match(meaning)[2].split(", ")
        shape = [int(axis) if axis.isdigit() else getattr(self.config, axis, 2) for axis in axes]
        return (100 * np.abs(drawn(name, shape))).astype(np.int64)

    def gradients(self, batch):
        weights = self.groups["parameter"]
        for name in self.statistics:
            weights[name] = weights[name] + self.dtype(1.0)
        points = {}
        for name, point in self.points.items():
            if inputs.decides(f"activation/{name}"):
                points[name] = self.decided(name, point.meaning)
                continue
            shape = (*batch[point.places].shape, 3) if point.places else (2, 3)
            points[name] = self.computed(drawn(name, shape))
        gradients = {n: self.computed(drawn(n, weights[n].shape)) for n in self.trained}
        return self.dtype(1.0), points, gradients

    def train_step(self, batch, step):
        self.steps.append(step)
        loss, _, gradients = self.gradients(batch)
        before = {group: {n: np.asarray(a, np.float64) for n, a in arrays.items()}
                  for group, arrays in self.groups.items()}
        for group, arrays in self.optimizer_step(
            self.config, step, before, gradients, batch
        ).items():
            self.groups[group] |= {n: a.astype(self.dtype) for n, a in arrays.items()}
        return loss

    def predict(self, batch):
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        weights = self.groups["parameter"]
        moved = sum(float(np.sum(weights[name], dtype=np.float64)) for name in sorted(weights))
        own = sorted(name for name in batch if not name.startswith("decision."))
        moved += sum(float(np.sum(batch[name])) for name in own)
        return tuple(
            self.decided(name, text) if inputs.decides(f"evaluation/{name}")
            else np.arange(4) if text.startswith("int64") else self.computed(moved * drawn(name))
            for name, text in self.evaluation.items()
        )

    def state(self):
        return {group: dict(arrays) for group, arrays in self.groups.items()}

    def load_state(self, state):
        for group, arrays in state.items():
            self.groups[group] = {n: a.astype(self.dtype) for n, a in arrays.items()}


class DoubleGradient(Trainer):
    """The first trained parameter's gradient is twice what it should be."""

    factor = 2.0

    def gradients(self, batch):
        loss, points, gradients = super().gradients(batch)
        gradients[self.trained[0]] = self.factor * gradients[self.trained[0]]
        return loss, points, gradients


def lead(facts, folder, name="reference", trainer_class=Trainer):
    """Records the reference, and what each step starts from, as common/parity/record.py does."""
    dump(facts, folder, name, trainer_class, record.lead)


def dump(facts, folder, name, trainer_class=Trainer, recorded=record.record):
    """Records an implementation as common/parity/record.py does."""
    framework.started = 0
    config = inputs.read_config(facts, str(folder))
    recorded(facts, config, framework, trainer_class, str(folder), name)
    assert framework.started == 0  # as often stopped as started
