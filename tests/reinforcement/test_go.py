"""The rules: shapes by hand, and whole games beside three other engines."""

import os
import shutil

import numpy as np
import pytest

from reinforcement import go, sgf
from reinforcement.gnugo import GnuGo
from tests.reinforcement import plain_go

GNU_GO = shutil.which("gnugo", path=f"{os.environ['PATH']}:/usr/games")


def drawn(rows, to_play=go.BLACK, komi=0.5):
    """The Position of a picture: X Black, O White, . empty; the top row first."""
    cells = "".join(rows.split())
    position = go.Position(round(len(cells) ** 0.5), komi)
    position.board[:] = [{"X": 1, "O": -1, ".": 0}[cell] for cell in cells]
    position.to_play = to_play
    return position


def picture(position):
    cells = ["." if not stone else "XO"[int(stone < 0)] for stone in position.board]
    size = position.size
    return " ".join("".join(cells[row * size : row * size + size]) for row in range(size))


def played(position, *names):
    for name in names:
        position.play(sgf.move_of(name, position.size))
    return position


def is_legal(position, name):
    return bool(position.legal()[sgf.move_of(name, position.size)])


@pytest.mark.parametrize(
    ("before", "move", "after"),
    [
        (".X. XOX ...", "B1", ".X. X.X .X."),                  # in the middle
        ("XO. .X. ...", "C3", "X.X .X. ..."),                  # at the edge
        ("OX. ... ...", "A2", ".X. X.. ..."),                  # in the corner
        (".OOX XOOX XXX. ....", "A4", "X..X X..X XXX. ...."),  # four at once
        ("O.O X.X ...", "B3", ".X. X.X ..."),                  # by a stone without a liberty
        # Two lone stones and a chain of two.
        ("XOX.. O.OX. XXOX. ..X.. .....", "B4", "X.X.. .X.X. XX.X. ..X.. ....."),
    ],
)  # fmt: skip
def test_captures(before, move, after):
    assert picture(played(drawn(before), move)) == after


@pytest.mark.parametrize(
    ("before", "colour", "move", "legal"),
    [
        (".X. X.X .X.", go.WHITE, "B2", False),   # suicide of one
        (".OX XX. ...", go.WHITE, "A3", False),   # of two
        (".OX XX. ...", go.BLACK, "A3", True),    # which is a capture for the other
        (".X. XX. ...", go.BLACK, "A3", True),    # an eye of one's own, with liberties elsewhere
        (".X. XX. ...", go.WHITE, "A3", False),
        ("XX. XX. XX.", go.WHITE, "C2", True),
        ("X.X XXX XXX", go.WHITE, "B3", True),    # all of Black's, by their last liberty
        ("X.X XXX XXX", go.BLACK, "B3", False),
        ("X.. ... ...", go.WHITE, "A3", False),   # there lies a stone
        ("X.. ... ...", go.WHITE, "pass", True),
    ],
)  # fmt: skip
def test_what_is_legal(before, colour, move, legal):
    assert is_legal(drawn(before, colour), move) == legal


def test_two_eyes_live_and_one_dies():
    two = drawn(".X.XO XXXXO OOOOO ..... .....", go.WHITE)
    assert not is_legal(two, "A5") and not is_legal(two, "C5")
    one = drawn(".XXXO XXXXO OOOOO ..... .....", go.WHITE)
    assert picture(played(one, "A5")) == "O...O ....O OOOOO ..... ....."


KO = ".XO. XO.O .XO. ...."


def test_a_ko_is_not_retaken_at_once():
    position = played(drawn(KO), "C3")
    assert picture(position) == ".XO. X.XO .XO. ...."
    assert position.ko == sgf.move_of("B3", 4) and not is_legal(position, "B3")
    with pytest.raises(ValueError, match="move 2 is not legal"):
        played(position, "B3")
    assert picture(played(position, "D1", "A1", "B3")) == ".XO. XO.O .XO. X..O"


def test_a_pass_lifts_a_ko():
    position = played(drawn(KO), "C3", "pass", "A1")
    assert is_legal(position, "B3")


def test_one_that_captures_and_is_joined_or_captures_two_makes_no_ko():
    assert played(drawn(".XO. XO.O .XX. ...."), "C3").ko == go.NO_KO
    two = played(drawn(".XXOO XOO.O .XXO. ..... ....."), "D4")
    assert picture(two) == ".XXOO X..XO .XXO. ..... ....." and two.ko == go.NO_KO
    assert is_legal(two, "C4")                     # which takes the one back


def test_a_position_may_come_back_otherwise_than_by_a_ko():
    """Superko is no rule here: on 2x2 a game without passes goes round."""
    rng = np.random.default_rng(1)
    position, seen = go.Position(2, 0.5), {}
    for number in range(60):
        key = position.board.tobytes(), position.to_play
        if key in seen and number - seen[key] > 2:
            return
        seen[key] = number
        legal = np.flatnonzero(position.legal()[:-1])
        if not len(legal):
            position, seen = go.Position(2, 0.5), {}
            continue
        position.play(int(rng.choice(legal)))
    raise AssertionError("no position came back")


def test_a_ladder_runs_to_the_edge():
    position = go.Position(9, 0.5)
    for row, column in ((4, 3), (5, 4), (5, 5)):
        position.board[9 * row + column] = go.BLACK
    position.board[9 * 4 + 4] = go.WHITE
    black = [(3, 4), (4, 6), (2, 5), (3, 7), (1, 6), (2, 8), (0, 7)]
    white = [(4, 5), (3, 5), (3, 6), (2, 6), (2, 7), (1, 7), (1, 8)]

    def liberties():
        return go.group(position.board, go.neighbours(9), 9 * 4 + 4, position.room)

    for number, (chase, run) in enumerate(zip(black, white), 1):
        assert liberties() == (number, 2)
        position.play(9 * chase[0] + chase[1])
        assert liberties() == (number, 1)
        position.play(9 * run[0] + run[1])
    assert liberties() == (8, 1)
    position.play(8)                               # in the corner
    assert (position.board == go.WHITE).sum() == 0
    assert (position.board == go.BLACK).sum() == 11


@pytest.mark.parametrize(
    ("rows", "score"),
    [
        ("... ... ...", 0),
        ("X.. ... ...", 9),                        # all that is empty touches Black alone
        ("X.O X.O X.O", 0),                        # between the two it is nobody's
        (".X. XX. OOO", 3 + 1 - 3),                # A3 is Black's, C3 and C2 are nobody's
        (".X. XX. ..O", 3 + 1 - 1),                # a dead stone stays, and spoils what it touches
        ("XX. XXX .O.", 5 + 1 - 1),
        ("OOO OOO OO.", -9),
    ],
)  # fmt: skip
def test_area(rows, score):
    assert drawn(rows, komi=0.5).score() == score - 0.5


def test_two_passes_end_a_game_and_so_does_its_last_move():
    assert not played(go.Position(5, 0.5), "pass", "C3", "pass").is_over()
    assert played(go.Position(5, 0.5), "C3", "pass", "pass").is_over()
    assert (go.max_moves(9), go.max_moves(5)) == (114, 35)
    position = go.Position(9, 7.5)
    for point in range(57):
        assert not position.is_over()
        position.play(point)
        assert not position.is_over()
        position.play(81)
    assert len(position.moves) == 114 and position.is_over()
    assert position.score() == 81 - 7.5


def test_the_symmetries_are_the_eight_and_leave_the_pass():
    grid = np.arange(9).reshape(3, 3)
    found = {tuple(way) for way in go.symmetries(3)}
    assert len(found) == 8 and all(way[-1] == 9 for way in found)
    for form in (grid, grid.T, grid[::-1], grid[:, ::-1], np.rot90(grid), np.rot90(grid, 2)):
        assert (*form.ravel(), 9) in found
    assert tuple(go.symmetries(3)[0]) == (*range(9), 9)


def random_move(rng, legal, passes=0.02):
    """A move, seldom a pass while there is another."""
    legal = legal[:-1] if len(legal) > 1 and rng.random() > passes else legal[-1:]
    return int(rng.choice(legal))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_random_games_agree_with_plain_rules(size):
    rng = np.random.default_rng(size)
    for _ in range(15):
        fast, plain = go.Position(size, 0.5), plain_go.Position(size, 0.5)
        while not plain.is_over():
            legal = np.flatnonzero(fast.legal())
            assert legal.tolist() == plain.legal()
            stones = {divmod(int(p), size): int(fast.board[p]) for p in np.flatnonzero(fast.board)}
            assert stones == plain.board
            assert fast.score() == plain.score()
            assert not fast.is_over()
            move = random_move(rng, legal)
            fast.play(move)
            plain = plain.after(move)
        assert fast.is_over()


def test_a_hundred_thousand_positions_agree_with_open_spiel():
    """Legal moves and winners.  Where its rules differ, at a repetition, it ends with a draw."""
    pyspiel = pytest.importorskip("pyspiel", reason="open_spiel is not installed")
    rng = np.random.default_rng(1)
    positions, winners = 0, {1: 0, -1: 0}
    for size, share in ((9, 60_000), (7, 20_000), (5, 20_000), (3, 1_000)):
        longest = go.max_moves(size)
        game = pyspiel.load_game("go", {"board_size": size, "komi": 7.5,
                                        "max_game_length": longest})
        rows = np.arange(size * size).reshape(size, size)[::-1].ravel()  # its rows go upwards
        theirs = np.append(rows, size * size)
        done = 0
        while done < share:
            state, position = game.new_initial_state(), go.Position(size, 7.5)
            while not state.is_terminal():
                legal = np.flatnonzero(position.legal())
                assert sorted(theirs[state.legal_actions()]) == legal.tolist()
                move = random_move(rng, legal)
                position.play(move)
                state.apply_action(int(theirs[move]))
                done += 1
            result = state.returns()[0]
            if result:
                assert position.is_over()
                assert (position.score() > 0) == (result > 0)
                winners[int(result)] += 1
        positions += done
    assert positions >= 100_000
    assert min(winners.values()) > 50


@pytest.mark.skipif(not GNU_GO, reason="GNU Go is not installed")
@pytest.mark.parametrize("size", [5, 9])
def test_games_agree_with_gnu_go(size):
    """The stones on the board and the legal moves, after each move."""
    rng = np.random.default_rng(size)
    engine = GnuGo(size, 7.5, 1, 1)
    try:
        for _ in range(2):
            engine.ask("clear_board")
            position = go.Position(size, 7.5)
            while not position.is_over():
                colour = "black" if position.to_play == go.BLACK else "white"
                legal = np.flatnonzero(position.legal())
                names = {sgf.name_of(int(move), size) for move in legal[:-1]}
                assert set(engine.ask(f"all_legal {colour}").split()) - {"PASS"} == names
                for stone, name in ((go.BLACK, "black"), (go.WHITE, "white")):
                    points = np.flatnonzero(position.board == stone)
                    stones = {sgf.name_of(int(point), size) for point in points}
                    assert set(engine.ask(f"list_stones {name}").split()) == stones
                move = random_move(rng, legal)
                engine.ask(f"play {colour} {sgf.name_of(move, size)}")
                position.play(move)
    finally:
        engine.close()


def test_inverses_lead_back():
    for size in (2, 5, 9):
        for way, back in zip(go.symmetries(size), go.inverses(size)):
            assert way[back].tolist() == back[way].tolist() == list(range(size**2 + 1))
