"""What parity records of sentiment_analysis, and what it holds an optimizer step against."""

import dataclasses

import numpy as np

from common import optimizers
from common.parameters import moved, turned
from sentiment_analysis.config import learning_rate
from sentiment_analysis.data import pack, round_up
from sentiment_analysis.parameters import initial_parameters, specification

# {profile: what a record changes in it}.  quick: so few filters that some words win no maximum, and
# have no gradient, though the batch holds them.
CHANGES = {"quick": {"num_filters": 8}}


def training(config, num_steps):
    """(config with counts, batches of training), without a dataset."""
    config = dataclasses.replace(
        config,
        vocabulary_size=config.vocabulary_size or 1_000,
        num_train_reviews=num_steps * config.batch_size,
        num_eval_reviews=config.eval_batch_size,
    )
    rng = np.random.default_rng([config.seed, 0])
    return config, [drawn(config, rng, config.batch_size) for _ in range(num_steps)]


def drawn(config, rng, count):
    """A batch of so many reviews.

    Drawn words, some so common that windows repeat, some so rare that a batch lacks them, with
    reviews of one word, of two, and for the reference one as long as IMDB's longest.  The longest
    review of a batch fills all of its blocks and ends with the dictionary's last word.
    """
    longest = 2_500 if config.profile == "reference" else 60
    longest = round_up(longest, config.block_size * config.blocks_multiple)
    lengths = rng.integers(3, longest, count)
    lengths[:3] = (1, 2, longest)[:count]
    rng.shuffle(lengths)
    numbers = [np.floor(config.vocabulary_size * rng.random(n) ** 6) for n in lengths]
    numbers[lengths.argmax()][-1] = config.vocabulary_size - 1
    labels = rng.integers(0, config.num_classes, count)
    return pack(config, [n.astype(np.int32) for n in numbers], labels)


def evaluations(config):
    """[(parameters, batch)] to evaluate: other reviews."""
    batch = drawn(config, np.random.default_rng([config.seed, 1]), 8)
    parameters = moved(specification(config), initial_parameters(config), config.seed)
    return [(own, batch) for own in (parameters, turned(parameters, "classifier"))]


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.
    """
    after = optimizers.adam_step(config, state, gradients, learning_rate(config, step))
    seen = batch["seen"][:, None]  # the rows of other words stay
    for group, arrays in after.items():
        before = state[group]["embedding.weight"]
        arrays["embedding.weight"] = np.where(seen, arrays["embedding.weight"], before)
    return after
