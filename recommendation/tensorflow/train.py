"""Trains NeuMF in TensorFlow to the target hit rate."""

import tensorflow as tf

from common.frameworks import tensorflow as framework
from common.parameters import ignore
from common.run import Run
from recommendation import data
from recommendation.config import learning_rate
from recommendation.parameters import OPTIMIZER_SUMS, initial_parameters, specification
from recommendation.quality import QUALITY
from recommendation.tensorflow.model import NeuMF, binary_cross_entropy


class Trainer:
    """One network, its optimizer, one step, and the evaluation's forward pass."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = NeuMF(config)
        framework.load(self.network, parameters, self.specification)
        self.weights, _ = framework.split(self.network, self.specification)
        self.optimizer = {slot: framework.zeros_like(self.weights) for slot in OPTIMIZER_SUMS}
        self.gradients = framework.compiled(self.gradients, config)
        self.compiled_step = framework.compiled(self.compiled_step, config)
        self.compiled_predict = framework.compiled(self.compiled_predict, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        logits = self.network(batch["users"], batch["items"], record)
        logits = tf.cast(logits, framework.dtype())
        labels = tf.cast(batch["labels"], framework.dtype())
        return binary_cross_entropy(logits, labels)

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, points.__setitem__)
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        with tf.GradientTape() as tape:
            loss = self.loss(batch, record)
        gradients = tape.gradient(loss, list(self.weights.values()))
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]  # dense
        return loss, dict(zip(self.weights, gradients))

    def update(self, gradients, rate, step):
        """Adam, dense.  Kingma & Ba 2015, algorithm 1; g is the gradient, t = step + 1:

        m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
        w = w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
        """
        power1 = self.config.adam_beta1 ** (step + 1.0)
        power2 = self.config.adam_beta2 ** (step + 1.0)
        for name, weight in self.weights.items():
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=self.optimizer["first_moment"][name].handle,
                v=self.optimizer["second_moment"][name].handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=rate,
                beta1=tf.constant(self.config.adam_beta1, framework.dtype()),
                beta2=tf.constant(self.config.adam_beta2, framework.dtype()),
                # The kernel adds epsilon to the uncorrected root of v.
                epsilon=self.config.adam_epsilon * tf.sqrt(1.0 - power2),
                grad=gradients[name],
            )

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = tf.constant(learning_rate(self.config, step), framework.dtype())
        return self.compiled_step(framework.put(batch), rate, tf.constant(step, framework.dtype()))

    def compiled_step(self, batch, rate, step):
        """What train_step does on the device."""
        loss, gradients = self.differentiate(batch, ignore)
        self.update(framework.average(gradients), rate, step)
        return loss

    def predict(self, batch):
        """A score for each candidate of each user.  Returns float [B, N + 1], on the host."""
        return framework.get(self.compiled_predict(framework.put(batch)))

    def compiled_predict(self, batch):
        """What predict does on the device.  Logits: the sigmoid would rank them alike."""
        items = batch["items"]  # [B, N + 1]
        users = tf.broadcast_to(batch["users"][:, None], tf.shape(items))  # [B, N + 1]
        logits = self.network(tf.reshape(users, [-1]), tf.reshape(items, [-1]), ignore)
        return tf.reshape(logits, tf.shape(items))

    def state(self):
        """{name: array} of all that a checkpoint holds, in canonical names and layouts."""
        return {
            "parameter": framework.dump(self.network, self.specification),
            "first_moment": framework.dump_slot(
                self.optimizer, "first_moment", self.weights, self.specification
            ),
            "second_moment": framework.dump_slot(
                self.optimizer, "second_moment", self.weights, self.specification
            ),
        }

    def load_state(self, state):
        """Takes back what `state` gave, here or in another framework."""
        first, second = state["first_moment"], state["second_moment"]
        framework.load(self.network, state["parameter"], self.specification)
        framework.load_slot(
            self.optimizer, "first_moment", self.weights, self.specification, first
        )
        framework.load_slot(
            self.optimizer, "second_moment", self.weights, self.specification, second
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
