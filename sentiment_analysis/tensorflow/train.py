"""Trains the sequence CNN in TensorFlow to the target accuracy."""

import tensorflow as tf

from common.frameworks import tensorflow as framework
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
        # One graph for all shapes: a graph for one may round otherwise, and a resumed run starts
        # with another shape than the first.
        batch = {
            "tokens": tf.TensorSpec([None], tf.int32),
            "blocks": tf.TensorSpec([None, None], tf.int32),
            "seen": tf.TensorSpec([config.vocabulary_size], tf.bool),
            "labels": tf.TensorSpec([None], tf.int64),
        }
        rate = tf.TensorSpec([], framework.dtype())
        self.gradients = framework.compiled(self.gradients, config, [batch])
        self.step_on_device = framework.compiled(self.step_on_device, config, [batch, rate])
        self.evaluate_on_device = framework.compiled(self.evaluate_on_device, config, [batch])

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits = self.network(batch["tokens"], batch["blocks"], record)
        logits = tf.cast(logits, framework.dtype())
        return cross_entropy(logits, batch["labels"])

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        with tf.GradientTape() as tape:
            loss = self.loss(batch, record)
        gradients = tape.gradient(loss, list(self.weights.values()))
        return loss, dict(zip(self.weights, gradients))

    def update(self, gradients, seen, rate):
        """Adam: m = b1 m + (1 - b1) g, s = b2 s + (1 - b2) g g, w = w - rate m / (sqrt(s) + eps).

        The rate holds the bias corrections.  seen: [words], above 0 for a word of the batch: the
        embedding's other rows stay as they are, their m and s too, as with fluid's sparse gradient.
        """
        beta1, beta2 = self.config.adam_beta1, self.config.adam_beta2
        rows = tf.cast(seen > 0, seen.dtype)[:, None]  # [words, 1]
        for name, weight in self.weights.items():
            gradient = gradients[name]
            first, second = self.sums["first_moment"][name], self.sums["second_moment"][name]
            share = rows if name == "embedding.weight" else 1.0
            first.assign_add(share * (1.0 - beta1) * (gradient - first))
            second.assign_add(share * (1.0 - beta2) * (gradient * gradient - second))
            weight.assign_sub(share * rate * first / (tf.sqrt(second) + self.config.adam_epsilon))

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        count = tf.size(batch["labels"])  # a process weighs by its examples
        seen = tf.cast(batch["seen"], framework.dtype())
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
            {"seen": seen},
        )
        self.update(means, means["seen"], rate)
        return loss

    def predict(self, batch):
        """The likelier class of each review.  Returns int64 [B], on the host."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """Classes, see predict, and the logits of each, float [B, K]; both on the host."""
        return tuple(map(framework.get, self.evaluate_on_device(framework.put(batch))))

    def evaluate_on_device(self, batch):
        """What evaluate does on the device."""
        with framework.autocast(self.config):
            logits = self.network(batch["tokens"], batch["blocks"], ignore)
        return tf.argmax(logits, axis=1), logits

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
