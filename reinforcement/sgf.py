"""Games as text: SGF, the Smart Game Format (red-bean.com/sgf), FF[4].

Reads the main line of each game of a file, B and W by turns from the empty board; writes the same.
Two libraries for it at PyPI, sgf and sgfmill, are no longer maintained.
"""

import re
from dataclasses import dataclass, field

from common.errors import UserError
from common.files import open_regular
from reinforcement import go

MAX_BYTES = 1 << 24
MAX_SIZE = 19
COLUMNS = "ABCDEFGHJKLMNOPQRST"   # of a board's usual coordinates; there is no I

# A value in brackets, in which a backslash makes the next character plain.  Possessive, so that no
# way back is remembered: a value of 4 MB took 0.9 GB.
TOKEN = re.compile(r"\s*(?:([();])|([A-Za-z]+)|\[((?:[^\]\\]++|\\.)*+)\])", re.DOTALL)


@dataclass
class Game:
    """A game's moves, and what its file says of it.  Moves: points, or size^2: a pass."""

    size: int
    komi: float
    moves: list[int] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)   # one for each move
    black: str = ""
    white: str = ""
    result: str = ""
    event: str = ""

    def end(self):
        """The Position at the game's end.  Raises ValueError for a move against the rules."""
        position = go.Position(self.size, self.komi)
        for move in self.moves:
            position.play(move)
        return position


def read(path):
    """[Game] of a file, all moves legal.  Raises UserError."""
    try:
        with open_regular(path) as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        games = parse(content.decode(errors="replace"))
        for game in games:
            game.end()
    except ValueError as error:
        raise UserError(f"{path}: no game record that can be read ({error}). Remove it, or put a "
                        "whole one there.") from None
    return games


def parse(text):
    """[Game] of SGF's text, their moves not tried.  Raises ValueError."""
    games, depth, main, node, name = [], 0, False, None, None
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = TOKEN.match(text, place)
        if not found:
            raise ValueError(f"character {place + 1} fits nowhere")
        place = found.end()
        mark, word, value = found.groups()
        if mark == "(":
            if depth == 0:
                games.append([])
                main = True        # until the first variation has ended
            depth += 1
            node = None
        elif mark == ")":
            if depth == 0:
                raise ValueError("a bracket too many")
            depth -= 1
            main, node = False, None
        elif depth == 0:
            raise ValueError("no bracket at the start")
        elif mark == ";":
            node, name = {}, None
            if main:
                games[-1].append(node)
        elif node is None:
            raise ValueError("a property outside a node")
        elif word:
            name = "".join(c for c in word if c.isupper())   # FF[3] had small letters between
        elif name is None:
            raise ValueError("a value without a property")
        else:
            node.setdefault(name, []).append(re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL))
    if depth or not games:
        raise ValueError("cut off" if games else "empty")
    return [_game(nodes) for nodes in games]


def _game(nodes):
    """The Game of a main line.  Raises ValueError."""
    if not nodes:
        raise ValueError("no node")
    root = nodes[0]

    def first(name, default=""):
        return root.get(name, [default])[0].strip()

    size = first("SZ", "19")
    if not (size.isascii() and size.isdigit() and len(size) < 3 and 2 <= int(size) <= MAX_SIZE):
        raise ValueError(f"SZ[{size[:20]}]: expected 2 to {MAX_SIZE}")
    komi = first("KM", "0") or "0"
    if not re.fullmatch(r"[+-]?\d{1,3}(\.\d{0,4})?", komi, re.ASCII):
        raise ValueError(f"KM[{komi[:20]}]: expected a number")
    game = Game(int(size), float(komi), black=first("PB"), white=first("PW"),
                result=first("RE"), event=first("EV"))  # fmt: skip
    for node in nodes:
        if any(name in node for name in ("AB", "AW", "AE", "PL")):
            raise ValueError("stones that nobody played")
        for colour in ("B", "W"):
            for text in node.get(colour, []):
                if colour != "BW"[len(game.moves) % 2]:
                    raise ValueError(f"move {len(game.moves) + 1} is the other side's")
                game.moves.append(_move(text.strip(), game.size))
                game.comments.append(node.get("C", [""])[0])
    return game


def _move(text, size):
    """The move of SGF's two letters: column, then row from the top.  Raises ValueError."""
    if text == "" or (text == "tt" and size <= 19):
        return size * size
    column, row = (ord(letter) - ord("a") for letter in text) if len(text) == 2 else (-1, -1)
    if not (0 <= column < size and 0 <= row < size):
        raise ValueError(f"[{text[:20]}] lies on no board of {size}x{size}")
    return row * size + column


def written(game):
    """The text of a Game."""
    def plain(text):
        return re.sub(r"([\]\\])", r"\\\1", text)

    lines = [f"(;GM[1]FF[4]CA[UTF-8]SZ[{game.size}]KM[{game.komi:g}]RU[Chinese]"
             f"PB[{plain(game.black)}]PW[{plain(game.white)}]RE[{plain(game.result)}]"
             + f"EV[{plain(game.event)}]" * bool(game.event)]
    for number, (move, comment) in enumerate(zip(game.moves, game.comments, strict=True)):
        row, column = divmod(move, game.size)
        text = "" if move == game.size**2 else f"{chr(97 + column)}{chr(97 + row)}"
        lines.append(f";{'BW'[number % 2]}[{text}]" + f"C[{plain(comment)}]" * bool(comment))
    return "\n".join(lines) + ")\n"


def name_of(move, size):
    """A move as people say it: E5, rows counted from the bottom; pass."""
    row, column = divmod(move, size)
    return "pass" if move == size**2 else f"{COLUMNS[column]}{size - row}"


def move_of(name, size):
    """The move of such a name.  Raises ValueError."""
    if name.lower() == "pass":
        return size**2
    found = re.fullmatch(r"([A-Za-z])([0-9]{1,2})", name)
    column = COLUMNS.find(found[1].upper()) if found else -1
    row = size - int(found[2]) if found else -1
    if not (0 <= column < size and 0 <= row < size):
        raise ValueError(f"{name[:20]!r} lies on no board of {size}x{size}")
    return row * size + column
