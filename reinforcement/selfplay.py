"""Phase 1 of a generation: games of the best network against itself.  Minigo's selfplay_mcts.py.

A game is a function of the network, the seed, the generation and the game's number.  S games at
once, A moves, T moves of the longest game.
"""

import os

import numpy as np

from reinforcement import games, go, search
from reinforcement.compiled import compiled
from reinforcement.config import dirichlet_alpha, sampled_moves

SELF_PLAY = 1            # of the streams of random numbers: see also gating, data


def play(run, player, generation):
    """Plays what is missing of a generation's games, each process its share.

    player: a Trainer.  Returns {name: number} for the log.
    """
    config, framework = run.config, run.framework
    folder = games.games_folder(config.output_dir, generation)
    os.makedirs(folder, exist_ok=True)
    name = games.name_of(player.state()["parameter"])
    own = range(framework.rank(), config.games_per_generation, framework.world_size())
    missing = [number for number in own
               if games.load(games.path(folder, number), config, name, name) is None]
    found = {"games": 0, "positions": 0, "readouts": 0}

    def finished(number, game):
        games.save(games.path(folder, number), game, config, name, name)
        found["games"] += 1
        found["positions"] += len(game.moves)

    found["readouts"] = play_all(config, player.infer, generation, missing, finished)
    framework.gather(None)   # all games are there
    return found


def play_all(config, evaluate, generation, numbers, finished):
    """Plays the games of these numbers; finished(number, Played) gets each.  Returns the readouts.

    evaluate: see search.Forest.search.
    """
    waiting = list(numbers)[::-1]
    slots = Slots(config, min(config.games_at_once, len(waiting)))
    for slot in range(slots.count):
        slots.begin(slot, waiting.pop(), generation)
    active = np.arange(slots.count, dtype=np.int32)
    while len(active):
        slots.search(active, evaluate)
        ended = [slot for slot in active if slots.winner[slot]]
        for slot in ended:
            finished(int(slots.number[slot]), slots.played(slot))
            if waiting:
                slots.begin(slot, waiting.pop(), generation)
        active = np.array([slot for slot in active if not slots.winner[slot]], np.int32)
    return slots.forest.readouts


class Slots:
    """The games under way."""

    def __init__(self, config, count):
        longest, moves = go.max_moves(config.board_size), config.board_size**2 + 1
        self.config = config
        self.count = count
        self.forest = search.Forest(config, count)
        self.number = np.zeros(count, np.int64)
        self.goal = np.zeros(count, np.int32)            # visits of the root before the next move
        self.threshold = np.zeros(count)                 # below it one resigns
        self.uniforms = np.zeros((count, longest))       # each move's own draw, in (0, 1]
        self.noise = np.zeros((count, longest, moves))
        self.moves = np.zeros((count, longest), np.int16)
        self.visits = np.zeros((count, longest, moves), np.int32)
        self.length = np.zeros(count, np.int32)
        self.winner = np.zeros(count, np.int8)           # 0: the game goes on
        self.resigned = np.zeros(count, np.int8)

    def begin(self, slot, number, generation):
        """Game `number` of a generation takes the slot."""
        config = self.config
        rng = np.random.default_rng([config.seed, SELF_PLAY, generation, number])
        self.forest.begin(slot, rng.integers(1 << 64, dtype=np.uint64), config.komi)
        plays_on = rng.random() < config.no_resign_share
        self.threshold[slot] = -1.0 if plays_on else config.resign_value
        self.uniforms[slot] = 1.0 - rng.random(self.uniforms.shape[1])
        alpha = np.full(self.noise.shape[2], dirichlet_alpha(config))
        self.noise[slot] = rng.dirichlet(alpha, self.noise.shape[1])
        self.number[slot] = number
        self.goal[slot] = 1                              # the empty board is looked at alone
        self.length[slot] = self.winner[slot] = self.resigned[slot] = 0

    def search(self, active, evaluate):
        """One round of the search, and the moves that are due after it."""
        config, forest = self.config, self.forest
        wanted = np.where(self.goal[active] == 1, 1, config.leaves).astype(np.int32)
        forest.search(active, wanted, evaluate)
        forest.trees = search.grown(forest.trees, len(active))
        make_moves(forest.trees, active, self.goal, self.threshold, self.uniforms, self.noise,
                   self.moves, self.visits, self.length, self.winner, self.resigned,
                   config.readouts, sampled_moves(config), config.noise_share)  # fmt: skip

    def played(self, slot):
        """The Played game of a slot that has ended."""
        length = self.length[slot]
        return games.Played(
            self.moves[slot, :length].copy(),
            self.visits[slot, :length].copy(),
            int(self.winner[slot]),
            bool(self.resigned[slot]),
        )


@compiled
def make_moves(trees, active, goal, threshold, uniforms, noise, moves, visits, length, winner,
               resigned, readouts, last_sampled, noise_share):
    """Moves in all games whose roots have the visits they should have; the arguments are Slots'.

    The side to move resigns by its Q.  Up to move `last_sampled`, counted from 0, the move is drawn
    in proportion to the visits; then the most visited is played, of several the first.  Each new
    root gets noise.
    """
    for place in range(len(active)):
        slot = active[place]
        game = trees.game[slot]
        if trees.node[game.root].visits < goal[slot]:
            continue
        number = length[slot]
        if goal[slot] > 1:
            counts = visits[slot, number]
            q = search.read_root(trees, slot, counts)
            if q < threshold[slot]:
                winner[slot] = -trees.node[game.root].to_play
                resigned[slot] = 1
                continue
            move = pick(counts, uniforms[slot, number] if number <= last_sampled else 0.0)
            moves[slot, number] = move
            number += 1
            length[slot] = number
            search.advance(trees, slot, move)
            root = trees.node[game.root]
            if root.kind == search.OVER:
                winner[slot] = 1 if root.value > game.komi else -1
                continue
        search.add_noise(trees, slot, noise[slot, number], noise_share)
        goal[slot] = trees.node[game.root].visits + readouts


@compiled
def pick(counts, uniform):
    """The move drawn by a number in (0, 1] in proportion to the counts; 0: the one of most."""
    if uniform == 0.0:
        return np.argmax(counts)
    total, limit = 0, uniform * counts.sum()
    for move in range(len(counts)):
        total += counts[move]
        if total >= limit:
            return move
    return len(counts) - 1


def targets(visits, number, config):
    """float32 [A]: what the policy is to learn of move `number`, counted from 0.

    The visits' shares, flattened a little in the opening.
    """
    shares = visits.astype(np.float64)
    if number < sampled_moves(config):
        shares = shares**config.pi_power
    return (shares / shares.sum()).astype(np.float32)
