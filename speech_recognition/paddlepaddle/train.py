"""Trains Deep Speech 2 in PaddlePaddle to the target word error rate."""

import paddle
import paddle.nn.functional as F

from common.errors import UserError
from common.frameworks import paddlepaddle as framework
from common.parameters import ignore, keep
from common.run import Run
from speech_recognition import data
from speech_recognition.benchmark import BENCHMARK
from speech_recognition.config import is_fused, learning_rate
from speech_recognition.decoding import decode
from speech_recognition.parameters import initial_parameters, specification

from .model import DeepSpeech, ctc_loss, utterances

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "velocity"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's decoding."""

    def __init__(self, config, parameters):
        if config.compile and not is_fused(config):  # 200 s for each shape at the published size
            raise UserError(
                "--compile: PaddlePaddle would write out every step of the recurrent layers. Add "
                "--set=recurrence=fused, or leave it."
            )
        self.config = config
        self.specification = specification(config)
        self.network = DeepSpeech(config)
        self.weights, self.statistics = framework.load(self.network, parameters, self.specification)
        self.optimizer = paddle.optimizer.Momentum(
            learning_rate=0.0,
            momentum=config.momentum,
            parameters=list(self.weights.values()),
            use_nesterov=True,
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits = self.network(batch["spectrograms"], batch["steps"], True, record)
        logits = logits.astype(framework.dtype())
        return ctc_loss(logits, batch["labels"], batch["lengths"])

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
        for weight in self.weights.values():
            if weight.grad is None:  # of a bias that batch norm takes out
                weight.grad = paddle.zeros_like(weight)
        return loss.detach(), {name: weight.grad for name, weight in self.weights.items()}

    def update(self, gradients, rate):
        """Nesterov's momentum: v = momentum v + g, w = w - rate (g + momentum v).

        g is the gradient times min(1, clip_norm / (norm of all gradients together + 1e-6)).
        """
        # Its clip_grad_norm_ adds square after square: 0.2 % too little at the published size.
        squares = [gradients[name].square().sum() for name in self.weights]
        norm = paddle.stack(squares).sum().sqrt()
        share = (self.config.clip_norm / (norm + 1e-6)).clip(max=1.0)
        for name, weight in self.weights.items():
            weight.grad = gradients[name].multiply_(share)
        self.optimizer.set_lr(rate)
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
        with paddle.no_grad():
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

    @paddle.no_grad()
    def evaluate_on_device(self, batch):
        """Log-probability of each symbol in each step, [B, T, S]."""
        with framework.autocast(self.config):
            logits = self.network(batch["spectrograms"], batch["steps"], False, ignore)
        return F.log_softmax(logits.astype(framework.dtype()), axis=2).transpose(0, 1)

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
