"""A training step stays on the device, in fixed shapes: what it brings to the host is counted."""

import contextlib
import dataclasses
import importlib
from unittest import mock

from object_detection import data, parameters
from object_detection.config import QUICK

SMALL = dataclasses.replace(
    QUICK, seed=1, precision="fp64", batch_size=2, pyramid_width=8, stem_width=8, widths=(8, 8, 8),
    box_size=16, mask_width=8, mask_layers=1,
)  # fmt: skip


def test_the_host_reads_nothing_but_whether_suppression_rests(framework):
    name = framework.__name__.rpartition(".")[2]
    framework.start(SMALL)
    config, (batch,) = data.parity_batches(SMALL, 1)
    module, regions = (importlib.import_module(f"object_detection.{name}.{part}")
                       for part in ("train", "regions"))
    trainer = module.Trainer(config, parameters.initial_parameters(config))
    given, rate = framework.put(batch), framework.scalar(0.01)
    within, suppress = [], regions.suppress

    def watched(*arguments):
        within.append("suppress")
        try:
            return suppress(*arguments)
        finally:
            within.pop()

    with mock.patch.object(regions, "suppress", watched), READERS[name](module, within) as reads:
        trainer.step_on_device(given, rate)
    assert [read for read in reads if "suppress" not in read] == []
    if name != "tensorflow":  # whose loop ends on the device
        assert len(reads) >= len(config.strides) * 2  # a sweep of each level, and one that rests
        assert len(set(reads)) == 1


@contextlib.contextmanager
def read_of_pytorch(module, within):
    """Operators that wait for a GPU: for a number, or for a shape that follows from values."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    reads = []
    aten = torch.ops.aten
    waiting = (aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.nonzero,
               aten.masked_select, aten._unique2, aten.unique_dim, aten.bincount)  # fmt: skip

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), more=None):
            if function.overloadpacket in waiting:
                reads.append((str(function), *within))
            return function(*arguments, **(more or {}))

    def to_host(self, *arguments, **more):
        raise AssertionError("a step makes a numpy array")

    with Watch(), mock.patch.object(torch.Tensor, "numpy", to_host), mock.patch.object(
        torch.Tensor, "__array__", to_host
    ):
        yield reads


@contextlib.contextmanager
def read_of_tensorflow(module, within):
    """Operators of the step's graph, and of the functions in it, that leave it."""
    graphs, reads, losses = [], [], module.losses

    def traced(*arguments):
        found = losses(*arguments)
        graphs.append(found.graph)
        return found

    with mock.patch.object(module, "losses", traced):
        yield reads
    [graph] = graphs
    content = graph.as_graph_def()
    nodes = list(content.node)
    for function in content.library.function:
        nodes += function.node_def
    assert {"While", "StatelessWhile"} & {node.op for node in nodes}  # it is the step
    waiting = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "Where", "Unique", "UniqueV2",
               "DynamicPartition", "NonMaxSuppressionV3"}  # fmt: skip
    reads += [(node.op,) for node in nodes if node.op in waiting]


@contextlib.contextmanager
def read_of_paddlepaddle(module, within):
    """Methods that wait for a GPU: for a number, or for a shape that follows from values."""
    import paddle

    reads = []

    def watched(name):
        function = getattr(paddle.Tensor, name)

        def call(self, *arguments, **more):
            reads.append((name, *within))
            return function(self, *arguments, **more)

        return mock.patch.object(paddle.Tensor, name, call)

    names = ("numpy", "item", "tolist", "__bool__", "__int__", "__float__", "__index__",
             "__array__", "nonzero", "masked_select", "unique", "bincount")  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(watched(name))
        yield reads


READERS = {"pytorch": read_of_pytorch, "tensorflow": read_of_tensorflow,
           "paddlepaddle": read_of_paddlepaddle}  # fmt: skip
