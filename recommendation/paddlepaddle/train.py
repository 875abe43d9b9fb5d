"""Trains NeuMF in PaddlePaddle to the target hit rate."""

import paddle

from common.frameworks import paddlepaddle as framework
from common.parameters import ignore, keep
from common.run import Run
from recommendation import data
from recommendation.benchmark import BENCHMARK
from recommendation.config import learning_rate
from recommendation.parameters import initial_parameters, specification

from .model import NeuMF, binary_cross_entropy

# The names that the optimizer has for its sums.
SLOTS = {"first_moment": "moment1", "second_moment": "moment2"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's forward pass."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = NeuMF(config)
        self.weights, _ = framework.load(self.network, parameters, self.specification)
        self.optimizer = paddle.optimizer.Adam(
            learning_rate=0.0,
            beta1=config.adam_beta1,
            beta2=config.adam_beta2,
            epsilon=config.adam_epsilon,
            parameters=list(self.weights.values()),
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits = self.network(batch["users"], batch["items"], record)
        logits = logits.astype(framework.dtype())
        labels = batch["labels"].astype(framework.dtype())
        return binary_cross_entropy(logits, labels)

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        loss = self.loss(batch, record)
        self.optimizer.clear_grad(set_to_zero=False)
        loss.backward()
        return loss.detach(), {name: weight.grad for name, weight in self.weights.items()}

    def update(self, gradients, rate, step):
        """Adam, dense.  Kingma & Ba 2015, algorithm 1; g is the gradient, t = step + 1:

        m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
        w = w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
        """
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        framework.set_step(self.optimizer, self.weights, step)
        self.optimizer.set_lr(rate)
        self.optimizer.step()

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate, framework.scalar(step))

    def step_on_device(self, batch, rate, step):
        """What train_step does on the device."""
        count = batch["labels"].shape[0]  # a process weighs by its examples
        loss, gradients = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
        )
        with paddle.no_grad():
            self.update(gradients, rate, step)
        return loss

    def predict(self, batch):
        """A score for each candidate of each user.  Returns float [B, N + 1], on the host."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """The scores, see predict."""
        return (framework.get(self.evaluate_on_device(framework.put(batch))),)

    @paddle.no_grad()
    def evaluate_on_device(self, batch):
        """What evaluate does on the device.  Logits: the sigmoid would rank them alike."""
        items = batch["items"]  # [B, N + 1]
        users = batch["users"][:, None].expand(items.shape)  # [B, N + 1]
        with framework.autocast(self.config):
            logits = self.network(users.reshape(-1), items.reshape(-1), ignore)  # [B (N + 1)]
        return logits.reshape(items.shape)

    def state(self):
        """{group: {name: array}} of all that a checkpoint holds, in canonical names and layouts."""
        return framework.dump_state(self.network, self.sums, self.specification)

    def load_state(self, state):
        """Takes back what `state` gave, here or in another framework."""
        framework.load_state(self.network, self.sums, self.specification, state)


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
