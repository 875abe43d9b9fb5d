"""The player with random playouts, and what cheap players reach against it."""

import dataclasses

import numpy as np
import pytest

from reinforcement import data, features, go, matches, playouts
from reinforcement.config import QUICK, REFERENCE
from tests.reinforcement import baselines, fake_network

CONFIG = dataclasses.replace(QUICK, seed=1)


def planes_of(*moves):
    return features.planes_of([np.array(moves, np.int16)], [len(moves)], [0], 5)


def board(text):
    """int8 [P] of a drawing: X Black, O White."""
    return np.array([{"X": 1, "O": -1, ".": 0}[c] for c in "".join(text.split())], np.int8)


def sensible(text, colour):
    """The points where a side would play, as numbers."""
    stones = board(text)
    size = int(len(stones) ** 0.5)
    return [point for point in range(len(stones)) if stones[point] == 0 and playouts.is_sensible(
        stones, go.neighbours(size), point, colour, go.scratch(size))]


def test_neither_eyes_nor_suicide_nor_else():
    """Each case by hand: an own eye, a false suicide that captures, a group's last liberty."""
    assert sensible(". X X X X . X X X", 1) == []            # its own eyes alone
    assert sensible(". X X X X X X X X", -1) == [0]          # takes all of it
    assert sensible(". X . X X . . . .", -1) == [2, 5, 6, 7, 8]  # 0 were suicide
    assert sensible(". O X O O X X X .", -1) == [8]          # 0 an eye, 8 takes
    assert sensible(". O X O O X X X .", 1) == [0]           # takes; 8 is an eye


def test_what_a_side_may_play_is_legal():
    rng, compared = np.random.default_rng(1), 0
    for _ in range(40):
        position = go.Position(5, 0.5)
        while not position.is_over():
            legal = position.legal()
            for point in np.flatnonzero(position.board == 0):
                if point != position.ko:
                    beside = [p for p in go.neighbours(5)[point] if p >= 0]
                    is_eye = (position.board[beside] == position.to_play).all()
                    assert playouts.is_sensible(position.board, go.neighbours(5), point,
                                                position.to_play, position.room) == (
                        legal[point] == 1 and not is_eye)
                    compared += 1
            position.play(int(rng.choice(np.flatnonzero(legal))))
    assert compared > 10_000


def test_a_value_is_the_winners_and_a_function_of_the_position():
    evaluate = playouts.evaluator(CONFIG)
    # Black has the second column and the fourth; White has played passes.
    won = [move for row in range(5) for column in (1, 3) for move in (5 * row + column, 25)][:-1]
    priors, values = evaluate(planes_of(*won))
    assert values.tolist() == [1.0] and priors[0] == pytest.approx(1 / 26)
    lost = [25, *won]   # the colours exchanged
    assert evaluate(planes_of(*lost))[1].tolist() == [-1.0]
    many = np.concatenate([planes_of(*range(n)) for n in range(12)] * 2)
    values = evaluate(many)[1]
    assert (values[:12] == values[12:]).all() and set(values) == {1.0, -1.0}
    assert (evaluate(many[5:9])[1] == values[5:9]).all()


def test_random_games_of_an_empty_board_are_won_by_either_side():
    """Black's share lies a little above a half: it has the first move and half a point of komi."""
    forms = [planes_of(first, second) for first in range(25) for second in range(25)
             if first != second]
    values = playouts.evaluator(CONFIG)(np.concatenate(forms))[1]
    assert 0.45 < (values > 0).mean() < 0.70


def test_openings_differ_and_each_is_played_with_both_colours():
    found = playouts.questions(CONFIG)
    assert len(found) == CONFIG.playout_games
    openings = [question.moves for question in found]
    assert openings[::2] == openings[1::2] and len(set(openings)) == len(found) // 2
    assert [question.answer for question in found] == [1, -1] * (len(found) // 2)
    assert all(black != white and min(black, white) >= 0 and max(black, white) < 25
               for black, white in openings)
    every = playouts.questions(dataclasses.replace(CONFIG, playout_games=1200))
    assert len({question.moves for question in every}) == 600
    other = playouts.questions(dataclasses.replace(CONFIG, seed=2))
    assert [question.moves for question in other] != openings


def test_a_game_does_not_depend_on_those_beside_it():
    config = dataclasses.replace(CONFIG, playout_games=12, prediction_readouts=12, network_rows=16,
                                 num_positions=12, games_at_once=5)  # fmt: skip
    shared = baselines.searched(config, fake_network.evaluate)
    for change in ({"games_at_once": 12}, {"network_rows": 7}):
        changed = dataclasses.replace(config, **change)
        assert baselines.searched(changed, fake_network.evaluate) == shared
    batches = data.batches(config, "test", 1)
    batch = batches.at(np.arange(12))
    assert batch["answers"].tolist() == [1, -1] * 6
    winners = playouts.winners(config, fake_network.evaluate, batch)
    assert set(winners.tolist()) <= {1, -1}
    part = playouts.winners(config, fake_network.evaluate, batches.at(np.array([7, 2])))
    assert part.tolist() == winners[[7, 2]].tolist()


def test_the_measured_player_has_the_colour_of_the_answer():
    """One that resigns at once loses every game."""
    class Resigning(matches.Searcher):
        def choose(self, slots):
            return [(None, np.zeros(26, np.int32))] * len(slots)

    config = dataclasses.replace(CONFIG, playout_games=8)
    assert baselines.played(config, Resigning(config, fake_network.evaluate, 8)) == 0.0


# Shares of the quick profile's games.
EXPECTED = {"random": 0.03, "commonest point": 0.44, "playouts": 0.5}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_target_is_out_of_reach_of_cheap_players(name):
    """A search with a network that has learnt nothing is a test of each framework."""
    config = data.prepare(CONFIG)
    assert config.num_positions == 128
    error = 0.5 / 128**0.5
    share = {
        "random": lambda: baselines.played(config, baselines.random_points(config)),
        "commonest point": lambda: baselines.played(config, baselines.commonest_points(config)),
        "playouts": lambda: baselines.searched(config, playouts.evaluator(config)),
    }[name]()
    assert share == pytest.approx(EXPECTED[name], abs=3 * error)
    assert EXPECTED[name] + 2 * error < config.target > share


def test_the_reference_predicts():
    assert REFERENCE.playout_games == 0 and QUICK.playout_games == 128
