"""Trains NeuMF in PaddlePaddle to the target hit rate."""

import paddle

from common.frameworks import paddlepaddle as framework
from common.parameters import ignore
from common.run import Run
from recommendation import data
from recommendation.config import learning_rate
from recommendation.paddlepaddle.model import NeuMF, binary_cross_entropy
from recommendation.parameters import initial_parameters, specification
from recommendation.quality import QUALITY


class Trainer:
    """One network, its optimizer, one step, and the evaluation's forward pass."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = NeuMF(config)
        framework.load(self.network, parameters, self.specification)
        self.weights, _ = framework.split(self.network, self.specification)
        self.optimizer = paddle.optimizer.Adam(
            learning_rate=0.0,
            beta1=config.adam_beta1,
            beta2=config.adam_beta2,
            epsilon=config.adam_epsilon,
            parameters=list(self.weights.values()),
        )
        for weight in self.weights.values():  # a step of nothing: it makes the slots to be loaded
            weight.grad = paddle.zeros_like(weight)
        self.optimizer.step()
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
        loss, gradients = self.differentiate(batch, points.__setitem__)
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
        powers = {
            "beta1_pow_acc": self.config.adam_beta1 ** (step + 1),
            "beta2_pow_acc": self.config.adam_beta2 ** (step + 1),
        }
        for slot, power in powers.items():
            framework.fill_slot(self.optimizer, slot, self.weights, power)
        self.optimizer.set_lr(rate)
        self.optimizer.step()

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        return self.compiled_step(framework.put(batch), learning_rate(self.config, step), step)

    def compiled_step(self, batch, rate, step):
        """What train_step does on the device."""
        loss, gradients = self.differentiate(batch, ignore)
        with paddle.no_grad():
            self.update(framework.average(gradients), rate, step)
        return loss

    def predict(self, batch):
        """A score for each candidate of each user.  Returns float [B, N + 1], on the host."""
        return framework.get(self.compiled_predict(framework.put(batch)))

    @paddle.no_grad()
    def compiled_predict(self, batch):
        """What predict does on the device.  Logits: the sigmoid would rank them alike."""
        items = batch["items"]  # [B, N + 1]
        users = batch["users"][:, None].expand(items.shape)  # [B, N + 1]
        with framework.autocast(self.config):
            logits = self.network(users.reshape(-1), items.reshape(-1), ignore)  # [B (N + 1)]
        return logits.reshape(items.shape)

    def state(self):
        """{name: array} of all that a checkpoint holds, in canonical names and layouts."""
        return {
            "parameter": framework.dump(self.network, self.specification),
            "first_moment": framework.dump_slot(
                self.optimizer, "moment1", self.weights, self.specification
            ),
            "second_moment": framework.dump_slot(
                self.optimizer, "moment2", self.weights, self.specification
            ),
        }

    def load_state(self, state):
        """Takes back what `state` gave, here or in another framework."""
        first, second = state["first_moment"], state["second_moment"]
        framework.load(self.network, state["parameter"], self.specification)
        framework.load_slot(
            self.optimizer, "moment1", self.weights, self.specification, first
        )
        framework.load_slot(
            self.optimizer, "moment2", self.weights, self.specification, second
        )


def main(config):
    """Trains until the target is met or the epochs are over.  Returns success or aborted."""
    with Run(config, QUALITY, framework) as run:
        trainer = Trainer(config, initial_parameters(config))
        run.restore(trainer)
        for epoch in run.epochs():
            for batch in run.batches(data.batches(config, "train", epoch)):
                run.step(trainer.train_step(batch, run.steps))
            run.evaluate(trainer.predict, data.batches(config, "test", epoch))
        return run.status
