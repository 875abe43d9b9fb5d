"""Trains Mask R-CNN in TensorFlow to the target box AP and mask AP."""

import tensorflow as tf

from common.frameworks import tensorflow as framework
from common.parameters import ignore, keep
from common.run import Run
from object_detection import data
from object_detection.benchmark import BENCHMARK
from object_detection.boxes import choose
from object_detection.config import learning_rate
from object_detection.parameters import initial_parameters, specification

from .model import MaskRCNN, losses, masks_of, pictures, scored_regions

# The names that the optimizer has for its sums.
SLOTS = {"velocity": "accum"}


class Trainer:
    """One network, its optimizer, one step, and the evaluation's detections."""

    def __init__(self, config, parameters):
        self.config = config
        self.specification = specification(config)
        self.network = MaskRCNN(config)
        self.weights, _ = framework.load(self.network, parameters, self.specification)
        decayed = {n: w for n, w in self.weights.items() if self.specification[n].decayed}
        biases = {n: w for n, w in self.weights.items() if not self.specification[n].decayed}
        self.optimizers = [
            framework.Momentum(group, momentum=config.momentum) for group in (decayed, biases)
        ]
        self.sums = framework.make_sums(None, self.weights, SLOTS)
        for optimizer in self.optimizers:
            optimizer.sums = {SLOTS[name]: tensors for name, tensors in self.sums.items()}
        self._compile(config)

    def _compile(self, config):
        """One graph for all shapes: a graph for one may round otherwise, and a resumed run starts
        with another shape than the first.
        """
        images = {
            "images": tf.TensorSpec([None, None, None, 3], tf.uint8),
            "sizes": tf.TensorSpec([None, 2], tf.int32),
        }
        batch = images | {
            "boxes": tf.TensorSpec([None, None, 4], tf.float32),
            "classes": tf.TensorSpec([None, None], tf.int32),
            "masks": tf.TensorSpec([None, None, None, None], tf.uint8),
            "anchor_keys": tf.TensorSpec([None, None], tf.int32),
            "roi_keys": tf.TensorSpec([None, None], tf.int32),
        }
        evaluated = images | {
            "image_ids": tf.TensorSpec([None], tf.int64),
            "original_sizes": tf.TensorSpec([None, 2], tf.int32),
        }
        with framework.autocast(config):
            size = config.pyramid_width
            one = tf.TensorSpec([None, None, None, size], framework.compute_dtype())
        maps = [one for _ in config.widths]
        found = {
            "boxes": tf.TensorSpec([None, None, 4], framework.dtype()),
            "classes": tf.TensorSpec([None, None], tf.int64),
        }
        rate = tf.TensorSpec([], framework.dtype())
        self.gradients = _compiled(self.gradients, config, batch)
        self.step_on_device = _compiled(self.step_on_device, config, batch, rate)
        self.score_on_device = _compiled(self.score_on_device, config, evaluated)
        self.masks_on_device = framework.compiled(self.masks_on_device, config, [maps, found])

    def loss(self, batch, record):
        """Forward pass in training.  Returns the loss, a scalar; record sees the activations."""
        with framework.autocast(self.config):
            each = losses(self.network, batch, record)  # [5, B]
        weights = tf.cast(pictures(batch), each.dtype)
        total = tf.reduce_sum(tf.reduce_sum(each, axis=0) * weights)
        return total / tf.maximum(tf.reduce_sum(weights), 1.0)

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

    def update(self, gradients, rate):
        """Momentum: v = momentum v + g + decay w, w = w - rate v; biases: no decay, twice the rate.
        """
        for name, weight in self.weights.items():
            if self.specification[name].decayed:
                gradients[name] = gradients[name] + self.config.weight_decay * weight
        for optimizer, times in zip(self.optimizers, (1.0, 2.0)):
            optimizer.learning_rate = times * rate
            optimizer.step(gradients)

    def train_step(self, batch, step):
        """One optimizer step on this process's part of a global batch.  Returns the loss."""
        rate = framework.scalar(learning_rate(self.config, step))
        return self.step_on_device(framework.put(batch), rate)

    def step_on_device(self, batch, rate):
        """What train_step does on the device."""
        loss, means = framework.mean_gradients(
            lambda: self.differentiate(batch, ignore),
            self.weights,
            tf.math.count_nonzero(pictures(batch)),  # by them a process weighs
        )
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

    def score_on_device(self, batch):
        """The maps, the scores and boxes of all regions for all classes, and the proposals."""
        with framework.autocast(self.config):
            return scored_regions(self.network, batch)

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


def _compiled(function, config, batch, *more):
    """framework.compiled, for a batch as described or with decisions: see model.decided.

    batch, more: the description of the arguments.
    """
    plain = framework.compiled(function, config, [batch, *more])
    told = framework.compiled(function, config)
    return lambda given, *others: (told if given.keys() - batch else plain)(given, *others)


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
