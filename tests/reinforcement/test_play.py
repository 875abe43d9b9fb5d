"""GTP: a scripted session, what is refused, and what no checkpoint is."""

import dataclasses
import io
import pickle
import types

import numpy as np
import pytest

from common import checkpoint, trained
from reinforcement import go, play, sgf
from reinforcement.config import QUICK
from tests.reinforcement import fake_network

CONFIG = dataclasses.replace(QUICK, application="reinforcement", framework="pytorch", seed=1,
                             network_rows=8, readouts=12)  # fmt: skip


@pytest.fixture
def engine():
    return play.Engine(CONFIG, fake_network.evaluate)


def said(engine, *lines):
    """The answers to lines of input, without the empty line behind each."""
    answers = [engine.answer(line)[0] for line in lines]
    assert all(answer is None or answer.endswith("\n\n") for answer in answers)
    return [answer and answer[:-2] for answer in answers]


def test_a_session(engine):
    assert said(
        engine, "1 protocol_version", "name", "boardsize 5", "komi 0.5", "clear_board",
        "7 play black C3", "play W d3", "play b pass", "final_score",
    ) == ["=1 2", "= Minigo", "=", "=", "=", "=7", "=", "=", "= W+0.5"]  # fmt: skip
    [shown] = said(engine, "showboard")
    assert shown.splitlines()[1:] == [
        "   A B C D E", " 5 . . . . .", " 4 . . . . .", " 3 . . X O .", " 2 . . . . .",
        " 1 . . . . .", "   A B C D E",
    ]  # fmt: skip
    [move] = said(engine, "genmove white")
    assert sgf.move_of(move.removeprefix("= "), 5) == engine.position.moves[-1]
    before = engine.position.board.copy()
    assert said(engine, "undo", "undo", "undo", "final_score", "undo", "undo") == [
        "=", "=", "=", "= B+24.5", "=", "? cannot undo"]
    assert before.any() and not engine.position.board.any()


def test_a_score_is_the_boards(engine):
    assert said(engine, "play b C3", "komi 25", "final_score", "komi -1.5", "final_score",
                "komi 26", "final_score") == ["=", "=", "= 0", "=", "= B+26.5", "=", "= W+1"]
    assert engine.position.moves == [12]


def test_the_move_is_that_of_the_search_and_undo_forgets_it(engine):
    [first] = said(engine, "reg_genmove b")
    assert engine.position.moves == []
    # What was searched is kept for the next move; after undo it is forgotten.
    assert said(engine, "genmove b", "undo", "genmove b")[1:] == ["=", first]
    [move, _] = next(iter(play.Engine(CONFIG, fake_network.evaluate).player.choose([0])))
    assert first == f"= {sgf.name_of(move, 5)}"
    said(engine, "clear_board")
    others = [said(engine, "genmove b", "clear_board")[0] for _ in range(8)]
    assert len(set(others)) > 1     # each game has symmetries of its own


def test_who_plays_twice_lets_the_other_pass(engine):
    assert said(engine, "play b C3", "play b D3") == ["=", "="]
    assert engine.position.moves == [12, 25, 13]
    assert said(engine, "undo")[0] == "=" and engine.position.moves == [12]
    said(engine, "genmove b")
    assert engine.position.moves[:2] == [12, 25] and len(engine.position.moves) == 3
    assert said(engine, "undo")[0] == "=" and engine.position.moves == [12]


def test_a_long_game_takes_no_more_memory_than_its_moves(engine):
    said(engine, *(f"play {'bw'[number % 2]} pass" for number in range(300)))
    assert len(pickle.dumps(engine.past)) < 10 * 300      # of each: not a copy of all moves
    assert said(engine, "undo")[0] == "=" and len(engine.position.moves) == 299


def test_a_game_that_is_over(engine):
    assert said(engine, "play b pass", "play w pass", "genmove b", "reg_genmove w") == [
        "=", "=", "= pass", "= pass"]
    said(engine, "clear_board")
    for number in range(go.max_moves(5)):
        vertex = "pass" if number % 2 else sgf.name_of(number // 2, 5)
        assert said(engine, f"play {'bw'[number % 2]} {vertex}") == ["="]
    assert said(engine, "genmove w") == ["= pass"]


def test_the_side_that_is_lost_resigns():
    def lost(planes):
        return fake_network.evaluate(planes)[0], np.full(len(planes), -0.99)

    engine = play.Engine(dataclasses.replace(CONFIG, readouts=40, gate_resign_value=-0.9), lost)
    assert said(engine, "genmove b", "reg_genmove b") == ["= resign", "= resign"]
    assert said(engine, "undo", "genmove w")[0] == "="


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("fly", "? unknown command"), ("12 fly me", "?12 unknown command"),
        ("3", "?3 unknown command"), ("boardsize 9", "? unacceptable size"),
        ("boardsize five", "? unacceptable size"), ("boardsize", "? syntax error"),
        ("komi much", "? syntax error"), ("komi nan", "? syntax error"),
        ("komi 1e9", "? syntax error"), ("play", "? syntax error"),
        ("play b", "? syntax error"), ("play red C3", "? syntax error"),
        ("play b F1", "? syntax error"), ("play b I3", "? syntax error"),
        ("play w C3", "? illegal move"), ("genmove", "? syntax error"),
        ("genmove red", "? syntax error"), ("undo", "? cannot undo"),
        ("known_command", "? syntax error"), ("known_command undo", "= true"),
        ("known_command fly", "= false"), ("9 known_command quit # comment", "=9 true"),
        ("\tname \r\x00\x07", "= Minigo"), ("list_commands at all", None),
        ("name" * 100_000, "? unknown command"), ("play b \u0665", "? syntax error"),
    ],
)  # fmt: skip
def test_each_line_has_its_answer(engine, line, answer):
    engine.start([12])
    [found] = said(engine, line)
    if answer is None:
        assert found.removeprefix("= ").split("\n") == list(engine.commands)
    else:
        assert found == answer
    assert engine.position.moves == [12]


@pytest.mark.parametrize("line", ["", "  \t ", "# nothing", "\x01\r\n"])
def test_what_says_nothing_has_no_answer(engine, line):
    assert said(engine, line) == [None]


def test_a_ko_is_illegal(engine):
    stones = ("b B3", "w C3", "b C4", "w D4", "b C2", "w D2", "b A1", "w E3", "b D3")
    moves = [f"play {stone}" for stone in stones]
    assert said(engine, *moves) == ["="] * len(moves)
    assert said(engine, "play w C3") == ["? illegal move"] and len(engine.position.moves) == 9
    assert said(engine, "play w E1", "play b A2", "play w C3") == ["="] * 3


def saved(folder, **fields):
    """A checkpoint of a run with these fields; its network is zeros."""
    config = dataclasses.replace(CONFIG, num_positions=128, **fields)
    checkpoint.save(str(folder), trained.expected_state(CONFIG),
                    {"step": 1, "config": dataclasses.asdict(config)})
    return trained.newest(str(folder / "..")) if folder.name == "checkpoint" else str(
        next(folder.iterdir()))


def test_the_program_reads_until_quit(tmp_path, monkeypatch, capsys):
    path = saved(tmp_path / "checkpoint")
    trainer = types.SimpleNamespace(infer=fake_network.evaluate)
    monkeypatch.setattr(trained, "trainer_of", lambda config, name, where: trainer)
    text = b"name\nversion\n\xff\ngenmove b\nquit\nname\n"
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(text)))
    assert play.main(["pytorch", str(tmp_path), "20"]) == 0
    answers = capsys.readouterr().out.split("\n\n")
    assert answers[:3] == ["= Minigo", "= pytorch 20 readouts", "? unknown command"]
    assert answers[3].startswith("= ") and answers[4:] == ["=", ""]
    assert play.player_config(path).readouts == CONFIG.readouts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "usage: "), (("jax", "x"), "FRAMEWORK is one of"), (("pytorch",), "usage: "),
        (("pytorch", "/nowhere"), "/nowhere: no checkpoint"),
        (("pytorch", "HERE", "many"), "expected 1 to 1,000,000"),
        (("pytorch", "HERE", "0"), "expected 1 to 1,000,000"),
        (("pytorch", "HERE", "5", "6"), "usage: "), (("pytorch", "TEXT"), "damaged"),
        (("pytorch", "LARGE"), "filters"), (("pytorch", "OTHER"), "Expected one of reinforcement"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_gives_one_line(arguments, words, tmp_path, capsys):
    (tmp_path / "text").write_text("no checkpoint")
    places = {"TEXT": str(tmp_path / "text")}
    if "HERE" in arguments:
        places["HERE"] = saved(tmp_path / "a")
    if "LARGE" in arguments:
        places["LARGE"] = saved(tmp_path / "b", filters=10**9)
    if "OTHER" in arguments:
        places["OTHER"] = saved(tmp_path / "c", application="translation")
    assert play.main([places.get(one, one) for one in arguments]) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and told.err.count("\n") == 1
    assert words in told.err
