"""Trains Deep Speech 2 in TensorFlow to the target word error rate."""

import tensorflow as tf

from common.frameworks import tensorflow as framework
from common.parameters import ignore, keep
from common.run import Run
from speech_recognition import data
from speech_recognition.benchmark import BENCHMARK
from speech_recognition.config import learning_rate
from speech_recognition.decoding import decode
from speech_recognition.features import NUM_BINS
from speech_recognition.parameters import initial_parameters, specification

from .model import DeepSpeech, ctc_loss, utterances

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "accum"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's decoding."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = DeepSpeech(config)
        self.weights, self.statistics = framework.load(self.network, parameters, self.specification)
        self.optimizer = framework.Momentum(
            self.weights,
            momentum=config.momentum,
            nesterov=True,
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        # One graph for all shapes: a graph for one may round otherwise, and a resumed run starts
        # with another shape than the first.
        batch = {
            "spectrograms": tf.TensorSpec([None, None, NUM_BINS], tf.float32),
            "steps": tf.TensorSpec([1], tf.int32),
            "lengths": tf.TensorSpec([None], tf.int32),
            "labels": tf.TensorSpec([None, None], tf.int32),
        }
        number = tf.TensorSpec([], framework.dtype())
        self.gradients = framework.compiled(self.gradients, config, [batch])
        self.step_on_device = framework.compiled(self.step_on_device, config, [batch, number])
        self.evaluate_on_device = framework.compiled(self.evaluate_on_device, config, [batch])

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits = self.network(batch["spectrograms"], batch["steps"], True, record)
        logits = tf.cast(logits, framework.dtype())
        return ctc_loss(logits, batch["labels"], batch["lengths"])

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        with tf.GradientTape() as tape:
            loss = self.loss(batch, record)
        gradients = tape.gradient(
            loss,
            list(self.weights.values()),
            # Zeros for a bias that batch norm takes out.
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return loss, dict(zip(self.weights, gradients))

    def update(self, gradients, rate):
        """Nesterov's momentum: v = momentum v + g, w = w - rate (g + momentum v).

        g is the gradient times min(1, clip_norm / (norm of all gradients together + 1e-6)).
        """
        gradients = {name: gradients[name] for name in self.weights}
        norm = tf.linalg.global_norm(list(gradients.values()))
        share = tf.minimum(self.config.clip_norm / (norm + 1e-6), 1.0)
        self.optimizer.learning_rate = rate
        self.optimizer.step({name: share * gradient for name, gradient in gradients.items()})

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        count = utterances(batch["lengths"])  # by them a process weighs
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
            self.statistics,  # they travel along: no message more
        )
        self.update(means, rate)
        framework.assign(self.statistics, means)
        return loss

    def predict(self, batch):
        """The symbols heard in each utterance.  Returns int64 [B, T], zeros behind their end."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """Symbols, see predict, and the logarithm of their probability, float [B]; on the host."""
        found = framework.get(self.evaluate_on_device(framework.put(batch)))
        return decode(self.config, found, batch["lengths"])

    def evaluate_on_device(self, batch):
        """Log-probability of each symbol in each step, [B, T, S]."""
        with framework.autocast(self.config):
            logits = self.network(batch["spectrograms"], batch["steps"], False, ignore)
        logits = tf.cast(logits, framework.dtype())
        return tf.transpose(tf.nn.log_softmax(logits, axis=2), [1, 0, 2])

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
