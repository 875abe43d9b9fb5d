"""Self-play and its files: what decides a game, and what does not."""

import dataclasses
import os
import pathlib
import shutil

import numpy as np
import pytest

from common.errors import UserError
from reinforcement import config as numbers
from reinforcement import games, go, search, selfplay
from tests.reinforcement import fake_network

CONFIG = dataclasses.replace(numbers.QUICK, seed=3, games_per_generation=6, readouts=12, leaves=4,
                             games_at_once=4, network_rows=16)  # fmt: skip


def play(generation=2, own=range(6), **changes):
    """{number: Played} of some games, in the order in which they ended."""
    found = {}
    config = dataclasses.replace(CONFIG, **changes)
    selfplay.play_all(config, fake_network.evaluate, generation, own, found.__setitem__)
    return found


def same(one, other):
    return (one.moves.tolist() == other.moves.tolist() and (one.visits == other.visits).all()
            and (one.winner, one.resigned) == (other.winner, other.resigned))


@pytest.fixture(scope="module")
def six():
    return play()


def test_neither_order_nor_processes_nor_batches_move_a_game(six):
    assert sorted(six) == list(range(6))
    for found in (play(own=[5, 2, 4, 1, 3, 0]), play(games_at_once=1), play(network_rows=7),
                  play(own=[1, 3, 5]) | play(own=[0, 2, 4])):
        assert sorted(found) == list(range(6))
        assert all(same(found[number], six[number]) for number in six)


@pytest.mark.parametrize("change", [{"seed": 4}, {"generation": 3}, {"noise_share": 0.0}])
def test_seed_and_generation_and_noise_do(six, change):
    other = play(own=[0], **change)[0]
    assert not same(other, six[0])


def test_games_differ_and_are_played_to_their_end(six):
    assert len({game.moves.tobytes() for game in six.values()}) == 6
    for game in play(no_resign_share=1.0).values():
        position = go.Position(5, CONFIG.komi)
        for number, move in enumerate(game.moves):
            assert not position.is_over()
            legal = position.legal()
            assert not game.visits[number][legal == 0].any() and legal[move]
            # The most visited; earlier any that was visited.
            best = int(np.argmax(game.visits[number]))
            assert move == best if number > 2 else game.visits[number][move] > 0
            position.play(int(move))
        assert position.is_over() and not game.resigned
        assert game.winner == (1 if position.score() > 0 else -1)


def test_the_first_three_moves_of_5x5_are_drawn():
    """And seven of 9x9: move 6, counted from 0, is the last."""
    assert numbers.sampled_moves(CONFIG) == 2
    assert numbers.sampled_moves(numbers.REFERENCE) == 6
    found = [play(own=range(24), generation=g, no_resign_share=1.0) for g in (1, 2)]
    drawn = np.zeros(35)
    for game in (game for part in found for game in part.values()):
        for number, (move, counts) in enumerate(zip(game.moves, game.visits)):
            drawn[number] += move != np.argmax(counts)
    assert drawn[:3].min() > 3 and not drawn[3:].any()


def test_each_move_has_its_readouts(six):
    """The root has as many more visits as asked, or up to a batch more; what is kept adds."""
    for game in six.values():
        assert 12 <= game.visits[0].sum() <= 12 + 2 * 4
        assert (game.visits.sum(axis=1) >= 11).all()


@pytest.mark.parametrize(
    ("uniform", "move"),
    [(0.0, 3), (1e-9, 1), (0.1, 1), (0.1 + 1e-9, 3), (0.9, 3), (0.9 + 1e-9, 4), (1.0, 4)],
)
def test_a_move_is_drawn_in_proportion_to_its_visits(uniform, move):
    assert selfplay.pick(np.array([0, 1, 0, 8, 1, 0], np.int32), uniform) == move


def test_of_equal_visits_the_first_is_played():
    assert selfplay.pick(np.array([2, 5, 5, 1], np.int32), 0.0) == 1


def test_targets_are_flattened_while_moves_are_drawn():
    counts = np.array([0, 1, 3] + [0] * 23, np.int32)
    flat = np.array([1.0, 3**0.95]) / (1.0 + 3**0.95)
    for number in (0, 1):
        assert selfplay.targets(counts, number, CONFIG)[1:3] == pytest.approx(flat)
    assert selfplay.targets(counts, 2, CONFIG)[1:3] == pytest.approx([0.25, 0.75])  # drawn, yet not
    assert selfplay.targets(counts, 9, CONFIG).sum() == pytest.approx(1.0)


def losing(planes):
    """A network that is sure that White wins."""
    priors, values = fake_network.evaluate(planes)
    return priors, np.full(len(values), -0.99)


def test_the_side_that_is_lost_resigns_and_its_move_is_not_played():
    config = dataclasses.replace(CONFIG, no_resign_share=0.0, readouts=100)
    found = {}
    selfplay.play_all(config, losing, 1, range(3), found.__setitem__)
    for game in found.values():
        assert game.resigned and game.winner == go.WHITE
        assert len(game.moves) == 0 == len(game.visits)  # Black, before the first move


def test_some_games_are_played_on():
    found = {}
    config = dataclasses.replace(CONFIG, no_resign_share=0.5, readouts=100)
    selfplay.play_all(config, losing, 1, range(24), found.__setitem__)
    assert 4 < sum(game.resigned for game in found.values()) < 20


def test_noise_reaches_every_new_root_and_no_other_node():
    """With a share of 1 the root's priors are the noise, Dirichlet's, which sums to 1."""
    config = dataclasses.replace(CONFIG, noise_share=1.0)
    slots = selfplay.Slots(config, 1)
    slots.begin(0, 0, 1)
    active = np.zeros(1, np.int32)
    seen = set()
    while not slots.winner[0]:
        length = int(slots.length[0])
        slots.search(active, fake_network.evaluate)
        trees = slots.forest.trees
        root = trees.game["root"][0]
        if slots.length[0] > length and not slots.winner[0]:
            number = int(slots.length[0])
            expected = slots.noise[0, number].astype(np.float32)
            assert np.array_equal(trees.node["prior"][root], expected)
            seen.add(number)
            for child in trees.node["child"][root]:
                if child > 0 and trees.node["kind"][child] == search.EXPANDED:
                    assert not np.array_equal(trees.node["prior"][child], expected)
    assert len(seen) > 5


class Run:
    """What phase 1 asks of common.run.Run."""

    def __init__(self, config, steps=0):
        self.config, self.framework, self.steps = config, self, steps

    def rank(self):
        return 0

    def world_size(self):
        return 1

    def gather(self, value):
        return [value]


class Player:
    """What it asks of a Trainer."""

    def __init__(self, evaluate=fake_network.evaluate, weight=1.0):
        self.infer = evaluate
        self.weights = {"w": np.full(2, weight, np.float32)}

    def state(self):
        return {"parameter": self.weights}

    def load_state(self, state):
        self.weights = state["parameter"]


def test_games_are_played_once_and_damaged_ones_anew(six, tmp_path):
    config = dataclasses.replace(CONFIG, output_dir=str(tmp_path))
    found = selfplay.play(Run(config), Player(), 2)
    assert found["games"] == 6 and found["readouts"] > 100
    assert found["positions"] == sum(len(game.moves) for game in six.values())
    folder = games.games_folder(str(tmp_path), 2)
    name = games.name_of(Player().weights)
    for number, game in six.items():
        assert same(games.load(games.path(folder, number), config, name, name), game)

    def texts():
        return {n: pathlib.Path(games.path(folder, n)).read_text() for n in range(6)}

    before = texts()
    assert selfplay.play(Run(config), Player(), 2) == {"games": 0, "positions": 0, "readouts": 0}
    os.remove(games.path(folder, 1))
    for number, keep in ((3, 0.5), (4, 0.0)):
        part = before[number][: int(keep * len(before[number]))]
        pathlib.Path(games.path(folder, number)).write_text(part)
    assert selfplay.play(Run(config), Player(), 2)["games"] == 3
    assert texts() == before
    os.remove(games.path(folder, 0))
    os.symlink(games.path(folder, 5), games.path(folder, 0))
    shutil.copy(games.path(folder, 3), games.path(folder, 2))
    assert selfplay.play(Run(config), Player(), 2)["games"] == 2  # another's game
    assert texts() == before
    os.remove(games.path(folder, 1))
    os.mkfifo(f"{games.path(folder, 1)}.tmp")                     # it would wait for a reader
    with pytest.raises(UserError, match=r"00001\.sgf: cannot be written"):
        selfplay.play(Run(config), Player(), 2)
    assert selfplay.play(Run(config), Player(), 2)["games"] == 1
    assert sorted(os.listdir(folder)) == [f"{n:05d}.sgf" for n in range(6)]
    assert selfplay.play(Run(config), Player(weight=2.0), 2)["games"] == 6  # of another network


@pytest.mark.parametrize(
    ("old", "new"),
    [("RE[B+", "RE[?+"), ("RE[W+", "RE[?+"), ("C5 ", "Z9 "), ("SZ[5]", "SZ[6]"), (", ", ","),
     ("KM[0.5]", "KM[1.5]"), (" 1", " -1"), ("C[", "C[C5 0]X[")],
)
def test_a_game_that_says_something_odd_is_none(six, old, new, tmp_path):
    file = tmp_path / "game.sgf"
    path = str(file)
    for game in six.values():
        games.save(path, game, CONFIG, "a", "a")
        text = file.read_text()
        if old in text:
            break
    assert same(games.load(path, CONFIG, "a", "a"), game)
    assert games.load(path, CONFIG, "a", "b") is None
    file.write_text(text.replace(old, new))
    assert games.load(path, CONFIG, "a", "a") is None
    assert games.load(str(tmp_path / "missing.sgf"), CONFIG) is None
