"""Trains Minigo in PyTorch to the target share of predicted moves, or of games won."""

import torch

from common.frameworks import pytorch as framework
from common.parameters import ignore, keep
from common.run import Run
from reinforcement import data, gating, prediction, selfplay
from reinforcement.benchmark import BENCHMARK
from reinforcement.config import learning_rate
from reinforcement.parameters import initial_parameters, specification

from .model import Minigo, losses

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "momentum_buffer"}


class Trainer:
    """One network, its optimizer, one step, and what the search asks of it."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = Minigo(config)
        self.weights, self.statistics = framework.load(self.network, parameters, self.specification)
        # Fused reads each weight, gradient and sum once, the decay included.
        groups = {decayed: [] for decayed in (True, False)}
        for name, weight in self.weights.items():
            groups[self.specification[name].decayed].append(weight)
        groups = [{"params": groups[d], "weight_decay": config.weight_decay * d} for d in groups]
        self.optimizer = torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, fused=True)
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            logits, values = self.network(batch["planes"], True, record)
        policy, winner = (batch[name].to(framework.dtype()) for name in ("policy", "winner"))
        cross_entropy, squared_error = losses(logits, values, policy, winner)
        return cross_entropy + squared_error

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
        """Momentum: v = momentum v + g, w = w - rate v, with g = gradient + decay w."""
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        count = len(batch["winner"])  # a process weighs by its examples
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

    def infer(self, planes):
        """What the network says of positions: uint8 [B, S, S, 17], see features.py.

        Returns the moves' probabilities [B, A] and the values [B], on the host.
        """
        batch = framework.put({"planes": planes})
        return tuple(map(framework.get, self.infer_on_device(batch["planes"])))

    @torch.inference_mode()
    def infer_on_device(self, planes):
        """What infer does on the device."""
        with framework.autocast(self.config):
            logits, values = self.network(planes, False, ignore)
        return logits.softmax(dim=1), values

    def predict(self, batch):
        """Moves that the search chooses, or games' winners: see data.ask.  Returns int64 [B]."""
        return prediction.answers(self.config, self.infer, batch)

    def evaluate(self, batch):
        """Moves of positions, the visits of each move, int32 [B, A], and values, float64 [B]."""
        return prediction.choose(self.config, self.infer, batch)

    def state(self):
        """{group: {name: array}} of all that a checkpoint holds, in canonical names and layouts."""
        return framework.dump_state(self.network, self.sums, self.specification)

    def load_state(self, state):
        """Takes back what `state` gave, here or in another framework."""
        framework.load_state(self.network, self.sums, self.specification, state)


def main(config):
    """Trains until the target is met or the generations are over.  Returns success or aborted.

    A generation: gating, self-play, training, prediction.  The gating that ends one by the rules
    stands at the start of the next, so that none is played once the target is met.
    """
    with Run(config, BENCHMARK, framework) as run:
        trainer = Trainer(config, initial_parameters(config))
        player = Trainer(config, initial_parameters(config))  # the best network so far
        run.restore(trainer)
        for generation in run.epochs():
            run.note(gating.promote(run, trainer, player, generation))
            run.note(selfplay.play(run, player, generation))
            for batch in run.batches(data.batches(config, "train", generation)):
                run.step(trainer.train_step(batch, run.steps))
            run.evaluate(trainer.predict, data.batches(config, "test", generation))
        return run.status
