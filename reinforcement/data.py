"""Batches of the games that the networks have played, and of what measures them; numpy out.

What there is to train on lies in the run folder, see games.py: each generation finds the newest
games there.  A training example's number is 8 times its place in the window, and its symmetry.
"""

import functools
import os
from dataclasses import dataclass

import numpy as np

from common.data.batches import Batches, in_order
from common.data.dataset import with_counts, with_folder
from common.errors import UserError
from reinforcement import compiled, experts, features, games, go, playouts, prediction, selfplay

TRAINING, PREDICTION = 2, 3    # of the streams of random numbers: see also selfplay, playouts


def prepare(config):
    """The config with the questions found and counted, and the search compiled.

    Raises UserError.
    """
    if config.playout_games == 0:
        config = with_folder(config, "reinforcement", "sgf", no_games)
    elif config.data_dir:
        raise UserError(f"--data_dir={config.data_dir}: the quality is games won against random "
                        "playouts, without data. Say --set playout_games=0 to predict the moves of "
                        "games.")  # fmt: skip
    found = len(questions(config))
    config = with_counts(config, os.path.join(config.data_dir, "sgf"), {"num_positions": found})
    if not found:
        raise UserError(f"{config.data_dir}: no position to predict.")
    warm_up(config)
    return config


def no_games():
    """What there is to predict without a --data_dir.  Raises UserError."""
    raise UserError("playout_games=0: the moves of games are to be predicted. Say where they are: "
                    "--data_dir=FOLDER with sgf in it.")


def questions(config):
    """[experts.Question] that measure a network: an expert's move, or a game's winner."""
    return (playouts if config.playout_games else experts).questions(config)


def warm_up(config):
    """Compiles all that runs between two calls of the network, off the clock."""
    tiny = functools.partial(
        type(config), seed=0, board_size=config.board_size, network_rows=8, readouts=8,
        games_at_once=1, prediction_readouts=8, komi=config.komi, resign_value=-1.0,
    )()  # fmt: skip
    moves = tiny.board_size**2 + 1

    def evaluate(planes):
        return np.full((len(planes), moves), 1 / moves, np.float32), np.zeros(len(planes))

    with compiled.one_at_a_time():
        played = []
        selfplay.play_all(tiny, evaluate, 1, [0], lambda number, game: played.append(game))
        question = {"moves": np.array([[0, -1]], np.int32), "lengths": np.ones(1, np.int32),
                    "komi": np.full(1, tiny.komi), "draws": np.zeros(1, np.int64)}
        prediction.choose(tiny, evaluate, question)
        playouts.winners(tiny, evaluate, question | {"answers": np.ones(1, np.int64)})
        features.planes_of([played[0].moves], [1], [0], tiny.board_size)


def batches(config, split, epoch=1):
    """The Batches of a generation, counted from 1: of "train" or "test".

    A training batch: see read.  A test batch: see ask.
    """
    if split == "test":
        total = config.num_positions * config.prediction_rounds
        at_once = config.games_at_once if config.playout_games else config.positions_at_once
        indices = in_order(total, at_once)
        return Batches(indices, functools.partial(ask, config, epoch))
    window = Window(config, epoch)
    if not len(window):
        raise UserError(f"{games.games_folder(config.output_dir, epoch)}: no position to learn "
                        "from: every game was resigned before its first move. Start anew with "
                        "another resign_value, or more of no_resign_share.")
    rng = np.random.default_rng([config.seed, TRAINING, epoch])
    wanted = config.steps_per_generation * config.batch_size
    numbers = drawn(rng, len(window), config.sample_share, wanted) * 8
    if config.augment:
        numbers += rng.integers(8, size=wanted)
    indices = np.split(numbers, config.steps_per_generation)
    return Batches(indices, functools.partial(read, config), window.look_up)


def drawn(rng, total, share, wanted):
    """int64 [wanted]: numbers below `total`, in passes: each takes a share of them, in a new order.
    """
    found, count = [], 0
    while count < wanted:
        taken = np.flatnonzero(rng.random(total) < share)
        rng.shuffle(taken)
        found.append(taken)
        count += len(taken)
    return np.concatenate(found)[:wanted]


@dataclass(frozen=True)
class Example:
    """Move `number`, counted from 0, of a game."""

    moves: np.ndarray      # int16 [n], of the game
    number: int
    visits: np.ndarray     # int32 [A]
    winner: int
    way: int               # the symmetry, see go.symmetries


class Window:
    """The positions of the newest games, at most config.window_positions; oldest first."""

    def __init__(self, config, generation):
        found, total, first = [], 0, generation + 1
        while first > 1 and total < config.window_positions:
            first -= 1
            played = generation_games(config, first)
            found = [*played, *found]
            total += sum(len(game.moves) for game in played)
        kept = {(config, one) for one in range(first, generation + 1)}
        for key in _known.keys() - kept:  # a generation of the reference takes 70 MB
            del _known[key]
        self.games = found
        self.ends = np.cumsum([len(game.moves) for game in found])
        self.first = max(0, total - config.window_positions)

    def __len__(self):
        return int(self.ends[-1]) - self.first

    def look_up(self, numbers):
        """[Example] of these numbers."""
        places, ways = np.divmod(numbers, 8)
        places = places + self.first
        owners = np.searchsorted(self.ends, places, side="right")
        found = []
        for place, owner, way in zip(places, owners, ways):
            game = self.games[owner]
            number = int(place - self.ends[owner]) + len(game.moves)
            found.append(Example(game.moves, number, game.visits[number], game.winner, int(way)))
        return found


_known = {}   # {(config, generation): [Played]}: what the newest window holds is read once


def generation_games(config, generation):
    """[Played] of a generation that has all its games.  Raises UserError."""
    if (config, generation) in _known:
        return _known[config, generation]
    folder = games.games_folder(config.output_dir, generation)
    found = []
    for number in range(config.games_per_generation):
        path = games.path(folder, number)
        found.append(games.load(path, config))
        if found[-1] is None:
            raise UserError(f"{path}: missing or damaged, and its generation is over. Put it back "
                            "from a copy, or start anew with another --output_dir.")
    _known[config, generation] = found
    return found


def read(config, examples):
    """One training batch, or a process's part of one.

    planes: uint8 [B, size, size, 17], see features.py.
    policy: float32 [B, A], what the policy is to learn, see selfplay.targets.
    winner: float32 [B], 1 where Black has won, -1 where White has.
    """
    size = config.board_size
    moves, numbers, ways = ([getattr(one, name) for one in examples]
                            for name in ("moves", "number", "way"))
    policy = [selfplay.targets(one.visits, one.number, config)[go.symmetries(size)[one.way]]
              for one in examples]
    return {
        "planes": features.planes_of(moves, numbers, ways, size),
        "policy": np.array(policy, np.float32),
        "winner": np.array([one.winner for one in examples], np.float32),
    }


def ask(config, generation, numbers):
    """One batch of positions to predict, or of games to win.

    moves: int32 [B, T], those before the position, -1 behind them.
    lengths: int32 [B], how many there are.
    komi: float64 [B].
    draws: int64 [B], seeds of the symmetries.
    answers: int64 [B], the experts' moves, or the network's colours: 1 Black, -1 White.
    """
    known = questions(config)
    total = config.num_positions * config.prediction_rounds
    rng = np.random.default_rng([config.seed, PREDICTION, generation])
    draws = rng.integers(1 << 62, size=total)
    asked = [known[number % config.num_positions] for number in numbers]
    moves = np.full((len(asked), go.max_moves(config.board_size)), -1, np.int32)
    for row, question in zip(moves, asked):
        row[: len(question.moves)] = question.moves
    return {
        "moves": moves,
        "lengths": np.array([len(question.moves) for question in asked], np.int32),
        "komi": np.array([question.komi for question in asked]),
        "draws": draws[numbers],
        "answers": np.array([question.answer for question in asked], np.int64),
    }
