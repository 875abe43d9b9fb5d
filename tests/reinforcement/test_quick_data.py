"""The embedded games, and what cheap players reach on them."""

import dataclasses

import numpy as np
import pytest

from reinforcement import config, data, experts, go, quick_data, sgf
from tests.reinforcement import baselines


@pytest.fixture(scope="module")
def prepared():
    return data.prepare(dataclasses.replace(config.QUICK, seed=1))


def test_there_are_enough_positions_that_differ_up_to_symmetry(prepared):
    found = baselines.positions(prepared)
    assert len(found) == prepared.num_positions >= 1500
    assert len({experts.key(position) for _, position in found}) == len(found)
    for question, position in found:
        assert position.legal()[question.answer] and question.answer < 25
        assert question.answer != experts.most_central(position)
        assert question.komi == config.QUICK.komi


def test_the_games_are_gnu_gos_from_four_random_moves():
    games = sgf.read(quick_data.GAMES)
    assert len({tuple(game.moves) for game in games}) == len(games) > 300
    assert {game.black for game in games} == {"GNU Go 3.8"}
    openings = {tuple(game.moves[: config.QUICK.first_move]) for game in games}
    assert len(openings) > 0.9 * len(games)
    assert all(25 not in game.moves[:-1] for game in games)


def test_the_target_is_out_of_reach_of_cheap_players(prepared):
    """A search with a network that has learnt nothing is a test of each framework."""
    error = (0.1 * 0.9 / prepared.num_positions) ** 0.5
    shares = {
        "random move": baselines.random_move(prepared),
        "commonest point": baselines.commonest_point(prepared),
        "random playouts": baselines.searched(prepared, baselines.playouts(prepared)),
    }
    assert shares == {
        "random move": pytest.approx(0.066, abs=0.001),
        "commonest point": pytest.approx(0.101, abs=0.001),
        "random playouts": pytest.approx(0.109, abs=3 * error),
    }
    assert max(shares.values()) < prepared.target - 4 * error, shares


def test_random_playouts_know_who_has_won():
    position = go.Position(5, 0.5)
    position.board[:] = 1
    position.board[[0, 2]] = 0
    boards = np.array([position.board, -position.board])
    values = baselines.play_out(boards, np.array([-1, 1], np.int8), go.neighbours(5),
                                go.scratch(5), 0.5, 1)  # fmt: skip
    assert values.tolist() == [1.0, -1.0]


def test_the_most_central_point():
    position = go.Position(5, 0.5)
    assert experts.most_central(position) == 12
    position.play(12)
    assert experts.most_central(position) == 7     # of the four beside it the first
    position.play(7)
    assert experts.most_central(position) == 11
    full = go.Position(2, 0.5)
    full.board[:] = [1, 1, 1, 0]
    full.to_play = 1
    assert experts.most_central(full) == 4
