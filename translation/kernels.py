"""The kernels of one training step of the Transformer."""

from common.kernels import (
    Attention,
    Elementwise,
    EmbeddingLookup,
    LayerNorm,
    SoftmaxCrossEntropy,
    Use,
    both,
    dense,
    updates,
)
from translation.data import bucket_bounds, bucket_of, bucket_rows, longest_in
from translation.parameters import specification

SENTENCE = 28  # pieces of WMT's mean sentence


def reference_sizes(config):
    """{name: number}: the sizes of a batch of the bucket of SENTENCE pieces."""
    bounds = bucket_bounds(config.max_length)
    bucket = int(bucket_of(bounds, min(SENTENCE, config.max_length)))
    length = int(longest_in(bounds, bucket))
    return {"pairs": int(bucket_rows(config)[bucket]), "sources": length, "targets": length}


def batch_sizes(config, batch):
    """The same of a batch of data.py."""
    pairs, sources = batch["sources"].shape
    return {"pairs": pairs, "sources": sources, "targets": batch["targets"].shape[1]}


def problems(config, sizes=None):
    """[Use] of a step, in forward order.  sizes: of its batch; None: reference_sizes."""
    sizes = sizes or reference_sizes(config)
    pairs, size, heads = sizes["pairs"], config.hidden_size, config.num_heads
    sources, targets = pairs * sizes["sources"], pairs * sizes["targets"]
    found = []

    def dropped(name, numbers):
        if config.dropout:
            found.extend(both(f"{name}.dropout", Elementwise("dropout", numbers)))

    def norm(name, rows):
        found.extend(both(name, LayerNorm(rows, size), (f"{name}.weight", f"{name}.bias")))

    def attention(name, rows, memory, kind):
        """memory: rows that keys and values are of."""
        norm(f"{name}.norm", rows)
        for part, count in (("query", rows), ("key", memory), ("value", memory)):
            found.extend(dense(f"{name}.{part}", count, size, size, (f"{name}.{part}.weight",)))
        found.extend(both(name, Attention(pairs, heads, rows // pairs, memory // pairs,
                                          size // heads, kind == "causal", kind == "masked",
                                          config.dropout)))
        found.extend(dense(f"{name}.output", rows, size, size, (f"{name}.output.weight",)))
        dropped(name, rows * size)
        found.extend(both(f"{name}.sum", Elementwise("add", rows * size))[:1])

    def feed_forward(name, rows):
        norm(f"{name}.norm", rows)
        for part, inputs, outputs in (("hidden", size, config.filter_size),
                                      ("output", config.filter_size, size)):
            layer = f"{name}.{part}"
            found.extend(dense(layer, rows, inputs, outputs, (f"{layer}.weight", f"{layer}.bias")))
            if part == "hidden":
                found.extend(both(f"{layer}.relu", Elementwise("relu", rows * outputs)))
            dropped(layer, rows * outputs)
        found.extend(both(f"{name}.sum", Elementwise("add", rows * size))[:1])

    for side, rows in (("source", sources), ("target", targets)):
        names = {"owns" if side == "source" else "shares": ("embedding.weight",)}
        lookup = EmbeddingLookup(config.vocabulary_size, size, rows)
        found += [Use(lookup, "forward", 1, f"embedding of {side}", "forward", **names),
                  Use(lookup, "weights", 1, f"embedding of {side}", "backward")]
        dropped(side, rows * size)
    for index in range(config.num_layers):
        attention(f"encoder.{index}.self_attention", sources, sources, "masked")
        feed_forward(f"encoder.{index}.feed_forward", sources)
    norm("encoder_norm", sources)
    for index in range(config.num_layers):
        attention(f"decoder.{index}.self_attention", targets, targets, "causal")
        attention(f"decoder.{index}.cross_attention", targets, sources, "masked")
        feed_forward(f"decoder.{index}.feed_forward", targets)
    norm("decoder_norm", targets)
    found += dense("logits", targets, size, config.vocabulary_size, ("embedding.weight",),
                   owner=False)
    found += both("loss", SoftmaxCrossEntropy(targets, config.vocabulary_size,
                                              config.label_smoothing > 0))
    return found + updates(specification(config), "adam")
