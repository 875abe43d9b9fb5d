"""One step by two processes of unequal shares: python -m ... [launch] APPLICATION FRAMEWORK ...

The folder is AVERAGED in the environment: rankR.json gets what `run` returns there.
"""

import collections
import importlib
import json
import os
import sys

import numpy as np

from common import benchmark, command, launch, packs, processes
from common.data.buckets import Packed
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
    moving = [n for n, one in parameters.specification(config).items() if not one.trained]
    batches = benchmark.module(config.application, "data").batches(config, "train", 1)

    def trainer():
        return module.Trainer(config, initial)

    numbers, found = batches.indices[0], {}
    for name, share in SHARES.items():
        whole = numbers[: sum(share)]
        parts = np.split(whole, [share[0]])
        if not moving:
            found[name] = gap(framework, trainer, batches.at, parts, whole)
            continue
        # Batch norm computes with the statistics of a process's own part, at least of a filler.
        if not share[1] and isinstance(batches.indices, Packed):
            parts[1] = batches.indices.fillers[:1]
        if len(parts[1]):
            expected = mean_step(framework, config, trainer, batches.at, parts, share, moving)
            found[name] = gap(framework, trainer, batches.at, parts, expected)
    found["of a weight without gradient"] = without_gradient(framework, trainer())
    look = {"tensorflow": look_at_graph}.get(config.framework, look_at_messages)
    found |= look(framework, trainer(), batches.at(numbers[:8]))
    path = os.path.join(os.environ["AVERAGED"], f"rank{framework.rank()}.json")
    with open(path, "w") as opened:
        json.dump(found, opened)
    framework.stop()
    return 0


def gap(framework, trainer, read, parts, expected):
    """How far a step of parts leads from what is expected: the greatest of sums and parameters.

    parts: the numbers of each process.  expected: the state, or the numbers of the whole batch.
    """
    states = []
    for numbers in (parts[framework.rank()], expected):
        if not isinstance(numbers, dict):
            one = trainer()
            one.train_step(read(numbers), 0)
            numbers = one.state()
        states.append({f"{group}/{name}": array for group, arrays in numbers.items()
                       for name, array in arrays.items()})
    return float(max(np.linalg.norm(states[0][name] - whole) / (np.linalg.norm(whole) or 1.0)
                     for name, whole in states[1].items()))


def mean_step(framework, config, trainer, read, parts, counts, moving):
    """The state after a step by the parts' gradients and statistics, each weighed by its count.

    moving: the names of the statistics.
    """
    means = collections.defaultdict(float)
    for numbers, share in zip(parts, np.array(counts) / sum(counts)):
        one = trainer()
        _, _, gradients = one.gradients(framework.put(read(numbers)))
        gradients = {name: framework.to_canonical(gradient, one.specification[name].role)
                     for name, gradient in gradients.items()}
        statistics = one.state()["parameter"]
        for name, array in [*gradients.items(), *((name, statistics[name]) for name in moving)]:
            assert np.isfinite(array).all(), name
            means[name] += share * array
    statistics = {name: means.pop(name) for name in moving}
    step = benchmark.module(config.application, "parity").optimizer_step
    after = step(config, 0, trainer().state(), means, read(parts[0]))
    return after | {"parameter": after["parameter"] | statistics}


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
    and gradients; "zeros": the weights that no gradient reaches; how many messages are sent
    otherwise}."""
    events, strides, zeros = [], {}, []
    plain = framework.distributed.all_reduce
    update = trainer.update

    def all_reduce(flat, **how):
        events.append("sent")
        return plain(flat, **how)

    def updated(gradients, *more):
        strides.update({name: [list(weight.stride()), list(gradients[name].stride())]
                        for name, weight in trainer.weights.items()})
        zeros.extend(name for name in trainer.weights if not framework.get(gradients[name]).any())
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
    found = {"events": list(events), "strides": dict(strides), "zeros": list(zeros)}
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
