"""Trains the sequence CNN in PaddlePaddle to the target accuracy."""

import paddle

from common.frameworks import paddlepaddle as framework
from common.parameters import ignore, keep
from common.run import Run
from sentiment_analysis import data
from sentiment_analysis.benchmark import BENCHMARK
from sentiment_analysis.config import learning_rate
from sentiment_analysis.parameters import initial_parameters, specification

from .model import SequenceCNN, cross_entropy


class Trainer:
    """One network, its optimizer, one step, and the evaluation's forward pass."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = SequenceCNN(config)
        self.weights, _ = framework.load(self.network, parameters, self.specification)
        self.sums = framework.make_sums(None, self.weights, BENCHMARK.optimizer_sums)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits = self.network(batch["tokens"], batch["blocks"], record)
        logits = logits.astype(framework.dtype())
        return cross_entropy(logits, batch["labels"])

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        loss = self.loss(batch, record)
        gradients = paddle.grad(loss, list(self.weights.values()))
        return loss.detach(), dict(zip(self.weights, gradients))

    def update(self, gradients, seen, rate):
        """Adam: m = b1 m + (1 - b1) g, s = b2 s + (1 - b2) g g, w = w - rate m / (sqrt(s) + eps).

        The rate holds the bias corrections.  seen: [words], above 0 for a word of the batch: the
        embedding's other rows stay as they are, their m and s too, as with fluid's sparse gradient.
        """
        beta1, beta2 = self.config.adam_beta1, self.config.adam_beta2
        rows = (seen > 0).astype(seen.dtype)[:, None]  # [words, 1]
        for name, weight in self.weights.items():
            gradient = gradients[name]
            first, second = self.sums["first_moment"][name], self.sums["second_moment"][name]
            share = rows if name == "embedding.weight" else 1.0
            first.add_(share * (1.0 - beta1) * (gradient - first))
            second.add_(share * (1.0 - beta2) * (gradient * gradient - second))
            weight.subtract_(share * rate * first / (second.sqrt() + self.config.adam_epsilon))

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        count = batch["labels"].shape[0]  # a process weighs by its examples
        seen = batch["seen"].astype(framework.dtype())
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
            {"seen": seen},
        )
        with paddle.no_grad():
            self.update(means, means["seen"], rate)
        return loss

    def predict(self, batch):
        """The likelier class of each review.  Returns int64 [B], on the host."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """Classes, see predict, and the logits of each, float [B, K]; both on the host."""
        return tuple(map(framework.get, self.evaluate_on_device(framework.put(batch))))

    @paddle.no_grad()
    def evaluate_on_device(self, batch):
        """What evaluate does on the device."""
        with framework.autocast(self.config):
            logits = self.network(batch["tokens"], batch["blocks"], ignore)
        return logits.argmax(axis=1), logits

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
