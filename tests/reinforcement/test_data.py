"""The window of games, the examples drawn from it, and the experts' positions."""

import dataclasses
import itertools
import os
import re

import numpy as np
import pytest

from common.errors import UserError
from reinforcement import config as numbers
from reinforcement import data, experts, games, go, prediction, quality, sgf
from tests.reinforcement import fake_network, plain_go
from tests.reinforcement.test_search import plain_root

CONFIG = dataclasses.replace(numbers.QUICK, seed=3, games_per_generation=3, batch_size=4,
                             steps_per_generation=5, window_positions=30)  # fmt: skip
COUNT = itertools.count()


def game(rng, length):
    """A Played game of random legal moves without a pass, as if resigned."""
    position, visits = go.Position(5, 0.5), []
    for _ in range(length):
        legal = np.flatnonzero(position.legal()[:-1])
        counts = np.zeros(26, np.int32)
        counts[legal] = rng.integers(1, 9, len(legal))
        visits.append(counts)
        position.play(int(rng.choice(legal)))
    winner = int(rng.choice([-1, 1]))
    return games.Played(np.array(position.moves, np.int16), np.array(visits), winner, True)


@pytest.fixture
def written(tmp_path):
    """(config, {(generation, number): game}) of three generations of 12, 15 and 18 positions."""
    config = dataclasses.replace(CONFIG, output_dir=str(tmp_path / str(next(COUNT))))
    rng, found = np.random.default_rng(1), {}
    for generation in (1, 2, 3):
        folder = games.games_folder(config.output_dir, generation)
        os.makedirs(folder)
        for number in range(3):
            played = game(rng, 3 + generation)
            games.save(games.path(folder, number), played, config, "a", "a")
            found[generation, number] = played
    return config, found


def test_the_window_holds_the_newest_positions(written):
    config, found = written
    assert [len(data.Window(config, generation)) for generation in (1, 2, 3)] == [12, 27, 30]
    window = data.Window(config, 3)
    places = np.arange(30) * 8
    examples = window.look_up(places)
    expected = [(one.moves.tolist(), number)
                for key, one in sorted(found.items()) for number in range(len(one.moves))]
    assert [(one.moves.tolist(), one.number) for one in examples] == expected[-30:]
    last = found[3, 2]
    assert examples[-1].visits.tolist() == last.visits[-1].tolist()
    assert examples[-1].winner == last.winner and examples[-1].way == 0
    assert [one.way for one in window.look_up(np.arange(8))] == list(range(8))
    small = dataclasses.replace(config, window_positions=7)
    newest = data.Window(small, 3)
    assert len(newest) == 7
    assert [one.number for one in newest.look_up(np.arange(7) * 8)] == [5, 0, 1, 2, 3, 4, 5]


def test_games_are_read_once_and_forgotten_behind_the_window(written, monkeypatch):
    config, _ = written
    config = dataclasses.replace(config, window_positions=30)
    for generation in (1, 2):
        data.Window(config, generation)
    read = []
    load = games.load
    monkeypatch.setattr(games, "load", lambda path, *more: read.append(path) or load(path, *more))
    data.Window(config, 3)
    assert len(read) == 3 and all("000003" in path for path in read)
    assert [key[1] for key in data._known] == [2, 3]      # 15 and 18 positions


def test_a_missing_game_is_named(written):
    config, _ = written
    path = games.path(games.games_folder(config.output_dir, 2), 1)
    os.remove(path)
    with pytest.raises(UserError, match=f"{re.escape(path)}: missing or damaged.* from a copy"):
        data.Window(config, 3)


def test_games_that_were_all_resigned_at_once_are_nothing_to_learn_from(tmp_path):
    config = dataclasses.replace(CONFIG, output_dir=str(tmp_path))
    os.makedirs(games.games_folder(config.output_dir, 1))
    for number in range(3):
        path = games.path(games.games_folder(config.output_dir, 1), number)
        games.save(path, game(np.random.default_rng(1), 0), config, "a", "a")
    with pytest.raises(UserError, match="no position to learn from"):
        data.batches(config, "train", 1)


def test_each_pass_takes_its_share_in_a_new_order():
    rng = np.random.default_rng(1)
    whole = data.drawn(rng, 50, 1.0, 120)
    for part in (whole[:50], whole[50:100]):
        assert sorted(part) == list(range(50)) and part.tolist() != sorted(part)
    assert len(whole) == 120 and len(set(whole[100:])) == 20
    few = data.drawn(rng, 100_000, 0.05, 12_000)
    first = few[:4_000]
    assert len(set(first.tolist())) == 4_000           # of one pass: none twice
    assert abs(first.mean() - 50_000) < 3_000
    passes = np.flatnonzero(np.isin(few, first[:1000]))
    assert len(passes) > 1000                          # drawn anew


def test_batches_are_a_function_of_seed_and_generation(written):
    config, _ = written
    config = dataclasses.replace(config, augment=False)
    one, same = (data.batches(config, "train", 2) for _ in range(2))
    assert len(one) == 5 and all(len(indices) == 4 for indices in one.indices)
    assert all(np.array_equal(a, b) for a, b in zip(one.indices, same.indices))
    assert not any((indices % 8).any() for indices in one.indices)
    other = data.batches(dataclasses.replace(config, seed=4), "train", 2)
    assert not np.array_equal(np.concatenate(one.indices), np.concatenate(other.indices))
    turned = data.batches(dataclasses.replace(config, augment=True), "train", 2)
    assert len(set(np.concatenate(turned.indices) % 8)) > 4


def turn(grid, way):
    return np.rot90(np.swapaxes(grid, 0, 1) if way >= 4 else grid, way % 4)


@pytest.mark.parametrize("way", range(8))
def test_an_example_is_turned_as_a_whole(written, way):
    """Planes and policy, seen by the plain rules and by numpy's turns."""
    config, _ = written
    window = data.Window(config, 3)
    batch = data.read(config, window.look_up(np.array([24, 25, 29]) * 8 + way))
    for row, one in enumerate(window.look_up(np.array([24, 25, 29]) * 8)):
        position = plain_go.Position(5, 0.5)
        for move in one.moves[: one.number]:
            position = position.after(int(move))
        planes = np.array(position.planes(), np.uint8)
        assert np.array_equal(batch["planes"][row], turn(planes, way))
        power = 0.95 if one.number < 2 else 1.0
        shares = one.visits**power / (one.visits**power).sum()
        policy = batch["policy"][row]
        np.testing.assert_allclose(policy[:-1].reshape(5, 5), turn(shares[:-1].reshape(5, 5), way),
                                   rtol=1e-6)  # fmt: skip
        assert policy[-1] == pytest.approx(shares[-1])
        assert batch["winner"][row] == one.winner


def test_a_batch_is_as_the_benchmark_says(written):
    from reinforcement.benchmark import BENCHMARK

    config, _ = written
    batch = data.batches(config, "train", 1).at(np.array([0, 9, 17]))
    assert batch.keys() == BENCHMARK.batch.keys()
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "planes": ("uint8", (3, 5, 5, 17)), "policy": ("float32", (3, 26)),
        "winner": ("float32", (3,)),
    }  # fmt: skip


def record(size, *names, komi=0.5, comments=()):
    moves = [sgf.move_of(name, size) for name in names]
    return sgf.Game(size, komi, moves, [*comments, *[""] * (len(moves) - len(comments))])


@pytest.fixture
def asked(tmp_path):
    """asked(games..., **changes): the config whose data are these games."""
    def make(*records, **changes):
        folder = tmp_path / f"data{next(COUNT)}"
        (folder / "sgf" / "deep").mkdir(parents=True)
        for number, one in enumerate(records):
            (folder / "sgf" / "deep" / f"{number}.sgf").write_text(sgf.written(one))
        fields = {"data_dir": str(folder), "playout_games": 0, "prediction_readouts": 64} | changes
        return dataclasses.replace(numbers.QUICK, seed=1, **fields)

    return make


def test_each_move_but_passes_is_asked_with_what_came_before(asked):
    config = asked(record(5, "C3", "pass", "B2", komi=7.5), record(5, "A1"))
    found = experts.questions(config)
    assert [(one.moves, one.answer, one.komi) for one in found] == [
        ((), 12, 7.5), ((12, 25), 16, 7.5), ((), 20, 0.5),
    ]  # fmt: skip


def test_what_comes_when_the_game_is_over_is_not_asked(asked):
    assert len(experts.questions(asked(record(5, "C3", "pass", "pass", "B2", "A1")))) == 1


def test_faults_of_the_data_give_one_line(asked, tmp_path):
    with pytest.raises(UserError, match="a board of 9x9, expected 5x5"):
        experts.questions(asked(record(9, "C3")))
    with pytest.raises(UserError, match=r"holds no \.sgf file"):
        data.prepare(dataclasses.replace(numbers.QUICK, data_dir=str(tmp_path), playout_games=0))
    with pytest.raises(UserError, match="expected 12 for positions, found 2"):
        data.prepare(asked(record(5, "C3", "B2"), num_positions=12))
    with pytest.raises(UserError, match="no position to predict"):
        data.prepare(asked(record(5, "pass")))


def test_each_round_asks_all_with_other_symmetries(asked):
    config = asked(record(5, "C3", "B2", "A1"), num_positions=3, prediction_rounds=2,
                   positions_at_once=4)  # fmt: skip
    batches = data.batches(config, "test", 1)
    assert [len(indices) for indices in batches.indices] == [4, 2]
    first, second = (batches.at(indices) for indices in batches.indices)
    answers = np.concatenate([first["answers"], second["answers"]])
    assert answers.tolist() == [12, 16, 20] * 2
    draws = np.concatenate([first["draws"], second["draws"]])
    assert len(set(draws)) == 6
    assert first["lengths"].tolist() == [0, 1, 2, 0] and first["moves"][2, :3].tolist() == [12, 16,
                                                                                           -1]
    later = data.batches(config, "test", 2).at(np.arange(4))
    assert not set(later["draws"]) & set(draws)
    part = batches.at(np.array([1, 2]))
    assert part["draws"].tolist() == draws[1:3].tolist()


def test_a_prediction_does_not_depend_on_those_beside_it(asked):
    config = asked(record(5, "C3", "B2", "pass", "A1", "D4"), num_positions=4, network_rows=8,
                   prediction_readouts=30)  # fmt: skip
    batches = data.batches(config, "test", 1)
    moves, visits, values = prediction.choose(config, fake_network.evaluate,
                                              batches.at(np.arange(4)))
    assert moves.tolist() == np.argmax(visits, axis=1).tolist()
    # The first batch is the root alone, each further one of four.
    assert ((visits.sum(axis=1) >= 30 - 4) & (visits.sum(axis=1) <= 30 + 4)).all()
    for number, question in enumerate(experts.questions(config)):
        position = plain_go.Position(5, 0.5)
        for move in question.moves:
            position = position.after(move)
        draw = int(batches.at(np.arange(4))["draws"][number])
        assert visits[number].tolist() == plain_root(position, draw, 30, 4).child_n
    for number in (3, 0):
        config = dataclasses.replace(config, network_rows=3)
        one = prediction.choose(config, fake_network.evaluate, batches.at(np.array([number])))
        assert one[1].tolist() == [visits[number].tolist()] and one[2][0] == values[number]
    assert quality.compare(moves, {"answers": moves}) == (4, 4)
