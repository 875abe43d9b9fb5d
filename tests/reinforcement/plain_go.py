"""The rules of Go and the tree search once more: plain Python, slow, for boards of any size.

Written from the sources of Minigo's rules and search, without the arrays of the application, which
is held against it.  A board is a dictionary {(row, column): 1 or -1}.
"""

import math

BLACK, WHITE = 1, -1


def beside(size, place):
    row, column = place
    places = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
    return [(r, c) for r, c in places if 0 <= r < size and 0 <= c < size]


def group(size, board, place):
    """(the stones joined to a place's, their liberties): two sets."""
    stones, liberties, waiting = {place}, set(), [place]
    while waiting:
        for there in beside(size, waiting.pop()):
            if there not in board:
                liberties.add(there)
            elif board[there] == board[place] and there not in stones:
                stones.add(there)
                waiting.append(there)
    return stones, liberties


class Position:
    """A game as it stands.  Moves: row * size + column, or size^2."""

    def __init__(self, size, komi):
        self.size, self.komi = size, komi
        self.board, self.ko, self.to_play = {}, None, BLACK
        self.moves, self.boards, self.known = [], [{}], None

    def after(self, move):
        """The Position behind a move; None where the rules forbid it."""
        found = Position(self.size, self.komi)
        found.board, found.to_play = dict(self.board), -self.to_play
        if move < self.size**2:
            place = divmod(move, self.size)
            if place in self.board or place == self.ko:
                return None
            found.board[place] = self.to_play
            captured = set()
            for there in beside(self.size, place):
                if found.board.get(there) == -self.to_play:
                    stones, liberties = group(self.size, found.board, there)
                    if not liberties:
                        captured |= stones
            for stone in captured:
                del found.board[stone]
            stones, liberties = group(self.size, found.board, place)
            if not liberties:
                return None
            if len(captured) == 1 and len(stones) == 1 and len(liberties) == 1:
                (found.ko,) = captured
        found.moves, found.boards = [*self.moves, move], [*self.boards, found.board]
        return found

    def legal(self):
        """The moves that are legal, in order."""
        if self.known is None:
            self.known = [move for move in range(self.size**2 + 1) if self.after(move)]
        return self.known

    def is_over(self):
        passed = self.moves[-2:] == [self.size**2] * 2
        return passed or len(self.moves) >= 1.4 * self.size**2

    def score(self):
        """Black's area less White's and the komi."""
        total, seen = sum(self.board.values()), set()
        for start in [(r, c) for r in range(self.size) for c in range(self.size)]:
            if start in self.board or start in seen:
                continue
            region, colours, waiting = {start}, set(), [start]
            while waiting:
                for there in beside(self.size, waiting.pop()):
                    if there in self.board:
                        colours.add(self.board[there])
                    elif there not in region:
                        region.add(there)
                        waiting.append(there)
            seen |= region
            if len(colours) == 1:
                total += len(region) * colours.pop()
        return total - self.komi

    def planes(self):
        """[size][size][17] of 0 and 1."""
        boards = self.boards[::-1][:8]
        boards += [self.boards[0]] * (8 - len(boards))
        return [[[int(board.get((row, column), 0) == colour)
                  for board in boards for colour in (self.to_play, -self.to_play)]
                 + [int(self.to_play == BLACK)]
                 for column in range(self.size)] for row in range(self.size)]


class Node:
    """A node of the tree, as Minigo's MCTSNode: it keeps what it knows of its children."""

    def __init__(self, position, move=None, parent=None):
        self.position, self.move, self.parent = position, move, parent
        count = position.size**2 + 1
        self.is_expanded, self.n, self.w = False, 0, 0.0
        self.child_n, self.child_w, self.prior = [0] * count, [0.0] * count, [0.0] * count
        self.children = {}

    def visit(self, n=0, w=0.0):
        if self.parent:
            self.parent.child_n[self.move] += n
            self.parent.child_w[self.move] += w
        else:
            self.n += n
            self.w += w

    def visits(self):
        return self.parent.child_n[self.move] if self.parent else self.n

    def path(self):
        node = self
        while node:
            yield node
            node = node.parent

    def select(self, c_puct):
        """The leaf that is next, all on the way counted."""
        node, last = self, self.position.size**2
        while True:
            node.visit(n=1)
            if not node.is_expanded:
                return node
            position = node.position
            if position.moves and position.moves[-1] == last and node.child_n[last] == 0:
                move = last
            else:
                scale = c_puct * math.sqrt(1.0 + node.visits())
                scores = {}
                for action in position.legal():
                    n, w = node.child_n[action], node.child_w[action]
                    scores[action] = (w * position.to_play + scale * node.prior[action]) / (1.0 + n)
                move = max(scores, key=lambda action: (scores[action], -action))
            if move not in node.children:
                node.children[move] = Node(position.after(move), move, node)
            node = node.children[move]


def search_round(root, wanted, c_puct, ask):
    """One batch of leaves.  ask(position) -> (priors by move, value)."""
    leaves = []
    for _ in range(2 * wanted):
        if len(leaves) == wanted:
            break
        leaf = root.select(c_puct)
        if leaf.position.is_over():
            value = 1.0 if leaf.position.score() > 0 else -1.0
            for node in leaf.path():
                node.visit(w=value)
            continue
        for node in leaf.path():
            node.visit(w=node.position.to_play)
        leaves.append(leaf)
    answers = [ask(leaf.position) for leaf in leaves]
    for leaf, (priors, value) in zip(leaves, answers):
        for node in leaf.path():
            node.visit(w=-node.position.to_play)
        if leaf.is_expanded:
            for node in leaf.path():
                node.visit(n=-1)
            continue
        leaf.is_expanded = True
        leaf.prior = list(priors)
        leaf.child_w = [value] * len(priors)
        for node in leaf.path():
            node.visit(w=value)


def moved(root, move):
    """The root behind a move: its visits and its value stay with it."""
    position = root.position.after(move)
    node = root.children.get(move) or Node(position, move, None)
    if move in root.children:
        node.n, node.w = root.child_n[move], root.child_w[move]
    node.parent = None
    return node
