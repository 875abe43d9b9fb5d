"""Trains Deep Speech 2 in PyTorch to the target word error rate."""

import torch

from common.frameworks import pytorch as framework
from common.parameters import ignore, keep
from common.run import Run
from speech_recognition import data
from speech_recognition.benchmark import BENCHMARK
from speech_recognition.config import learning_rate
from speech_recognition.decoding import decode
from speech_recognition.parameters import initial_parameters, specification

from .model import DeepSpeech, ctc_loss, utterances

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "momentum_buffer"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's decoding."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = DeepSpeech(config)
        self.weights, self.statistics = framework.load(self.network, parameters, self.specification)
        self.optimizer = torch.optim.SGD(
            self.weights.values(),
            lr=0.0,
            momentum=config.momentum,
            nesterov=True,
            foreach=True,  # the fused kernel takes gradients to lie in memory as weights do
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits = self.network(batch["spectrograms"], batch["steps"], True, record)
        logits = logits.to(framework.dtype())
        return ctc_loss(logits, batch["labels"], batch["lengths"])

    def gradients(self, batch):
        """Returns the loss, the named activations, and {name: gradient} on this process's part."""
        points = {}
        loss, gradients = self.differentiate(batch, keep(points))
        return loss, points, gradients

    def differentiate(self, batch, record):
        """Returns the loss and {name: gradient}."""
        loss = self.loss(batch, record)
        gradients = torch.autograd.grad(
            loss,
            list(self.weights.values()),
            materialize_grads=True,  # zeros for a bias that batch norm takes out
        )
        return loss.detach(), dict(zip(self.weights, gradients))

    def update(self, gradients, rate):
        """Nesterov's momentum: v = momentum v + g, w = w - rate (g + momentum v).

        g is the gradient times min(1, clip_norm / (norm of all gradients together + 1e-6)).
        """
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip_norm, foreach=True)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

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
        with torch.no_grad():
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

    @torch.no_grad()
    def evaluate_on_device(self, batch):
        """Log-probability of each symbol in each step, [B, T, S]."""
        with framework.autocast(self.config):
            logits = self.network(batch["spectrograms"], batch["steps"], False, ignore)
        return logits.to(framework.dtype()).log_softmax(dim=2).transpose(0, 1)

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
