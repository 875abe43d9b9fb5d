"""What parity records of translation, and what it holds an optimizer step against."""

import dataclasses

import numpy as np

from common import optimizers
from common.parameters import moved
from translation import vocabulary
from translation.config import learning_rate
from translation.data import FIRST_PIECE, bucket_bounds, bucket_rows, longest_in
from translation.formulas import positions
from translation.parameters import initial_parameters as drawn_parameters
from translation.parameters import specification

# The logits to translate by: how far they spread, and by how many spreads END's lies below what the
# greatest of all pieces is expected to have, in the first place and in a late one.
SPREAD = 3.0
ENDING = ((1.0, -1.0), (2.0, -2.0), (3.0, -1.0), (4.0, 2.0))

# {profile: what a record changes in it}.  With --set=dropout a record is of given masks.
CHANGES = {"quick": {"dropout": 0.0}, "reference": {"dropout": 0.0}}


def initial_parameters(config):
    """{name: float32 array}: what a record starts from, as drawn but for one piece's vector.

    It cancels the position of place 1 but for three tenths.  There a layer norm's input varies so
    little that its epsilon counts: elsewhere it changes a millionth.  Not in bf16, where rounding
    is more than what is left.
    """
    found = drawn_parameters(config)
    if config.precision == "bf16":
        return found
    position = positions(2, config.hidden_size)[1]
    vector = -0.7 * position / config.hidden_size**0.5
    found["embedding.weight"][FIRST_PIECE] = vector.astype(np.float32)
    return found


def training(config, num_steps):
    """(config with counts, batches of training), without a dataset.

    Random pieces.  Every other batch is of the longest bucket.  A batch of enough rows holds a pair
    of the longest length on both sides, a sentence of END alone on either side, and last an empty
    pair, as the batches at an epoch's end have them.  In its first pair a piece cancels the
    position of place 1, see `initial_parameters`; targets are seen one place later.
    """
    bounds, rows = bucket_bounds(config.max_length), bucket_rows(config)
    rng = np.random.default_rng([config.seed, 0])
    found = []
    for step in range(num_steps):
        bucket = len(bounds) - 1 if step % 2 else int(rng.integers(len(bounds)))
        num_pairs, longest = int(rows[bucket]), int(longest_in(bounds, bucket))
        lengths = rng.integers(1, longest + 1, (2, num_pairs))
        lengths[:, 0] = longest
        lengths[0, 1:2] = 1
        lengths[1, 2:3] = 1
        lengths[:, 3:][:, -1:] = 0
        sides = [drawn(config, rng, own, longest) for own in lengths]
        if longest > 2:
            sides[0][0, 1] = sides[1][0, 0] = FIRST_PIECE
        masks = {name: rng.random(shape) >= config.dropout
                 for name, (_, shape) in places_of_dropout(config, num_pairs, longest).items()}
        found.append({"sources": sides[0], "targets": sides[1]} | masks)
    config = dataclasses.replace(
        config,
        num_train_pairs=sum(len(batch["sources"]) for batch in found),
        num_eval_sentences=config.eval_batch_size,
    )
    return config, found


def masks(config):
    """{tensor of a batch: what it is}: the masks of dropout, where there is any."""
    return {name: f"bool, False where dropout sets to 0: {meaning}"
            for name, (meaning, _) in places_of_dropout(config, 0, 0).items()}


def places_of_dropout(config, num_pairs, longest):
    """{name of a mask: (what it drops, its shape)}, in forward order; {} without dropout."""
    if not config.dropout:
        return {}
    inner = (num_pairs, longest, config.hidden_size)
    weights = (num_pairs, config.num_heads, longest, longest)
    hidden = (num_pairs, longest, config.filter_size)
    found = {}

    def add(place, shape):
        found[f"mask_{len(found):03d}"] = place, shape

    def attention(name):
        add(f"the weights of {name} behind the softmax", weights)
        add(f"the output of {name} before the residual sum", inner)

    def feed_forward(name):
        add(f"the hidden places of {name} behind the ReLU", hidden)
        add(f"the output of {name} before the residual sum", inner)

    add("the encoder's input", inner)
    for index in range(config.num_layers):
        attention(f"encoder.{index}.self_attention")
        feed_forward(f"encoder.{index}.feed_forward")
    add("the decoder's input", inner)
    for index in range(config.num_layers):
        attention(f"decoder.{index}.self_attention")
        attention(f"decoder.{index}.cross_attention")
        feed_forward(f"decoder.{index}.feed_forward")
    return found


def drawn(config, rng, lengths, width):
    """int32 [B, width]: random pieces, END last, then zeros.  lengths: with the end; 0 is empty."""
    places = np.arange(width)
    pieces = rng.integers(FIRST_PIECE, config.vocabulary_size, (len(lengths), width), np.int32)
    pieces[places == lengths[:, None] - 1] = vocabulary.END
    pieces[places >= lengths[:, None]] = vocabulary.PAD
    return pieces


def evaluations(config):
    """[(parameters, batch)] to translate.

    With initial values the piece before is always the likeliest, and no translation ends.  So the
    decoder's output has random signs, which makes any piece likely, and is moved towards END, the
    more so the later the place: some translations end early, some late, and some never.
    """
    longest = min(config.max_length, 24)
    rng = np.random.default_rng([config.seed, 1])
    batch = {"sources": drawn(config, rng, rng.integers(1, longest + 1, 16), longest)}
    signs = rng.choice(np.array([-1, 1], np.float32), config.hidden_size)
    greatest = (2.0 * np.log(config.vocabulary_size)) ** 0.5  # of so many normal numbers
    late = (longest + config.extra_decode_length) * 2 // 3
    table = positions(late + 1, config.hidden_size).astype(np.float32)
    way = signs * (table[late] - table[0])
    found = []
    for first, last in ENDING:
        parameters = moved(specification(config), drawn_parameters(config), config.seed)
        end = parameters["embedding.weight"][vocabulary.END]
        # The layer norm has divided positions by some 1.3.
        end += np.float32(1.3 * (first - last)) * way / (way @ way)
        parameters["decoder_norm.weight"] *= np.float32(SPREAD) * signs
        towards = np.float32(SPREAD * (greatest - first))
        parameters["decoder_norm.bias"] += towards * end / (end @ end)
        found.append((parameters, batch))
    return found


def optimizer_step(config, step, state, gradients, batch):
    """{group: {name: float64 array}}: the trained parameters and sums after a step.

    state: the same before it.  gradients: {name: array}, of this step.  batch: it was done on.
    """
    return optimizers.adam_step(config, state, gradients, learning_rate(config, step), step)
