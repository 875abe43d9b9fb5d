"""The search node for node beside a plain one, and what must not move it."""

import dataclasses

import numpy as np
import pytest

from reinforcement import features, search
from reinforcement.config import QUICK
from tests.reinforcement import fake_network, plain_go

MASK = (1 << 64) - 1


def config(size, **changes):
    return dataclasses.replace(QUICK, seed=1, board_size=size, network_rows=16, **changes)


def split_mix(state):
    """Yields numbers of 0 to 7: Steele et al. 2014, in Python's whole numbers."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield (z ^ (z >> 31)) >> 61


def turn(grid, way):
    """A board [S, S, ...] in one of the eight forms."""
    return np.rot90(np.swapaxes(grid, 0, 1) if way >= 4 else grid, way % 4)


def turn_back(grid, way):
    back = np.rot90(grid, -(way % 4))
    return np.swapaxes(back, 0, 1) if way >= 4 else back


def asking(draw):
    """ask(position) of the plain search: the fake network, shown each position in a drawn form."""
    ways = split_mix(draw)

    def ask(position):
        way, size = next(ways), position.size
        priors, value = fake_network.answer(turn(np.array(position.planes(), np.uint8), way))
        return [*turn_back(priors[:-1].reshape(size, size), way).ravel(), priors[-1]], value

    return ask


def plain_root(position, draw, readouts, leaves):
    """The root of a plain search from a position, without noise."""
    root, ask = plain_go.Node(position), asking(draw)
    while root.visits() < readouts:
        plain_go.search_round(root, leaves, QUICK.c_puct, ask)
    return root


def assert_same(trees, number, node, total=None):
    """A node of the pool and a plain one, with all below them.  Returns how many there are."""
    own = trees.node[number]
    assert own["visits"] == node.visits()
    assert own["total"] == (node.w if total is None else total)
    assert (own["kind"] == search.EXPANDED) == node.is_expanded
    assert (own["kind"] == search.OVER) == node.position.is_over()
    if not node.is_expanded:
        return 1
    assert own["prior"].tolist() == [float(prior) for prior in node.prior]
    children = {move: child for move, child in enumerate(own["child"]) if child > 0}
    assert children.keys() == node.children.keys()
    legal = [move for move, child in enumerate(own["child"]) if child != search.ILLEGAL]
    assert legal == node.position.legal()
    return 1 + sum(assert_same(trees, child, node.children[move], node.child_w[move])
                   for move, child in children.items())


@pytest.mark.parametrize(("size", "readouts", "moves"), [(3, 80, 16), (5, 40, 6)])
def test_every_node_is_that_of_a_plain_search(size, readouts, moves):
    """Over the moves of a game: batches, losses, repeated leaves, ends, passes, noise, reuse."""
    rng = np.random.default_rng(size)
    draw, nodes = 12345 + size, 0
    forest = search.Forest(config(size), 3)
    for game in range(3):
        forest.begin(game, 7, 0.5, [4, 0, 8, 2])  # what it leaves behind must not be seen
    forest.begin(1, draw, 0.5)
    games = np.array([1], np.int32)
    root, ask = plain_go.Node(plain_go.Position(size, 0.5)), asking(draw)
    for _ in range(moves):
        goal = root.visits() + readouts
        if root.is_expanded:
            noise = rng.dirichlet(np.full(size**2 + 1, 0.3))
            search.add_noise(forest.trees, 1, noise, 0.25)
            root.prior = [np.float32(0.75 * float(prior) + 0.25 * extra)
                          for prior, extra in zip(root.prior, noise)]
        while root.visits() < goal:
            forest.search(games, np.array([5], np.int32), fake_network.evaluate)
            plain_go.search_round(root, 5, QUICK.c_puct, ask)
            nodes += assert_same(forest.trees, forest.trees.game["root"][1], root)
        counts, q = forest.counts(1)
        assert counts.tolist() == root.child_n
        assert q == root.w / (1 + root.n) * root.position.to_play
        move = int(np.argmax(counts))
        forest.advance(1, move)
        root = plain_go.moved(root, move)
        if root.position.is_over():
            assert forest.result(1) == (1 if root.position.score() > 0 else -1)
            break
    assert nodes > 500


@pytest.mark.parametrize("size", [3, 5])
def test_the_planes_of_a_leaf_are_those_of_its_game(size):
    """Whatever part of the history lies in the tree and whatever above it."""
    rng, seen = np.random.default_rng(1), []

    def evaluate(planes):
        seen.append(planes.copy())
        return fake_network.evaluate(planes)

    forest = search.Forest(config(size), 1)
    forest.begin(0, 1, 0.5)
    position = plain_go.Position(size, 0.5)
    one = np.zeros(1, np.int32)
    for _ in range(14):
        forest.search(one, np.ones(1, np.int32), evaluate)
        shown = seen.pop()[0]
        forms = [turn(np.array(position.planes(), np.uint8), way) for way in range(8)]
        if not forest.trees.node["visits"][forest.trees.game["root"][0]] > 1:
            assert any(np.array_equal(form, shown) for form in forms)
        move = int(rng.choice(position.legal()))
        following = position.after(move)
        if following.is_over():
            break
        position = following
        forest.advance(0, move)
    assert len(position.moves) > 2


def test_a_batch_is_always_full_and_its_size_moves_nothing():
    """Nor do the games beside it."""
    shapes, found = set(), []

    def evaluate(planes):
        shapes.add(planes.shape)
        return fake_network.evaluate(planes)

    for rows, games in ((16, [0, 1, 2, 3]), (5, [3, 1]), (1, [1])):
        forest = search.Forest(dataclasses.replace(config(5), network_rows=rows), 4)
        for game in games:
            forest.begin(game, 100 + game, 0.5)
        active = np.array(games, np.int32)
        for _ in range(12):
            forest.search(active, np.full(len(games), 8, np.int32), evaluate)
        found.append(forest.counts(1))
        assert shapes == {(rows, 5, 5, 17)}
        shapes.clear()
    for counts, q in found[1:]:
        assert counts.tolist() == found[0][0].tolist() and q == found[0][1]


def test_bits_behind_the_24th_of_a_value_move_nothing():
    def noisy(planes):
        priors, values = fake_network.evaluate(planes)
        return priors * (1.0 + 1e-9), values + 1e-9

    found = []
    for evaluate in (fake_network.evaluate, noisy):
        forest = search.Forest(config(3), 1)
        forest.begin(0, 5, 0.5)
        for _ in range(20):
            forest.search(np.zeros(1, np.int32), np.full(1, 8, np.int32), evaluate)
        found.append(forest.trees.node.tobytes())
    assert found[0] == found[1]


def test_what_is_freed_is_used_again():
    """A pool as large as one tree needs lasts for many games; no node is in two places."""
    forest = search.Forest(config(3), 2)
    one = np.array([1], np.int32)
    sizes = []
    for game in range(30):
        forest.begin(1, game, 0.5)
        forest.begin(0, game, 0.5)
        while not forest.result(1):
            for _ in range(3):
                forest.search(one, np.full(1, 8, np.int32), fake_network.evaluate)
            forest.advance(1, int(np.argmax(forest.counts(1)[0])))
        sizes.append(len(forest.trees.node))
        trees, used, free = forest.trees, [], []
        for root in trees.game["root"]:
            waiting = [root]
            while waiting:
                used.append(waiting.pop())
                if trees.node["kind"][used[-1]] == search.EXPANDED:
                    waiting += [child for child in trees.node["child"][used[-1]] if child > 0]
        number = int(trees.table["free"][0])
        while number:
            free.append(number)
            number = int(trees.node["parent"][number])
        assert len(free) == trees.table["num_free"][0]
        assert sorted(map(int, used + free)) == list(range(1, len(trees.node)))
    assert sizes[-1] == sizes[5]


def test_the_planes_of_a_record_are_those_of_the_plain_rules():
    rng = np.random.default_rng(3)
    for size in (3, 5):
        position = plain_go.Position(size, 0.5)
        while not position.after(size**2).is_over():
            moves = np.array(position.moves, np.int16)
            for way in (0, 3, 6):
                found = features.planes_of([moves], [len(moves)], [way], size)[0]
                plain = np.array(position.planes(), np.uint8)
                assert np.array_equal(found, turn(plain, way))
            position = position.after(int(rng.choice(position.legal()[:-1] or [size**2])))
        assert len(position.moves) > 8


def test_a_random_symmetry_is_any_of_eight():
    forest = search.Forest(config(3), 1)
    forest.begin(0, 99, 0.5)
    own = [search.next_symmetry(forest.trees.game[0]) for _ in range(800)]
    plain = split_mix(99)
    assert own == [next(plain) for _ in range(800)]
    assert np.bincount(own, minlength=8).min() > 60
