"""Matches: whose tree, whose colour, who plays on."""

import dataclasses
import os

import numpy as np
import pytest

from common import checkpoint
from common.errors import UserError
from common.parity import inputs
from reinforcement import config as numbers
from reinforcement import games, gating, go
from tests.reinforcement import fake_network, plain_go
from tests.reinforcement.test_search import plain_root
from tests.reinforcement.test_selfplay import Player, Run, same

CONFIG = dataclasses.replace(numbers.QUICK, seed=3, gate_games=6, readouts=12, leaves=4,
                             games_at_once=4, network_rows=16, steps_per_generation=10)  # fmt: skip


def only_passes(planes):
    """A network that passes, whatever comes."""
    priors = np.zeros((len(planes), 26))
    priors[:, 25] = 1.0
    return priors, np.zeros(len(planes))


def test_neither_order_nor_batches_move_a_game():
    whole = gating.match(CONFIG, fake_network.evaluate, only_passes, 2, [0, 1, 4, 5])
    for part in ([4], [5, 1, 0]):
        config = dataclasses.replace(CONFIG, network_rows=3)
        found = gating.match(config, fake_network.evaluate, only_passes, 2, part)
        assert all(same(found[number], whole[number]) for number in part)
    assert len({game.moves.tobytes() for game in whole.values()}) > 2


@pytest.mark.parametrize("number", [0, 2, 3, 5])
def test_the_new_network_has_black_in_the_first_half(number):
    """The old one passes at once, and loses for it."""
    game = gating.match(CONFIG, fake_network.evaluate, only_passes, 2, [number])[number]
    assert (game.moves[0] == 25) == (number >= 3)
    assert game.moves[1] == 25
    assert game.winner == (go.BLACK if number < 3 else go.WHITE)


def test_the_most_visited_move_is_played_without_noise():
    for game in gating.match(CONFIG, fake_network.evaluate, fake_network.evaluate, 1,
                             [0, 3]).values():  # fmt: skip
        assert game.moves.tolist() == np.argmax(game.visits, axis=1).tolist()


@pytest.mark.parametrize("number", [1, 4])
def test_the_first_move_is_that_of_a_plain_search(number):
    """By the network that has Black, from its own stream of random numbers."""
    game = gating.match(CONFIG, fake_network.evaluate, fake_network.evaluate, 2, [number])[number]
    draws = np.random.default_rng([3, gating.MATCH, 2, number]).integers(1 << 64, size=2,
                                                                         dtype=np.uint64)
    root = plain_root(plain_go.Position(5, 0.5), int(draws[1 if number >= 3 else 0]), 12, 4)
    assert game.visits[0].tolist() == root.child_n


def test_the_side_that_is_lost_resigns():
    def losing(planes):
        return fake_network.evaluate(planes)[0], np.full(len(planes), -0.99)

    config = dataclasses.replace(CONFIG, readouts=40, gate_resign_value=-0.9)
    game = gating.match(config, losing, losing, 1, [0])[0]
    assert game.resigned and game.winner == go.WHITE and len(game.moves) == 0
    sure = dataclasses.replace(config, gate_resign_value=-1.0)
    assert not gating.match(sure, losing, losing, 1, [0])[0].resigned


def trained(new, old):
    return Player(new, 2.0), Player(old, 1.0)


@pytest.mark.parametrize("new_wins", [True, False])
def test_the_better_one_plays_on(new_wins, tmp_path):
    """And a match is played once: who resumes reads it."""
    config = dataclasses.replace(CONFIG, output_dir=str(tmp_path), seed=5)
    sides = (fake_network.evaluate, only_passes)
    trainer, player = trained(*(sides if new_wins else sides[::-1]))
    assert gating.promote(Run(config), Player(weight=1.0), player, 1) == {}
    run = Run(config, 10)
    found = gating.promote(run, trainer, player, 2)
    assert found["gating_games"] == 6 and (found["gating_wins"] > 3) == new_wins
    weight = 2.0 if new_wins else 1.0
    assert player.weights["w"].tolist() == [weight] * 2
    assert inputs.load(games.player_path(str(tmp_path), 2))["w"].tolist() == [weight] * 2

    folder = games.matches_folder(str(tmp_path), 2)
    times = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
    assert len(times) == 6
    again = Player(None, 7.0)  # a network that cannot be asked
    assert gating.promote(run, Player(None, 2.0), again, 2) == found
    assert again.weights["w"].tolist() == [weight] * 2
    assert times == {n: os.stat(os.path.join(folder, n)).st_mtime_ns for n in os.listdir(folder)}


def test_amid_a_generations_training_it_is_decided(tmp_path):
    config = dataclasses.replace(CONFIG, output_dir=str(tmp_path))
    gating.promote(Run(config), Player(weight=1.0), Player(weight=1.0), 1)
    other = Player(weight=9.0)
    assert gating.promote(Run(config, 3), Player(weight=5.0), other, 1) == {}
    assert other.weights["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("steps", [10, 13])
def test_a_player_of_another_network_is_refused(steps, tmp_path):
    """As the one before, and amid the training as its own."""
    config = dataclasses.replace(CONFIG, output_dir=str(tmp_path))
    path = games.player_path(str(tmp_path), 1 if steps == 10 else 2)
    os.makedirs(os.path.dirname(path))
    checkpoint.save_tensors(path, {"w": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match="no network of this run"):
        gating.promote(Run(config, steps), Player(), Player(), 2)


@pytest.mark.parametrize(("wins", "promoted"), [(54, False), (55, True)])
def test_fifty_five_of_a_hundred_are_enough(wins, promoted, tmp_path, monkeypatch):
    config = dataclasses.replace(numbers.REFERENCE, seed=1, output_dir=str(tmp_path))
    gating.promote(Run(config), Player(weight=1.0), Player(weight=1.0), 1)
    monkeypatch.setattr(gating, "play", lambda *arguments: (wins, {}))
    player = Player(weight=1.0)
    gating.promote(Run(config, config.steps_per_generation), Player(weight=2.0), player, 2)
    assert player.weights["w"][0] == (2.0 if promoted else 1.0)
