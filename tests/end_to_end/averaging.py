"""One step by two processes of unequal shares: python -m ... [launch] APPLICATION FRAMEWORK ...

The folder is AVERAGED in the environment: rankR.json gets what `run` returns there.
"""

import importlib
import json
import os
import sys

import numpy as np

from common import benchmark, command, launch, packs, processes
from common.errors import told

SHARES = {"4 and 3": (4, 3), "4 and none": (4, 0)}


def run(config):
    """Writes what was found.  Returns the exit code."""
    packs.PACK_BYTES = 1024  # before the adapter is imported: so that small networks have several
    framework = importlib.import_module(f"common.frameworks.{config.framework}")
    config = command.prepare(config)
    framework.start(config)
    module = importlib.import_module(f"{config.application}.{config.framework}.train")
    parameters = benchmark.module(config.application, "parameters")
    initial = parameters.initial_parameters(config)
    moving = [one for one in parameters.specification(config).values() if not one.trained]
    batches = benchmark.module(config.application, "data").batches(config, "train", 1)

    def trainer():
        return module.Trainer(config, initial)

    numbers = batches.indices[0]
    # Batch norm computes with the statistics of a process's own part: the whole is another step.
    found = {name: gap(framework, trainer, batches.at, numbers[: sum(share)], share)
             for name, share in SHARES.items() if not moving}
    found["of a weight without gradient"] = without_gradient(framework, trainer())
    look = {"tensorflow": look_at_graph}.get(config.framework, look_at_messages)
    found |= look(framework, trainer(), batches.at(numbers[:8]))
    path = os.path.join(os.environ["AVERAGED"], f"rank{framework.rank()}.json")
    with open(path, "w") as opened:
        json.dump(found, opened)
    framework.stop()
    return 0


def gap(framework, trainer, read, numbers, share):
    """How far a step of shares leads from one of the whole: the greatest of sums and parameters."""
    ends = np.cumsum(share)
    rank = framework.rank()
    own = numbers[ends[rank] - share[rank] : ends[rank]]
    states = []
    for part in (own, numbers):
        one = trainer()
        one.train_step(read(part), 0)
        states.append({f"{group}/{name}": array for group, arrays in one.state().items()
                       for name, array in arrays.items()})
    return float(max(np.linalg.norm(states[0][name] - whole) / (np.linalg.norm(whole) or 1.0)
                     for name, whole in states[1].items()))


def without_gradient(framework, trainer):
    """The greatest difference from the mean worked by hand: rank 0 has no gradient, rank 1 fives.

    They weigh 1 and 4.
    """
    rank = framework.rank()
    name, weight = next(iter(trainer.weights.items()))
    fives = framework.put({name: np.full(weight.shape, 5.0)})[name]
    gradients = {name: fives if rank else None}
    _, means = framework.mean_gradients(
        lambda: (None, gradients), {name: weight}, 4 if rank else 1
    )
    return float(np.abs(framework.get(means[name]) - 4.0).max())


def look_at_messages(framework, trainer, batch):
    """{"events": the weights whose gradients are there and "sent", in order; "strides": of weights
    and gradients; how many messages are sent otherwise}."""
    events, strides = [], {}
    plain = framework.distributed.all_reduce
    update = trainer.update

    def all_reduce(flat, **how):
        events.append("sent")
        return plain(flat, **how)

    def updated(gradients, *more):
        strides.update({name: [list(weight.stride()), list(gradients[name].stride())]
                        for name, weight in trainer.weights.items()})
        return update(gradients, *more)

    def messages(step):
        events.clear()
        step()
        return events.count("sent")

    for name, weight in trainer.weights.items():
        weight.register_hook(lambda _, name=name: events.append(name))
    framework.distributed.all_reduce = all_reduce
    trainer.update = updated
    trainer.train_step(batch, 0)
    found = {"events": list(events), "strides": strides}
    packs.PACK_BYTES = 25 << 20
    found["sent in one pack"] = messages(lambda: trainer.train_step(batch, 1))
    found["sent for parity"] = messages(lambda: trainer.gradients(framework.put(batch)))
    framework.distributed.all_reduce = plain
    return found


def look_at_graph(framework, trainer, batch):
    """{"needs": how many tensors each all-reduce of a step waits for; "weights": how many}."""
    update = trainer.update
    needs = []

    def updated(gradients, *more):
        """Looks at the graph that is being traced."""
        operations = next(iter(gradients.values())).graph.get_operations()
        sums = [one for one in operations if one.type.startswith("CollectiveReduce")]
        needs.extend(sum(one.type == "MulNoNan" for one in above(start)) for start in sums)
        return update(gradients, *more)

    trainer.update = updated
    trainer.train_step(batch, 0)
    return {"needs": needs, "weights": len(trainer.weights)}


def above(operation):
    """All operations whose results an operation uses, those of other all-reduces left out."""
    found, waiting = set(), [operation]
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "launch":
        sys.exit(told(lambda: launch.launch(arguments[1:], program="tests.end_to_end.averaging")))
    processes.end_with_parent()
    sys.exit(told(lambda: run(command.parse(arguments).config)))
