"""SGF: the main line in, the same out, and one line for what is none."""

import subprocess
import sys

import pytest

from common.errors import UserError
from reinforcement import sgf
from tests.conftest import ROOT

SMALL = "(;GM[1]FF[4]SZ[5]KM[0.5]PB[a]PW[b\\]c]RE[B+R];B[cc]C[note];W[];B[aa];W[tt];B[ea])"


def test_a_game():
    (game,) = sgf.parse(SMALL)
    assert (game.size, game.komi, game.result) == (5, 0.5, "B+R")
    assert (game.black, game.white) == ("a", "b]c")
    assert game.moves == [12, 25, 0, 25, 4]
    assert game.comments == ["note", "", "", "", ""]


def test_what_is_written_reads_the_same():
    (game,) = sgf.parse(SMALL)
    game.comments[2] = "C5 3, [a\\b], pass 1"
    game.komi, game.event = -7.25, "a [cup]"
    (again,) = sgf.parse(sgf.written(game))
    assert again == game


def test_the_main_line_is_the_first_of_each_variation():
    text = "(;SZ[5](;B[aa](;W[bb];B[cc])(;W[dd]))(;B[ee];W[ed]))"
    (game,) = sgf.parse(text)
    assert game.moves == [0, 6, 12]


def test_a_file_may_hold_several_games():
    one, two = sgf.parse(" \n(;SZ[5];B[aa])\r\n (;SZ[9]KM[7.5];B[ab];W[ba])\n")
    assert (one.size, one.moves, one.komi) == (5, [0], 0.0)
    assert (two.size, two.moves, two.komi) == (9, [9, 1], 7.5)


def test_old_names_with_small_letters_and_several_values():
    (game,) = sgf.parse("(;GaMe[1]SiZe[9]SZ[9]LB[aa:1][bb:2];Black[])".replace("SiZe[9]", ""))
    assert game.size == 9 and game.moves == [81]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("hello", "no bracket at the start"),
        ("(;SZ[5];B[aa]", "cut off"),
        ("(;SZ[5];B[aa", "character 10 fits nowhere"),
        ("(;SZ[5];B[aa]))", "a bracket too many"),
        ("()", "no node"),
        ("(SZ[5])", "a property outside a node"),
        ("(;[aa])", "a value without a property"),
        ("(;SZ[1000000000])", "expected 2 to 19"),
        ("(;SZ[1])", "expected 2 to 19"),
        ("(;SZ[5:4])", "expected 2 to 19"),
        ("(;SZ[\u0665])", "expected 2 to 19"),
        ("(;SZ[5]KM[1e9])", "expected a number"),
        ("(;SZ[5]KM[nan])", "expected a number"),
        ("(;SZ[5];B[fa])", "lies on no board"),
        ("(;SZ[5];B[a])", "lies on no board"),
        ("(;SZ[5];B[aaa])", "lies on no board"),
        ("(;SZ[5];W[aa])", "move 1 is the other side's"),
        ("(;SZ[5];B[aa];B[bb])", "move 2 is the other side's"),
        ("(;SZ[5]AB[aa];W[bb])", "stones that nobody played"),
        ("(" * 100_000, "cut off"),
        ("(;SZ[5];B[aa];W[aa])", "move 2 is not legal"),
        ("(;SZ[2];B[aa];W[ba];B[bb];W[aa])", "move 4 is not legal"),
        ("(;SZ[5]\0)", "fits nowhere"),
    ],
)
def test_what_is_no_game_gives_one_line(text, words, tmp_path):
    path = tmp_path / "game.sgf"
    path.write_text(text)
    with pytest.raises(UserError, match=r"game\.sgf: no game record that can be read") as caught:
        sgf.read(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        sgf.read(str(tmp_path / "missing.sgf"))
    with pytest.raises(UserError, match="cannot be read"):
        sgf.read(str(tmp_path))
    (tmp_path / "bytes.sgf").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(UserError, match="no game record"):
        sgf.read(str(tmp_path / "bytes.sgf"))
    (tmp_path / "long.sgf").write_bytes(b"(;C[" + b"x" * (1 << 24))
    with pytest.raises(UserError, match="more than 16,777,216 bytes"):
        sgf.read(str(tmp_path / "long.sgf"))


def test_a_long_value_takes_no_memory_for_ways_back():
    code = ("import resource\n"
            "from reinforcement import sgf\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "sgf.parse('(;SZ[5]C[' + 'x' * (1 << 20) + '])')\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert int(done.stdout) < 50 << 10, done.stderr      # kilobytes; it was 200 MB


@pytest.mark.parametrize(
    ("move", "name"), [(0, "A9"), (8, "J9"), (72, "A1"), (80, "J1"), (81, "pass")]
)
def test_names_of_moves_leave_out_the_letter_i(move, name):
    assert sgf.name_of(move, 9) == name
    assert sgf.move_of(name, 9) == move == sgf.move_of(name.lower(), 9)


@pytest.mark.parametrize("name", ["I5", "K1", "A0", "A10", "", "5A", "A", "resign"])
def test_names_of_no_move(name):
    with pytest.raises(ValueError, match="lies on no board"):
        sgf.move_of(name, 9)
