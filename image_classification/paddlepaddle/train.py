"""Trains ResNet in PaddlePaddle to the target accuracy."""

import paddle

from common.frameworks import paddlepaddle as framework
from common.parameters import ignore, keep
from common.run import Run
from image_classification import data
from image_classification.benchmark import BENCHMARK
from image_classification.config import learning_rate
from image_classification.parameters import initial_parameters, specification

from .model import ResNet, cross_entropy, normalize

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "velocity"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's forward pass."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = ResNet(config)
        self.weights, self.statistics = framework.load(self.network, parameters, self.specification)
        self.optimizer = paddle.optimizer.Momentum(
            learning_rate=0.0, momentum=config.momentum, parameters=list(self.weights.values())
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        images = normalize(batch["images"], self.network.mean_rgb)
        with framework.autocast(self.config):
            logits = self.network(images, True, record)
        logits = logits.astype(framework.dtype())
        return cross_entropy(logits, batch["labels"], self.config.label_smoothing)

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        loss = self.loss(batch, record)
        # backward, not paddle.grad: that takes 1.2 times as long for a step of ResNet-50.
        self.optimizer.clear_grad(set_to_zero=False)
        loss.backward()
        return loss.detach(), {name: weight.grad for name, weight in self.weights.items()}

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
            elif decay:
                gradient = gradient + decay * weight
            weight.grad = gradient
        self.optimizer.set_lr(1.0 if lars else rate)
        self.optimizer.step()

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        count = batch["labels"].shape[0]  # a process weighs by its examples
        # The moving statistics travel with the gradients: no message more.  Evaluation and saving
        # alone need their means; but a checkpoint, which one process writes at any step, would not
        # hold each process's own, and a run resumed from it would go another way.
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
            self.statistics,
        )
        with paddle.no_grad():
            self.update(means, rate)
            framework.assign(self.statistics, means)
        return loss

    def predict(self, batch):
        """The likeliest class of each image.  Returns int64 [B], on the host."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """Classes, see predict, and the logits of each, float [B, K]; both on the host."""
        return tuple(map(framework.get, self.evaluate_on_device(framework.put(batch))))

    @paddle.no_grad()
    def evaluate_on_device(self, batch):
        """What evaluate does on the device."""
        images = normalize(batch["images"], self.network.mean_rgb)
        with framework.autocast(self.config):
            logits = self.network(images, False, ignore)
        return logits.argmax(axis=1), logits

    def state(self):
        """{group: {name: array}} of all that a checkpoint holds, in canonical names and layouts."""
        return framework.dump_state(self.network, self.sums, self.specification)

    def load_state(self, state):
        """Takes back what `state` gave, here or in another framework."""
        framework.load_state(self.network, self.sums, self.specification, state)


def lars_trust(config, weight, gradient):
    """The layer's own rate: trust |w| / (|g| + decay |w|); 1 where a norm is 0."""
    # Its norm adds square after square: in float32 0.1 % too little for the largest weights.
    weight_norm = weight.square().sum().sqrt()
    gradient_norm = gradient.square().sum().sqrt()
    rate = config.lars_trust * weight_norm / (gradient_norm + config.weight_decay * weight_norm)
    return paddle.where((weight_norm > 0) & (gradient_norm > 0), rate, paddle.ones_like(rate))


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
