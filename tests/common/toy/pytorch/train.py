"""Fits a line in PyTorch."""

import torch
from torch import nn
from toy import data
from toy.benchmark import BENCHMARK
from toy.config import learning_rate
from toy.parameters import initial_parameters, specification

from common.frameworks import pytorch as framework
from common.parameters import ignore, keep
from common.run import Run


class Line(nn.Module):
    """A line through points."""

    def __init__(self):
        super().__init__()
        self.weight = framework.parameter("weight", (1, 2))
        self.bias = framework.parameter("plain", (1,))

    def forward(self, x, record):
        """x: [B, 2].  Returns [B]."""
        height = nn.functional.linear(x, self.weight, self.bias)[:, 0]
        record("height", height)
        return height


class Trainer:
    """One line and one step of descent."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = Line()
        self.weights, _ = framework.load(self.network, parameters, self.specification)

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        x, y = (batch[name].to(framework.dtype()) for name in ("x", "y"))
        loss = ((self.network(x, record) - y) ** 2).mean()
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        return loss.detach(), dict(zip(self.weights, gradients))

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient}."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def train_step(self, batch, step):
        """One step.  Returns the loss."""
        loss, gradients = self.differentiate(framework.put(batch), ignore)
        with torch.no_grad():
            for name, gradient in framework.average(gradients).items():
                self.weights[name] -= learning_rate(self.config, step) * gradient
        return loss

    def predict(self, batch):
        """Heights, on the host."""
        return self.evaluate(batch)[0]

    @torch.no_grad()
    def evaluate(self, batch):
        """The heights, see predict."""
        x = framework.put(batch)["x"].to(framework.dtype())
        return (framework.get(self.network(x, ignore)),)

    def state(self):
        """{group: {name: array}}."""
        return framework.dump_state(self.network, {}, self.specification)

    def load_state(self, state):
        """Takes back what `state` gave."""
        framework.load_state(self.network, {}, self.specification, state)


def main(config):
    """Trains until the target is met or the epochs are over.  Returns success or aborted."""
    with Run(config, BENCHMARK, framework) as run:
        trainer = Trainer(config, initial_parameters(config))
        run.restore(trainer)
        for epoch in run.epochs():
            for batch in run.batches(data.batches(config, "train", epoch)):
                run.step(trainer.train_step(batch, run.steps))
            run.evaluate(trainer.predict, data.batches(config, "test", epoch))
        return run.status
