"""Two steps by two processes of unequal shares: python -m ... [launch] APPLICATION FRAMEWORK ...

The folder is AVERAGED in the environment: rankR.json gets what `run` returns there.
"""

import contextlib
import importlib
import json
import os
import sys

import numpy as np

from common import benchmark, command, launch, packs, processes
from common.data.buckets import Packed
from common.errors import told
from tests.cells import cell

SHARES = {"4 and 3": (4, 3), "4 and none": (4, 0)}
STEPS = 2


def run(config):
    """Writes what was found.  Returns the exit code."""
    packs.PACK_BYTES = 1024  # before the adapter is imported: so that small networks have several
    framework = importlib.import_module(f"common.frameworks.{config.framework}")
    config = command.prepare(config)
    framework.start(config)
    module = importlib.import_module(f"{config.application}.{config.framework}.train")
    parameters = benchmark.module(config.application, "parameters")
    initial = parameters.initial_parameters(config)
    moving = any(name.endswith("running_var") for name in parameters.specification(config))

    def trainer():
        return module.Trainer(config, initial)

    if hasattr(cell(config.application), "before_training"):
        cell(config.application).before_training(config, framework, trainer())
    batches = benchmark.module(config.application, "data").batches(config, "train", 1)
    numbers = batches.indices[0]
    if moving:
        found = {"4 twice": gap_of_twins(framework, trainer, batches.at, numbers[:4])}
        for name, share in SHARES.items():
            parts = parts_of(batches, numbers[: sum(share)], share)
            if not len(parts[-1]):  # images leave no process without any
                continue
            found[name] = gap_of_parts(framework, trainer, batches.at, parts, share)
    else:
        found = {name: gap(framework, trainer, batches, numbers[: sum(share)], share)
                 for name, share in SHARES.items()}
    found["of a weight without gradient"] = without_gradient(framework, trainer())
    look = {"tensorflow": look_at_graph}.get(config.framework, look_at_messages)
    found |= look(framework, trainer(), batches.at(numbers[:8]))
    path = os.path.join(os.environ["AVERAGED"], f"rank{framework.rank()}.json")
    with open(path, "w") as opened:
        json.dump(found, opened)
    framework.stop()
    return 0


@contextlib.contextmanager
def alone(framework):
    """This process knows of no other."""
    size, framework.world_size = framework.world_size, lambda: 1
    try:
        yield
    finally:
        framework.world_size = size


def parts_of(batches, numbers, share):
    """The numbers of each process; a filler where there would be none, if there are such."""
    parts = np.split(numbers, np.cumsum(share)[:-1])
    if not share[-1] and isinstance(batches.indices, Packed):
        parts[-1] = batches.indices.fillers[:1]
    return parts


def trained(trainer, batch):
    """The state after the steps, all of them on one batch."""
    one = trainer()
    for step in range(STEPS):
        one.train_step(batch, step)
    return one.state()


def greatest(found, expected, leave_out=()):
    """The greatest difference over the norm, of sums and parameters."""
    return float(max(
        np.linalg.norm(found[group][name] - array) / (np.linalg.norm(array) or 1.0)
        for group, arrays in expected.items() for name, array in arrays.items()
        if name not in leave_out
    ))  # fmt: skip


def gap(framework, trainer, batches, numbers, share):
    """How far steps of shares lead from those of one process that has the whole."""
    part = parts_of(batches, numbers, share)[framework.rank()]
    found = trained(trainer, batches.at(part))
    with alone(framework):
        return greatest(found, trained(trainer, batches.at(numbers)))


def gap_of_twins(framework, trainer, read, numbers):
    """The same where batch norm computes with the statistics of a process's own part: both have the
    same examples, whose statistics are those of the whole, but for the moving variance's n - 1.
    """
    found = trained(trainer, read(numbers))
    with alone(framework):
        expected = trained(trainer, read(np.concatenate([numbers, numbers])))
    variances = [name for name in found["parameter"] if name.endswith("running_var")]
    assert variances
    return greatest(found, expected, variances)


def gap_of_parts(framework, trainer, read, parts, share):
    """The same from the parts in one process, and their mean by examples: of moving statistics, and
    of gradients, with which the optimizer's formula in numpy goes a step.

    parts: the numbers of each process.  share: how many of them are examples.
    """
    found = trained(trainer, read(parts[framework.rank()]))
    one = trainer()
    config, described = one.config, one.specification
    optimizer_step = benchmark.module(config.application, "parity").optimizer_step
    for step in range(STEPS):
        state, gradients, statistics = one.state(), {}, {}
        for part, weight in zip(parts, np.array(share) / sum(share)):
            one.load_state(state)
            _, _, own = one.gradients(framework.put(read(part)))
            for name, gradient in own.items():
                array = framework.to_canonical(gradient, described[name].role)
                gradients[name] = gradients.get(name, 0.0) + weight * array
            for name in one.statistics:
                array = one.state()["parameter"][name]
                statistics[name] = statistics.get(name, 0.0) + weight * array
        state = optimizer_step(config, step, state, gradients, read(parts[0]))
        state["parameter"] |= statistics
        one.load_state(state)
    return greatest(found, state)


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
