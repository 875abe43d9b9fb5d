"""The kernels of one training step of NeuMF."""

from common.kernels import (
    Elementwise,
    EmbeddingLookup,
    Use,
    both,
    dense,
    updates,
)
from recommendation.parameters import specification


def reference_sizes(config):
    """{name: number}: the sizes of a batch."""
    return {"pairs": config.batch_size}


def batch_sizes(config, batch):
    """The same of a batch of data.py."""
    return {"pairs": len(batch["labels"])}


def problems(config, sizes=None):
    """[Use] of a step, in forward order.  sizes: of its batch; None: reference_sizes."""
    pairs = (sizes or reference_sizes(config))["pairs"]
    found = []
    vector_size = config.mlp_sizes[0] // 2
    for name, rows, size in (("mf_user", config.num_users, config.mf_size),
                             ("mf_item", config.num_items, config.mf_size),
                             ("mlp_user", config.num_users, vector_size),
                             ("mlp_item", config.num_items, vector_size)):
        lookup = EmbeddingLookup(rows, size, pairs)
        found += [Use(lookup, "forward", 1, name, "forward", (f"{name}.weight",)),
                  Use(lookup, "weights", 1, name, "backward")]
    found += both("mf", Elementwise("product", pairs * config.mf_size))
    for index, (inputs, outputs) in enumerate(zip(config.mlp_sizes, config.mlp_sizes[1:])):
        name = f"mlp.{index}"
        found += dense(name, pairs, inputs, outputs, (f"{name}.weight", f"{name}.bias"))
        found += both(f"{name}.relu", Elementwise("relu", pairs * outputs))
    features = config.mf_size + config.mlp_sizes[-1]
    found += dense("output", pairs, features, 1, ("output.weight", "output.bias"))
    found += both("loss", Elementwise("sigmoid_cross_entropy", pairs))
    return found + updates(specification(config), "adam")
