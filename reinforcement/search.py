"""Monte-Carlo tree search with a network, over many games at once.  Silver et al. 2017, "Mastering
the game of Go without human knowledge", in the form of Minigo's mcts.py in MLPerf Training v0.5.

All trees lie in one pool of nodes, and the steps between two calls of the network are compiled.
Values are Black's: 1 where Black wins.  The network's values are rounded to multiples of 2^-24, so
that all sums of them are exact, in any order; its priors are rounded to float32.  So the last bits
of the network's float64, which depend on framework and batch, move nothing.
P points, A = P + 1 moves, M nodes, G games, L leaves.
"""

import math
from typing import NamedTuple

import numpy as np

from reinforcement import features, go
from reinforcement.compiled import compiled

NONE, ILLEGAL = -1, -2            # in the place of a child
NEW, EXPANDED, OVER = 0, 1, 2     # kinds of nodes
VALUE_STEP = 2.0**-24


class Trees(NamedTuple):
    """The trees of G games.  Node 0 is none: the parent of every root."""

    node: np.ndarray    # [M] of node_type
    game: np.ndarray    # [G] of game_type
    table: np.ndarray   # [1] of table_type: what all have in common


# Records, not an array for each field: numba counts references to each array of a call.


def node_type(points):
    """A position in a tree."""
    return np.dtype([
        ("total", "f8"),               # of the values of its visits, and its parent's at first
        ("value", "f8"),               # the network's; where the game is over the area, see go.py
        ("parent", "i4"),              # of a free node: the next free one
        ("visits", "i4"),
        ("move", "i2"),                # that led here
        ("ko", "i2"),
        ("num_moves", "i2"),           # since the game's beginning
        ("kind", "i1"),
        ("to_play", "i1"),
        ("passes", "i1"),              # how many led here, one after another
        ("board", "i1", (points,)),
        ("prior", "f4", (points + 1,)),
        ("child", "i4", (points + 1,)),  # a node, NONE or ILLEGAL
    ], align=True)  # fmt: skip


def game_type(points):
    """What a game has beside its tree."""
    return np.dtype([
        ("draw", "u8"),                # the state of the numbers that choose symmetries
        ("komi", "f8"),
        ("root", "i4"),
        ("num_past", "i4"),            # of the boards before the root's, the newest first:
        ("past", "i1", (features.NUM_BOARDS - 1, points)),
    ], align=True)  # fmt: skip


def table_type(points):
    """What all games have in common, and room to work in."""
    return np.dtype([
        ("c_puct", "f8"),
        ("max_moves", "i4"),
        ("free", "i4"),                # the first free node
        ("num_free", "i4"),
        ("room", "i4", (3, points + 1)),
        ("beside", "i2", (points, 4)),
        ("turned", "i2", (8, points + 1)),
        ("back", "i2", (8, points + 1)),
        ("legal", "i1", (points + 1,)),
    ], align=True)  # fmt: skip


def plant(size, num_games, c_puct):
    """Trees of so many games, without a root; `begin` gives each one."""
    points = size * size
    table = np.zeros(1, table_type(points))
    table["c_puct"] = c_puct
    table["max_moves"] = go.max_moves(size)
    table["beside"] = go.neighbours(size)
    table["turned"] = go.symmetries(size)
    table["back"] = go.inverses(size)
    return Trees(np.zeros(1, node_type(points)), np.zeros(num_games, game_type(points)), table)


def grown(trees, needed):
    """The trees, with room for as many new nodes: their pool doubled where there is too little."""
    table = trees.table[0]
    while table["num_free"] < needed:
        nodes = len(trees.node)
        node = np.zeros(2 * nodes, trees.node.dtype)
        node[:nodes] = trees.node
        node["parent"][nodes:-1] = np.arange(nodes + 1, 2 * nodes)
        node["parent"][-1] = table["free"]
        table["free"] = nodes
        table["num_free"] += nodes
        trees = trees._replace(node=node)
    return trees


@compiled
def take_node(trees, parent, move):
    """A free node, made a new one.  Returns its number."""
    table = trees.table[0]
    number = table.free
    node = trees.node[number]
    table.free = node.parent
    table.num_free -= 1
    node.parent = parent
    node.move = move
    node.kind = NEW
    node.visits = 0
    node.value = 0.0
    node.ko = go.NO_KO
    return number


@compiled
def add_node(trees, parent, move):
    """A new node: the position after a move.  Returns its number."""
    number = take_node(trees, parent, move)
    node, before, table = trees.node[number], trees.node[parent], trees.table[0]
    points = len(node.board)
    for point in range(points):
        node.board[point] = before.board[point]
    node.total = before.value  # it counts as a visit, see best_move
    node.passes = before.passes + 1
    if move < points:
        node.ko = go.place(node.board, table.beside, move, before.to_play, table.room)
        node.passes = 0
    node.to_play = -before.to_play
    node.num_moves = before.num_moves + 1
    if node.passes >= 2 or node.num_moves >= table.max_moves:
        node.kind = OVER
        node.value = go.area(node.board, table.beside, table.room)
    return number


@compiled
def outcome(node, game):
    """Who has won, where the game is over: 1.0 or -1.0."""
    return 1.0 if node.value > game.komi else -1.0


@compiled
def best_move(trees, number):
    """The move with the largest Q + U for the side to move; of several the first.

    Q = (W + V) / (1 + N), V the node's own value; U = c P sqrt(1 + N of the node) / (1 + N).
    """
    node = trees.node[number]
    prior, children = node.prior, node.child
    colour = np.float64(node.to_play)
    scale = trees.table[0].c_puct * math.sqrt(1.0 + node.visits)
    best, best_score = -1, -np.inf
    for move in range(len(children)):
        child = children[move]
        if child == ILLEGAL:
            continue
        share = scale * prior[move]
        if child == NONE:
            score = node.value * colour + share
        else:
            score = (trees.node[child].total * colour + share) / (1.0 + trees.node[child].visits)
        if score > best_score:
            best, best_score = move, score
    return best


@compiled
def descend(trees, root):
    """Goes down to a leaf, which it counts as visited with all above it.  Returns its number."""
    number = root
    while True:
        node = trees.node[number]
        node.visits += 1
        if node.kind != EXPANDED:
            return number
        move = len(node.child) - 1
        # After a pass one looks at the answering pass first, so as not to lose by passing early.
        answer = node.child[move]
        if node.passes == 0 or (answer != NONE and trees.node[answer].visits > 0):
            move = best_move(trees, number)
        child = node.child[move]
        if child == NONE:
            child = add_node(trees, number, move)
            node.child[move] = child
        number = child


@compiled
def back_up(trees, leaf, value):
    """Adds a value to a leaf and all above it."""
    number = leaf
    while number != 0:
        trees.node[number].total += value
        number = trees.node[number].parent


@compiled
def lose(trees, leaf, sign):
    """Sets (1) or takes back (-1) a loss of those who chose the path to a leaf, while it waits for
    the network: the next one will rather go elsewhere."""
    number = leaf
    while number != 0:
        node = trees.node[number]
        node.total += sign * node.to_play
        number = node.parent


@compiled
def mixed(z):
    """uint64: a number that looks random, of another.  Steele et al. 2014, SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def next_symmetry(game):
    """A number of 0 to 7, of the game's own stream."""
    game.draw += np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed(game.draw) >> np.uint64(61))


@compiled
def collect(trees, games, wanted, leaves, owners, ways):
    """Looks for so many leaves in each of the games.  Returns how many there are in all.

    games, wanted: int32.  leaves, owners: int32, ways: int8, all to be filled: the leaf, its game,
    the symmetry in which the network is to see it.  A leaf where the game is over is counted and
    done with; after twice as many tries as wanted leaves a game gives fewer.
    """
    count = 0
    for place in range(len(games)):
        game, found = trees.game[games[place]], 0
        for _ in range(2 * wanted[place]):
            if found == wanted[place]:
                break
            leaf = descend(trees, game.root)
            if trees.node[leaf].kind == OVER:
                back_up(trees, leaf, outcome(trees.node[leaf], game))
                continue
            lose(trees, leaf, 1)
            leaves[count], owners[count] = leaf, games[place]
            ways[count] = next_symmetry(game)
            count += 1
            found += 1
    return count


@compiled
def write_planes(trees, leaves, owners, ways, planes):
    """Sets planes, uint8 [L, P, 17], zeros before, to what the network sees of each leaf: see
    features.py."""
    table = trees.table[0]
    for row in range(len(leaves)):
        node, game, back = trees.node[leaves[row]], trees.game[owners[row]], table.back[ways[row]]
        colour, above = node.to_play, 0  # above: how many of the boards are from above the root
        for index in range(features.NUM_BOARDS):
            if above == 0:
                features.write_board(node.board, colour, back, planes[row], index)
            else:
                features.write_board(game.past[above - 1], colour, back, planes[row], index)
            if node.parent != 0:
                node = trees.node[node.parent]
            elif above < game.num_past:  # else the oldest is repeated
                above += 1
        features.write_side(colour, planes[row])


@compiled
def absorb(trees, leaves, ways, priors, values):
    """Takes in what the network says of each leaf, in order.

    priors: float32 [L, A], of the turned board.  values: float64 [L].
    """
    table = trees.table[0]
    for row in range(len(leaves)):
        leaf, way = leaves[row], table.turned[ways[row]]
        node = trees.node[leaf]
        lose(trees, leaf, -1)
        if node.kind == EXPANDED:  # by an equal leaf before it: as if never visited
            number = leaf
            while number != 0:
                trees.node[number].visits -= 1
                number = trees.node[number].parent
            continue
        node.kind = EXPANDED
        node.value = values[row]
        go.find_legal(node.board, table.beside, node.to_play, node.ko, table.room, table.legal)
        for move in range(len(way)):
            node.prior[way[move]] = priors[row, move]
            node.child[move] = NONE if table.legal[move] else ILLEGAL
        back_up(trees, leaf, values[row])


@compiled
def release(trees, root, kept):
    """Frees a tree's nodes, all but those from `kept` on; 0: all."""
    table = trees.table[0]
    waiting = root               # a chain, as the free ones are
    trees.node[root].parent = 0
    while waiting != 0:
        number = waiting
        node = trees.node[number]
        waiting = node.parent
        if node.kind == EXPANDED:
            for move in range(len(node.child)):
                child = node.child[move]
                if child > 0 and child != kept:
                    trees.node[child].parent = waiting
                    waiting = child
        node.parent = table.free
        table.free = number
        table.num_free += 1


@compiled
def advance(trees, number, move):
    """Plays a move in a game: what it led to is the new root and keeps its tree, the rest is freed.
    """
    game = trees.game[number]
    root = trees.node[game.root]
    child = root.child[move] if root.kind == EXPANDED else NONE
    if child == NONE:
        child = add_node(trees, game.root, move)
    for index in range(len(game.past) - 1, 0, -1):
        game.past[index] = game.past[index - 1]
    game.past[0] = root.board
    game.num_past = min(game.num_past + 1, len(game.past))
    release(trees, game.root, child)
    trees.node[child].parent = 0
    game.root = child


@compiled
def begin(trees, number, draw, komi):
    """Frees a game's tree and gives it the empty board as its root."""
    game = trees.game[number]
    if game.root != 0:
        release(trees, game.root, 0)
    game.root = take_node(trees, 0, -1)
    game.draw = draw
    game.komi = komi
    game.num_past = 0
    root = trees.node[game.root]
    root.total = 0.0
    root.board[:] = 0
    root.to_play = go.BLACK
    root.num_moves = 0
    root.passes = 0


@compiled
def read_root(trees, number, counts):
    """Sets counts, int32 [A], to the visits of the root's children.  Returns Q of the side to move.
    """
    root = trees.node[trees.game[number].root]
    for move in range(len(counts)):
        child = root.child[move]
        counts[move] = trees.node[child].visits if child > 0 else 0
    return root.total / (1.0 + root.visits) * root.to_play


@compiled
def add_noise(trees, number, noise, share):
    """Mixes float64 [A] into the priors of a game's root."""
    prior = trees.node[trees.game[number].root].prior
    for move in range(len(prior)):
        prior[move] = (1.0 - share) * prior[move] + share * noise[move]


class Forest:
    """The trees of many games, and the network's batches: always of `network_rows` rows.

    A row of a batch does not depend on the others, and each game has random numbers of its own: so
    which games lie beside each other, in how many processes, moves nothing.
    """

    def __init__(self, config, num_games):
        self.size = config.board_size
        self.rows = config.network_rows
        self.trees = plant(self.size, num_games, config.c_puct)
        self.readouts = 0            # leaves that the network was asked for

    def begin(self, game, draw, komi, moves=()):
        """Game number `game` of the forest starts anew, with these moves played.

        draw: the seed of its symmetries.
        """
        self.trees = grown(self.trees, 1)
        begin(self.trees, int(game), np.uint64(draw), float(komi))
        for move in moves:
            self.advance(game, move)

    def advance(self, game, move):
        """Plays a legal move."""
        self.trees = grown(self.trees, 1)
        advance(self.trees, int(game), int(move))

    def visits(self, games):
        """int32: the visits of these games' roots."""
        return self.trees.node["visits"][self.trees.game["root"][games]]

    def result(self, game):
        """1 or -1: who has won on the board; 0 where the game goes on."""
        game = self.trees.game[game]
        root = self.trees.node[game["root"]]
        return (1 if root["value"] > game["komi"] else -1) if root["kind"] == OVER else 0

    def counts(self, game):
        """(int32 [A], the visits of the root's children; Q of the side to move)."""
        found = np.zeros(self.size**2 + 1, np.int32)
        return found, read_root(self.trees, int(game), found)

    def search(self, games, wanted, evaluate):
        """One round: of each game so many leaves more, those where it is over beside.

        games, wanted: int32.  evaluate(planes uint8 [rows, size, size, 17]) -> (priors [rows, A],
        values [rows]), floats.
        """
        room = int(wanted.sum())
        # A try adds a node at most.
        self.trees = trees = grown(self.trees, 2 * room)
        leaves, owners = np.empty((2, room), np.int32)
        ways = np.empty(room, np.int8)
        count = collect(trees, games, wanted, leaves, owners, ways)
        self.readouts += count
        parts = [slice(a, min(a + self.rows, count)) for a in range(0, count, self.rows)]
        # All answer before the first is taken in: a game's leaves may lie in two batches.
        answers = [self.ask(leaves[part], owners[part], ways[part], evaluate) for part in parts]
        for part, (priors, values) in zip(parts, answers):
            absorb(trees, leaves[part], ways[part], priors, values)

    def ask(self, leaves, owners, ways, evaluate):
        """(float32 [L, A], float64 [L]): what the network says of the leaves, at most `rows`."""
        count = len(leaves)
        planes = np.zeros((self.rows, self.size**2, features.NUM_PLANES), np.uint8)
        write_planes(self.trees, leaves, owners, ways, planes)
        shape = (self.rows, self.size, self.size, features.NUM_PLANES)
        priors, values = evaluate(planes.reshape(shape))
        values = np.rint(np.asarray(values[:count], np.float64) / VALUE_STEP) * VALUE_STEP
        return np.ascontiguousarray(priors[:count], np.float32), values
