"""What reinforcement alone has: games that its network plays."""

import numpy as np

from common.command import FRAMEWORKS

GAMES = 64


def test_the_same_parameters_play_the_same_games(command, tmp_path):
    """In float64, of the first generation: move for move, visit for visit."""
    found = {}
    for name in FRAMEWORKS:
        file = tmp_path / f"{name}.npz"
        command("common/in_environment.sh", "reinforcement", name, "-m",
                "tests.end_to_end.self_played", name, file, GAMES)
        found[name] = np.load(file)
    expected = found["pytorch"]
    assert len(expected["lengths"]) == GAMES
    openings = {tuple(game[:4]) for game in
                np.split(expected["moves"], np.cumsum(expected["lengths"])[:-1])}
    assert len(openings) > GAMES // 2  # the games are of many kinds
    for name in FRAMEWORKS[1:]:
        for array in expected:
            assert np.array_equal(found[name][array], expected[array]), (name, array)
