"""Elo by hand, and the files of a measured run."""

import dataclasses
import json
import types
import xml.etree.ElementTree

import numpy as np
import pytest

from common import checkpoint, trained
from common.errors import UserError
from reinforcement import games, gnugo, matches, strength
from tests.reinforcement import fake_network
from tests.reinforcement.test_play import CONFIG, saved


@pytest.mark.parametrize(
    ("wins", "count", "points", "error"),
    [(50, 100, 0.0, 34.6), (10, 11, 338.0, 151.6), (0, 100, -921.3, 246.3)],
)
def test_elo(wins, count, points, error):
    """By hand: 400 log10 of the odds 50.5 : 50.5, 10.5 : 1.5 and 0.5 : 100.5; errors by 173.7
    times the root of the two reciprocals' sum."""
    found, its_error = strength.elo(wins, count)
    assert (found, its_error) == (pytest.approx(points, abs=0.1), pytest.approx(error, abs=0.1))


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run folder with three networks, of which the second is the first again."""
    (tmp_path / "players").mkdir()
    saved(tmp_path / "checkpoint")
    zeros = trained.expected_state(CONFIG)["parameter"]
    for generation, value in ((1, 0.0), (2, 0.0), (3, 1.0)):
        arrays = {name: np.full_like(array, value) for name, array in zeros.items()}
        checkpoint.save_tensors(games.player_path(str(tmp_path), generation), arrays)
    asked = []

    class Trainer:
        def __init__(self):
            self.weights = zeros

        def state(self):
            return {"parameter": self.weights}

        def load_state(self, state):
            self.weights = state["parameter"]

        def infer(self, planes):
            asked.append(float(self.weights["policy.bias"][0]))
            return fake_network.evaluate(planes)

    monkeypatch.setattr(trained, "trainer_of", lambda *arguments: Trainer())
    return types.SimpleNamespace(path=tmp_path, asked=asked)


def read_position(path):
    curve = [{"epoch": n, "quality": {"win_rate": 0.1 * n}} for n in (1, 2)]
    return {"config": dataclasses.asdict(CONFIG), "curve": curve}


def test_a_run_is_measured_and_drawn(run_folder, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "read_position", read_position)
    assert strength.main(["pytorch", str(run_folder.path), "4", "playouts"]) == 0
    rows = json.loads((run_folder.path / "strength.json").read_text())
    assert [(row["generation"], row["games"]) for row in rows] == [(0, 4), (1, 4), (2, 4)]
    assert rows[0]["wins"] == rows[1]["wins"] and set(run_folder.asked) == {0.0, 1.0}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("generation 0 against playouts: ")
    picture = xml.etree.ElementTree.parse(run_folder.path / "strength.svg").getroot()
    texts = {node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"against playouts", "win_rate"} <= texts


def test_what_is_measured_outlasts_an_interruption(run_folder, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "read_position", read_position)
    matches_played = iter([3])      # of the second there is no end

    def wins_against(*arguments):
        for wins in matches_played:
            return wins
        raise KeyboardInterrupt

    monkeypatch.setattr(strength, "wins_against", wins_against)
    assert strength.main(["pytorch", str(run_folder.path), "4", "playouts"]) == 130
    rows = json.loads((run_folder.path / "strength.json").read_text())
    assert [(row["generation"], row["wins"]) for row in rows] == [(0, 3), (1, 3)]
    assert (run_folder.path / "strength.svg").stat().st_size > 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "usage: "), (("jax", "x"), "FRAMEWORK is one of"), (("pytorch", "RUN", "1"), "GAMES"),
     (("pytorch", "RUN", "5"), "expected an even number"),
     (("pytorch", "RUN", "4", "katago"), "no opponent"),
     (("pytorch", "RUN", "4", "gnugo:11"), "no opponent"),
     (("pytorch", "RUN", "4", "gnugo:1"), "gnugo is not installed")],
)  # fmt: skip
def test_what_cannot_be_measured_gives_one_line(run_folder, arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(gnugo, "program", lambda: None)
    names = [str(run_folder.path) if one == "RUN" else one for one in arguments]
    assert strength.main(names) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and words in told.err


def test_networks_of_another_run_are_refused(run_folder, capsys):
    checkpoint.save_tensors(games.player_path(str(run_folder.path), 1), {"w": np.zeros(3)})
    assert strength.main(["pytorch", str(run_folder.path), "4", "playouts"]) == 1
    assert "no network of this run" in capsys.readouterr().err


@pytest.mark.skipif(gnugo.program() is None, reason="GNU Go is not installed")
def test_gnu_go_plays_a_game():
    """Against a search that knows nothing it wins, with either colour."""
    config = dataclasses.replace(CONFIG, readouts=8)
    player = gnugo.Player(config, 1)
    try:
        starts = [matches.Start(colour, (1, 2), 0.5, (6, 18)) for colour in (1, -1)]
        first = matches.Searcher(config, fake_network.evaluate, 2)
        found = matches.play(config, first, player, starts)
    finally:
        player.close()
    assert [game.winner for game in found] == [-1, 1]


@pytest.mark.parametrize(
    ("answers", "words"),
    [("exit 1", "'boardsize 5' has the answer ''"),
     ("sleep 99", "'boardsize 5' has the answer ''"),
     ("echo '? no'; echo; sleep 99", "has the answer '? no '"),
     ("echo '='; sleep 99", "has the answer '= '"),
     ("yes", "'boardsize 5' has the answer 'y y y"),
     ("tr '\\0' = </dev/zero", "has the answer '===="),
     ("while read line; do echo '= Q16'; echo; done", "'reg_genmove black' has the answer 'Q16'"),
     ("while read line; do echo '= B2'; echo; done", "'reg_genmove black' has the answer 'B2'")],
)  # fmt: skip
def test_a_program_that_is_no_gnu_go_gives_one_line(answers, words, tmp_path, monkeypatch):
    """It ends, waits for ever, refuses, never stops, plays beside the board or where a stone is."""
    script = tmp_path / "gnugo"
    script.write_text(f"#!/bin/sh\n{answers}\n")
    script.chmod(0o755)
    monkeypatch.setattr(gnugo, "program", lambda: str(script))
    monkeypatch.setattr(gnugo, "PATIENCE", 0.5)
    player = gnugo.Player(CONFIG, 1)
    try:
        with pytest.raises(UserError, match="Install GNU Go") as caught:
            player.begin(0, matches.Start(-1, (1, 2), 0.5, (16, 18)), 1)
            list(player.choose([0]))
    finally:
        player.close()
    assert words in str(caught.value)
