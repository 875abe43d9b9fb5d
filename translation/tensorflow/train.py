"""Trains the Transformer in TensorFlow to the target BLEU."""

import tensorflow as tf

from common.frameworks import tensorflow as framework
from common.parameters import ignore, keep
from common.run import Run
from translation import data
from translation.beam_search import decode
from translation.benchmark import BENCHMARK
from translation.config import learning_rate
from translation.formulas import dropout_of
from translation.parameters import initial_parameters, specification

from .model import Transformer, best_extensions, smoothed_cross_entropy

# The names that the optimizer has for its sums.
SLOTS = {"first_moment": "m", "second_moment": "v"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's decoding."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = Transformer(config)
        self.weights, _ = framework.load(self.network, parameters, self.specification)
        self.optimizer = framework.Adam(
            self.weights,
            beta1=config.adam_beta1,
            beta2=config.adam_beta2,
            epsilon=config.adam_epsilon,
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        # One graph for all shapes: a graph for one may round otherwise, and a resumed run starts
        # with another shape than the first.
        pieces = tf.TensorSpec([None, None], tf.int32)
        batch = {"sources": pieces, "targets": pieces}
        number = tf.TensorSpec([], framework.dtype())
        self.gradients = framework.compiled(self.gradients, config)
        self.step_on_device = framework.compiled(
            self.step_on_device, config, [batch, number, number]
        )
        # Not through XLA: it would compile anew for each length of the past.
        self.start = tf.function(self.start, reduce_retracing=True, autograph=False)
        self.extend = tf.function(self.extend, reduce_retracing=True, autograph=False)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the sum of the losses; record sees the activations."""
        dropout = dropout_of(self.config, batch)
        with framework.autocast(self.config):
            logits = self.network(batch["sources"], batch["targets"], dropout, record)
        logits = tf.cast(logits, framework.dtype())
        return smoothed_cross_entropy(logits, batch["targets"], self.config.label_smoothing)

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def count(self, batch):
        """How many pieces are to be found, by which losses are averaged.  0 for an empty share."""
        return tf.reduce_sum(tf.cast(batch["targets"] != 0, framework.dtype()))

    def differentiate(self, batch, record):
        """Returns the loss a piece and {name: gradient}.  Of an empty share both are 0."""
        count = self.count(batch)
        count = tf.maximum(count, 1.0)
        with tf.GradientTape() as tape:
            loss = self.loss(batch, record) / count
        gradients = tape.gradient(loss, list(self.weights.values()))
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]  # dense
        return loss, dict(zip(self.weights, gradients))

    def update(self, gradients, rate, step):
        """Adam.  Kingma & Ba 2015, algorithm 1; g is the gradient, t = step + 1:

        m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
        w = w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
        """
        framework.set_step(self.optimizer, self.weights, step)
        self.optimizer.learning_rate = rate
        self.optimizer.step(gradients)

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        framework.seed(self.config.seed, step)  # of dropout
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate, framework.scalar(step))

    def step_on_device(self, batch, rate, step):
        """What train_step does on the device."""
        count = self.count(batch)  # a process weighs by its pieces
        loss, gradients = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            count,
        )
        self.update(gradients, rate, step)
        return loss

    def predict(self, batch):
        """The likeliest translation of each source.  Returns int64 [B, L], zeros after its end."""
        return self.evaluate(batch)[0]

    def evaluate(self, batch):
        """Translations, see predict, and their scores, float [B]; both on the host."""
        return decode(self.config, framework, batch["sources"], self.start, self.extend)

    def start(self, sources):
        """Encodes the sources.  Returns what every `extend` needs: memories, mask, past."""
        with framework.autocast(self.config):
            return self.network.start(sources, self.config.beam_size)

    def extend(self, beams, memories, mask, past):
        """One piece more in every beam.  Returns the best ways on, and the past."""
        with framework.autocast(self.config):
            logits, past = self.network.extend(
                beams["pieces"], beams["parents"], memories, mask, past
            )
        logits = tf.cast(logits, framework.dtype())
        return best_extensions(logits, tf.cast(beams["scores"], framework.dtype())), past

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
