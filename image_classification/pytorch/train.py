"""Trains ResNet in PyTorch to the target accuracy."""

import torch

from common.frameworks import pytorch as framework
from common.parameters import ignore, keep
from common.run import Run
from image_classification import data
from image_classification.benchmark import BENCHMARK
from image_classification.config import learning_rate
from image_classification.parameters import initial_parameters, specification

from .model import ResNet, cross_entropy, normalize

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "momentum_buffer"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's forward pass."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = ResNet(config)
        self.weights, self.statistics = framework.load(self.network, parameters, self.specification)
        # Fused reads each weight, gradient and sum once, the decay included; LARS has its own.
        decay = 0.0 if config.optimizer == "lars" else config.weight_decay
        groups = {decayed: [] for decayed in (True, False)}
        for name, weight in self.weights.items():
            groups[self.specification[name].decayed].append(weight)
        groups = [{"params": groups[d], "weight_decay": decay * d} for d in groups]
        self.optimizer = torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, fused=True)
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        images = normalize(batch["images"], self.network.mean_rgb)
        with framework.autocast(self.config):
            logits = self.network(images, True, record)
        logits = logits.to(framework.dtype())
        return cross_entropy(logits, batch["labels"], self.config.label_smoothing)

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        loss = self.loss(batch, record)
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        return loss.detach(), dict(zip(self.weights, gradients))

    def update(self, gradients, rate):
        """Momentum: v = momentum v + g, w = w - rate v, with g = gradient + decay w.

        lars (You et al. 2017, eq. 6 and 7) puts a rate of each tensor's own inside v; it leaves
        vectors undecayed, at the plain rate.
        """
        lars = self.config.optimizer == "lars"
        for name, weight in self.weights.items():
            gradient = gradients[name]
            decay = self.config.weight_decay if self.specification[name].decayed else 0.0
            if lars and weight.ndim == 1:
                gradient = rate * gradient
            elif lars:
                trust = lars_trust(self.config, weight, gradient)
                gradient = rate * trust * (gradient + decay * weight)
            weight.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = 1.0 if lars else rate
        self.optimizer.step()

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        count = len(batch["labels"])  # a process weighs by its examples
        # The moving statistics travel with the gradients: no message more.  Evaluation and saving
        # alone need their means; but a checkpoint, which one process writes at any step, would not
        # hold each process's own, and a run resumed from it would go another way.
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
            self.statistics,
        )
        with torch.no_grad():
            self.update(means, rate)
            framework.assign(self.statistics, means)
        return loss

    def predict(self, batch):
        """The likeliest class of each image.  Returns int64 [B], on the host."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """Classes, see predict, and the logits of each, float [B, K]; both on the host."""
        return tuple(map(framework.get, self.evaluate_on_device(framework.put(batch))))

    @torch.no_grad()
    def evaluate_on_device(self, batch):
        """What evaluate does on the device."""
        images = normalize(batch["images"], self.network.mean_rgb)
        with framework.autocast(self.config):
            logits = self.network(images, False, ignore)
        return logits.argmax(dim=1), logits

    def state(self):
        """{group: {name: array}} of all that a checkpoint holds, in canonical names and layouts."""
        return framework.dump_state(self.network, self.sums, self.specification)

    def load_state(self, state):
        """Takes back what `state` gave, here or in another framework."""
        framework.load_state(self.network, self.sums, self.specification, state)


def lars_trust(config, weight, gradient):
    """The layer's own rate: trust |w| / (|g| + decay |w|); 1 where a norm is 0."""
    weight_norm = weight.square().sum().sqrt()  # vector_norm is 1e-4 off
    gradient_norm = gradient.square().sum().sqrt()
    rate = config.lars_trust * weight_norm / (gradient_norm + config.weight_decay * weight_norm)
    return torch.where((weight_norm > 0) & (gradient_norm > 0), rate, torch.ones_like(rate))


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
