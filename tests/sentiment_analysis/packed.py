"""A batch of data.pack taken apart again."""

from sentiment_analysis.config import halo


def unpack(config, batch):
    """[words] of each review of a batch."""
    before, after = halo(config)
    stream = batch["tokens"][before : len(batch["tokens"]) - after].reshape(-1, config.block_size)
    reviews = [stream[sorted(set(blocks))].ravel() for blocks in batch["blocks"].tolist()]
    return [review[review != config.vocabulary_size].tolist() for review in reviews]
