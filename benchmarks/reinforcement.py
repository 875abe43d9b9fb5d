"""Readouts of the tree search with the same network, ours and open_spiel's, in one run.

    common/in_environment.sh reinforcement pytorch -m benchmarks.reinforcement pytorch

search: one move in each of --games games, from the empty board: as many readouts each, one leaf of
a game in a batch of the network, which has a row for each game.  --board=5: the quick profile's
network, else the reference's.  The peer is open_spiel's MCTSBot as its AlphaZero has it, a bot and
a thread for each game, with an evaluator that waits until all have a leaf, as the one in its C++;
its planes are the newest board eight times, so that it has no history to keep.  --peer=single: the
way of its AlphaZeroEvaluator in Python, a batch for each leaf.

tree: ours alone, with a network that costs nothing.
"""

import dataclasses
import threading

import numpy as np
from absl import flags

from benchmarks import command
from common import timing
from common.errors import UserError
from reinforcement import features, search
from reinforcement.config import QUICK, REFERENCE
from reinforcement.parameters import initial_parameters

ROUNDS = {"search": 5, "tree": 7}


def ours(config, values, evaluate):
    """Our side: a function that searches one move in each game."""
    games = np.arange(values.games, dtype=np.int32)
    wanted = np.full(values.games, values.leaves, np.int32)
    forest = search.Forest(config, values.games)

    def run():
        for game in games:
            forest.begin(game, int(game), config.komi)
        active = games
        while len(active):
            forest.search(active, wanted[: len(active)], evaluate)
            active = active[forest.visits(active) < values.readouts]

    return run


class Batching:
    """Gathers a leaf of each thread, asks the network for all at once, and hands the answers out.
    """

    def __init__(self, infer, size, rows):
        self.infer, self.rows = infer, rows
        self.planes = np.zeros((rows, size, size, features.NUM_PLANES), np.uint8)
        self.left = rows
        self.waiting = 0
        self.turn = threading.Condition()
        self.batch = 0
        self.answer = None

    def ask(self, row, planes):
        """(probabilities [A], value) of a position; waits for the others."""
        with self.turn:
            self.planes[row] = planes
            self.waiting += 1
            mine = self.batch
            if self.waiting == self.left:
                self.work()
            while self.batch == mine:
                self.turn.wait()
            priors, outcomes = self.answer
            return priors[row], outcomes[row]

    def work(self):
        """Asks the network."""
        self.answer = self.infer(self.planes)
        self.waiting = 0
        self.batch += 1
        self.turn.notify_all()

    def leave(self):
        """A thread is done: the others wait for one less."""
        with self.turn:
            self.left -= 1
            if self.left and self.waiting == self.left:
                self.work()


def peer(config, values, infer):
    """open_spiel's side: the same, with a bot for each game."""
    command.need("pyspiel")
    import pyspiel
    from open_spiel.python.algorithms import mcts

    size = config.board_size
    game = pyspiel.load_game("go", {"board_size": size, "komi": config.komi})

    class Evaluator(mcts.Evaluator):
        """As its AlphaZeroEvaluator: one answer serves for prior and value."""

        def __init__(self, ask):
            self.ask, self.key, self.found = ask, None, None

        def inference(self, state):
            key = state.history_str()
            if key != self.key:
                stones = np.array(state.observation_tensor(), np.uint8).reshape(-1, size, size)
                planes = np.empty((size, size, features.NUM_PLANES), np.uint8)
                first = state.current_player()
                planes[..., 0:16:2] = stones[first][..., None]
                planes[..., 1:16:2] = stones[1 - first][..., None]
                planes[..., 16] = first == 0
                self.key, self.found = key, self.ask(planes)
            return self.found

        def evaluate(self, state):
            outcome = float(self.inference(state)[1])
            return np.array([outcome, -outcome])

        def prior(self, state):
            priors = self.inference(state)[0]
            return [(action, priors[action]) for action in state.legal_actions()]

    def searched(ask):
        bot = mcts.MCTSBot(game, config.c_puct, values.readouts, Evaluator(ask), solve=False,
                           child_selection_fn=mcts.SearchNode.puct_value,
                           random_state=np.random.RandomState(1))  # fmt: skip
        bot.mcts_search(game.new_initial_state())

    def run():
        if values.peer == "single":
            def alone(planes):
                priors, outcomes = infer(planes[None])
                return priors[0], outcomes[0]

            for _ in range(values.games):
                searched(alone)
            return
        batching = Batching(infer, size, values.games)

        def play(row):
            searched(lambda planes: batching.ask(row, planes))
            batching.leave()

        threads = [threading.Thread(target=play, args=(row,)) for row in range(values.games)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def main(argv):
    values = command.define_flags("games", 128, "games", ROUNDS)
    flags.DEFINE_integer("readouts", 32, "of a game, a round", 2, flag_values=values)
    flags.DEFINE_integer("leaves", 1, "ours: of a game, in one batch", 1, flag_values=values)
    flags.DEFINE_enum("board", "9", ["5", "9"], "size of the board", values)
    flags.DEFINE_enum("peer", "batched", ["batched", "single"], "how open_spiel asks", values)
    name = command.parse(values, argv, ["pytorch", "tensorflow", "paddlepaddle"], ROUNDS)
    profile = QUICK if values.board == "5" else REFERENCE
    config = dataclasses.replace(profile, seed=1, device=values.device, compile=values.compile,
                                 precision=values.precision,
                                 network_rows=values.games * values.leaves)  # fmt: skip
    moves = config.board_size**2 + 1
    rows = config.network_rows
    if values.measure == "tree":
        answer = np.full((rows, moves), 1 / moves, np.float32), np.zeros(rows)
        candidates = {"ours": ours(config, values, lambda planes: answer)}
    else:
        if name != "pytorch":
            raise UserError("--measure=search: the peer is measured in pytorch.")
        _, train = command.start("reinforcement", name, config)
        infer = train.Trainer(config, initial_parameters(config)).infer
        candidates = {"ours": ours(config, values, infer), "peer": peer(config, values, infer)}
    seconds = timing.alternate(candidates, values.steps, values.warmup)
    label = f"{values.measure} {name} {config.board_size}x{config.board_size}"
    figures = timing.report(label, seconds, values.games * values.readouts, "readouts")
    command.write(values, "reinforcement", name, figures)


if __name__ == "__main__":
    command.run(main)
