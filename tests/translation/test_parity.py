"""What a record of translation holds: batches, masks, and sentences that end."""

import dataclasses

import numpy as np
import pytest

from tests import trainers
from translation import parity, vocabulary
from translation.config import QUICK, REFERENCE


@pytest.mark.parametrize(
    "changes", [{}, {"max_length": 40, "batch_tokens": 200}, {"max_length": 30, "batch_tokens": 30}]
)
def test_batches_of_training(changes):
    for profile in (QUICK, REFERENCE):
        profile = dataclasses.replace(profile, seed=3, dropout=0.0, **changes)
        config, found = parity.training(profile, num_steps=4)
        _, again = parity.training(profile, num_steps=4)
        assert config.num_train_pairs == sum(len(batch["sources"]) for batch in found)
        assert len(found) == 4
        for batch, same in zip(found, again):
            assert list(batch) == ["sources", "targets"]
            for name, side in batch.items():
                assert np.array_equal(side, same[name])
                assert side.dtype == np.int32 and side.size <= config.batch_tokens
                assert side.min() >= 0 and side.max() < config.vocabulary_size
                assert (side != 2).all()
                ends = (side == vocabulary.END).sum(axis=1)
                assert set(ends.tolist()) <= {0, 1}
                assert (side[0] != 0).all() and side[0, -1] == vocabulary.END
                if len(side) > 3:
                    assert 1 in (side != 0).sum(axis=1)
                    assert not side[-1].any()
        assert found[1]["sources"].shape[1] == config.max_length


def test_masks_are_the_configs_share_and_differ():
    config = dataclasses.replace(QUICK, seed=3, dropout=0.25, num_layers=1)
    _, (batch,) = parity.training(config, num_steps=1)
    masks = {name: array for name, array in batch.items() if name not in ("sources", "targets")}
    assert list(masks) == list(parity.masks(config)) == [f"mask_{n:03d}" for n in range(12)]
    assert {array.dtype for array in masks.values()} == {np.dtype(bool)}
    shares = [array.mean() for array in masks.values()]
    assert shares == pytest.approx([0.75] * 12, abs=0.01)
    assert len({array.tobytes()[:100] for array in masks.values()}) == 12
    assert parity.masks(dataclasses.replace(config, dropout=0.0)) == {}


def test_translations_end_early_late_or_never(framework):
    """Over all evaluations; and there is one in which all of them end before the limit."""
    config = dataclasses.replace(QUICK, seed=1, precision="fp64")
    config, _ = parity.training(config, 1)
    lengths = []
    for parameters, batch in parity.evaluations(config):
        trainer = trainers.started("translation", framework, config, parameters)
        pieces, scores = trainer.evaluate(batch)
        assert np.isfinite(scores).all() and len(set(scores.tolist())) > 8
        ended = (pieces == vocabulary.END).any(axis=1)
        lengths.append(np.where(ended, (pieces == vocabulary.END).argmax(axis=1) + 1, 0))
    limit = batch["sources"].shape[1] + config.extra_decode_length
    print("pieces with the end; 0: none:", lengths, "limit", limit)
    together = np.concatenate(lengths)
    assert (together == 0).any()
    assert 0 < together[together > 0].min() < limit // 3 < limit // 2 < together.max()
    assert any((own > 0).all() and own.max() < limit for own in lengths)
