"""What planted faults ask of TensorFlow.  Twins: pytorch.py, tensorflow.py, paddlepaddle.py."""

import tensorflow as tf

from common.frameworks.tensorflow import dtype

CALL = "__call__"  # what a layer computes
NO_PADDING = "VALID"  # of a convolution


def start():
    """Before the first Trainer is made."""
    # Making the graphs of a step takes longer than three steps without.
    tf.config.run_functions_eagerly(True)


def concat(tensors, axis):
    """The tensors side by side."""
    return tf.concat(tensors, axis)


def counts(numbers, length):
    """How often each of 0, 1, ..., length - 1 is among the numbers; 1 where it is not."""
    found = tf.math.bincount(tf.cast(numbers, tf.int32), minlength=length)
    return tf.cast(tf.maximum(found, 1), dtype())


def pad_behind(images):
    """Images with one more row and column of zeros at the bottom and the right."""
    return tf.pad(images, [[0, 0], [0, 1], [0, 1], [0, 0]])
