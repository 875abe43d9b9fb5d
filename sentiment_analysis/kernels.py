"""The kernels of one training step of the sequence CNN."""

from common.kernels import (
    Convolution,
    Elementwise,
    EmbeddingLookup,
    Pooling,
    SoftmaxCrossEntropy,
    Use,
    both,
    convolution,
    dense,
    updates,
)
from sentiment_analysis.config import halo
from sentiment_analysis.data import round_up
from sentiment_analysis.parameters import specification

REVIEW, LONGEST = 233, 1000  # words of IMDB's mean review, and of a batch's longest


def reference_sizes(config):
    """{name: number}: the sizes of a batch of reviews of REVIEW words."""
    each = round_up(REVIEW + max(halo(config)), config.block_size)
    return {"reviews": config.batch_size,
            "places": round_up(config.batch_size * each, config.stream_multiple),
            "blocks": round_up(-(-LONGEST // config.block_size), config.blocks_multiple),
            "halo": sum(halo(config))}


def batch_sizes(config, batch):
    """The same of a batch of data.py."""
    reviews, blocks = batch["blocks"].shape
    around = sum(halo(config))
    return {"reviews": reviews, "places": len(batch["tokens"]) - around, "blocks": blocks,
            "halo": around}


def problems(config, sizes=None):
    """[Use] of a step, in forward order.  sizes: of its batch; None: reference_sizes."""
    sizes = sizes or reference_sizes(config)
    reviews, places, filters = sizes["reviews"], sizes["places"], config.num_filters
    lookup = EmbeddingLookup(config.vocabulary_size + 1, config.embedding_size,
                             places + sizes["halo"])
    found = [Use(lookup, "forward", 1, "embedding", "forward", ("embedding.weight",)),
             Use(lookup, "weights", 1, "embedding", "backward")]
    for index, window in enumerate(config.windows):
        name = f"convolutions.{index}"
        problem = Convolution(1, config.embedding_size, 1, places + window - 1, filters, 1, window,
                              dimensions=1)
        found += convolution(name, problem, (f"{name}.weight", f"{name}.bias"))
        found += both(f"{name}.pooling", Pooling(1, filters, 1, places, 1, config.block_size, 1,
                                                 config.block_size))
        blocks = reviews * sizes["blocks"]
        # The blocks of each review, then the greatest of them.
        gathered = EmbeddingLookup(places // config.block_size, filters, blocks)
        found += [Use(gathered, "forward", 1, f"{name}.blocks", "forward"),
                  Use(gathered, "weights", 1, f"{name}.blocks", "backward")]
        found += both(f"{name}.reviews", Pooling(reviews, filters, 1, sizes["blocks"], 1,
                                                 sizes["blocks"], 1, sizes["blocks"]))
        found += both(f"{name}.elu", Elementwise("elu", reviews * filters))
    found += dense("classifier", reviews, len(config.windows) * filters, config.num_classes,
                   ("classifier.weight", "classifier.bias"))
    found += both("loss", SoftmaxCrossEntropy(reviews, config.num_classes))
    return found + updates(specification(config), "adam", config.vocabulary_size)
