"""The Transformer's parity, in training and in decoding; each of the faults planted is named."""

import pytest

from tests.parity.planted import (  # noqa: F401, collected here
    test_nothing_planted_agrees,
    test_planted_fault_is_found_and_named,
)

APPLICATION = "translation"
RECORD_FLAGS = ("--set", "batch_tokens=128", "--set", "max_length=16")

# Each fault, and the first tensor that it changes in forward order.
FAULTS = {
    "initialisation": ("initial", "parameter/encoder.1.feed_forward.hidden.weight"),
    "embedding not scaled": ("step_0000", "activation/source"),
    "positions interleaved": ("step_0000", "activation/source"),
    "the decoder sees the padding": ("step_0000", "activation/decoder.0.cross_attention"),
    "epsilon of the layer norm": ("step_0000", "activation/encoder.0.feed_forward"),
    "no ReLU": ("step_0000", "activation/encoder.0.feed_forward"),
    "targets begin with the end of a sentence": ("step_0000", "activation/target"),
    "later targets are seen": ("step_0000", "activation/decoder.0.self_attention"),
    "labels smoothed over all pieces": ("step_0000", "loss"),
    "mean over the places, empty ones too": ("step_0000", "loss"),
    "second beta": ("step_0000", "second_moment/embedding.weight"),
    "rate of the next step": ("step_0000", "parameter/embedding.weight"),
    "epsilon beside the uncorrected root": ("step_0001", "parameter/embedding.weight"),
    "keys of the beams mixed up": ("step_0002", "prediction/pieces"),
    "half as many beams": ("step_0002", "prediction/pieces"),
}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_three_frameworks_agree_on_the_quick_network(precision, agree):
    """Five steps, and then the hypotheses, piece for piece."""
    shown = agree("--steps=5", f"--precision={precision}")
    assert shown.count("prediction") == 2


def test_three_frameworks_agree_at_full_width(agree):
    """The reference's sizes but for depth and vocabulary, which repeat what one layer shows."""
    agree("--profile=reference", "--steps=1", "--set", "num_layers=1",
          "--set", "vocabulary_size=4000", "--set", "max_length=32",
          "--set", "batch_tokens=128", "--set", "extra_decode_length=5")
