"""What a record of recommendation holds."""

import dataclasses

from recommendation import parity
from recommendation.config import QUICK, REFERENCE


def test_batches_are_within_the_tables_and_meet_an_edge():
    for profile in (QUICK, REFERENCE):
        config, batches = parity.training(dataclasses.replace(profile, seed=3), 2)
        for batch in batches:
            assert len(batch["users"]) == len(batch["items"]) == len(batch["labels"])
            assert batch["users"].min() >= 0 and batch["users"].max() < config.num_users
            assert batch["items"].min() >= 0 and batch["items"].max() < config.num_items
            assert set(batch["labels"].tolist()) == {0.0, 1.0}
        assert batches[0]["users"][0] == batches[0]["items"][0] == 0
        (_, batch), = parity.evaluations(config)
        assert batch["users"].shape == (8,) and batch["items"].shape[0] == 8
        assert batch["items"].max() < config.num_items
