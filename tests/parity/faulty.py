"""What the planted faults of every application are made of, in any framework: see plant.py."""

import types

import numpy as np

from common.parity import compare


class OtherInitialValues:
    """Draws the parameter `drawn` itself."""

    drawn = None

    def __init__(self, config, parameters):
        values = np.random.default_rng(0).normal(0.0, 0.1, parameters[self.drawn].shape)
        super().__init__(config, parameters | {self.drawn: values})


class ShortGradients:
    """Gradients 3 % too short."""

    def differentiate(self, batch, record):
        loss, gradients = super().differentiate(batch, record)
        return loss, {name: 0.97 * gradient for name, gradient in gradients.items()}


class Rewritten:
    """An optimizer step ends otherwise: `rewrite` says how."""

    def train_step(self, batch, step):
        before = self.state()
        loss = super().train_step(batch, step)
        after = self.state()
        self.rewrite(before, after, batch, step)
        self.load_state(after)
        return loss

    def rewrite(self, before, after, batch, step):
        """Changes `after` in place.  before, after: {group: {name: array}}, as `state` gives it."""
        raise NotImplementedError


class WeightsKeptInBf16(Rewritten):
    """Rounded after each step, though they are written in fp32."""

    def rewrite(self, before, after, batch, step):
        for name, array in after["parameter"].items():
            after["parameter"][name] = compare.rounded(array, "BF16")


class EvaluationMoves:
    """An evaluation gives what it should, and moves the parameter `moves` a little."""

    moves = None

    def evaluate(self, batch):
        found = super().evaluate(batch)
        state = self.state()
        state["parameter"][self.moves] *= 1.01
        self.load_state(state)
        return found


class NotRestored:
    """load_state leaves the group `left` as it is."""

    left = None

    def load_state(self, state):
        super().load_state(state | {self.left: self.state()[self.left]})


class EvaluatesFirstParameters:
    """The evaluation has a copy of the parameters, made at the start."""

    def __init__(self, config, parameters):
        super().__init__(config, parameters)
        self.first = self.state()

    def evaluate(self, batch):
        state = self.state()
        self.load_state(self.first)
        found = super().evaluate(batch)
        self.load_state(state)
        return found


def computes(layer, call_name, function):
    """From now on a layer's call gives function(own, *arguments); own: what it did before.

    call_name: what the framework calls it: operators.CALL.
    """
    before = type(layer)
    own = types.MethodType(getattr(before, call_name), layer)

    def call(self, *arguments):
        return function(own, *arguments)

    layer.__class__ = types.new_class(
        before.__name__, (before,), exec_body=lambda body: body.update({call_name: call})
    )
