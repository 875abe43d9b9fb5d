"""Trains Mask R-CNN in PaddlePaddle to the target box AP and mask AP."""

import paddle

from common.frameworks import paddlepaddle as framework
from common.parameters import ignore, keep
from common.run import Run
from object_detection import data
from object_detection.benchmark import BENCHMARK
from object_detection.boxes import choose
from object_detection.config import learning_rate
from object_detection.parameters import initial_parameters, specification

from .model import MaskRCNN, losses, masks_of, pictures, scored_regions

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "velocity"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's detections."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = MaskRCNN(config)
        self.weights, _ = framework.load(self.network, parameters, self.specification)
        decayed = [w for n, w in self.weights.items() if self.specification[n].decayed]
        biases = [w for n, w in self.weights.items() if not self.specification[n].decayed]
        self.optimizer = paddle.optimizer.Momentum(
            learning_rate=0.0,
            momentum=config.momentum,
            parameters=[
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": biases, "learning_rate": 2.0},  # times as large
            ],
        )
        self.sums = framework.make_sums(self.optimizer, self.weights, SLOTS)
        self.loss = framework.compiled(self.loss, config)

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            each = losses(self.network, batch, record)  # [5, B]
        weights = pictures(batch).astype(each.dtype)
        return (each.sum(axis=0) * weights).sum() / weights.sum().clamp(min=1.0)

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

    def update(self, gradients, rate):
        """Momentum: v = momentum v + g + decay w, w = w - rate v; biases: no decay, twice the rate.
        """
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        self.optimizer.set_lr(rate)
        self.optimizer.step()

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            pictures(batch).sum(),  # by them a process weighs
        )
        with paddle.no_grad():
            self.update(means, rate)
        return loss

    def predict(self, batch):
        """{name: array} of the detections in each picture, see evaluate; on the host."""
        return dict(zip(("boxes", "scores", "classes", "masks"), self.evaluate(batch)))

    def evaluate(self, batch):
        """The detections of each picture, by falling score, D = config.detections of them.

        Returns boxes [B, D, 4], x1, y1, x2, y2 in the resized picture, scores [B, D], classes
        int64 [B, D], 0 behind the last, and masks [B, D, 28, 28], of probabilities; then what was
        decided: proposals int64 [B, R], detections int64 [B, D].  All on the host.
        """
        maps, scores, boxes, proposals = self.score_on_device(framework.put(batch))
        *found, detections = choose(self.config, framework.get(scores), framework.get(boxes),
                                    batch.get("decision.detections"))  # fmt: skip
        masks = self.masks_on_device(maps, framework.put({"boxes": found[0], "classes": found[2]}))
        return *found, framework.get(masks), framework.get(proposals), detections

    @paddle.no_grad()
    def score_on_device(self, batch):
        """The maps, the scores and boxes of all regions for all classes, and the proposals."""
        with framework.autocast(self.config):
            return scored_regions(self.network, batch)

    @paddle.no_grad()
    def masks_on_device(self, maps, found):
        """The masks of what was found: boxes [B, D, 4] and classes [B, D]."""
        with framework.autocast(self.config):
            return masks_of(self.network, maps, found["boxes"], found["classes"])

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
