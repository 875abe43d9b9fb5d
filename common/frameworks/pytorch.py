"""What PyTorch calls the few things that every variant needs of its framework.

Twins: pytorch.py, tensorflow.py and paddlepaddle.py have the same functions, in the same order.  No
operators, layers or losses live here.
"""

import datetime
import functools
import os
import resource

import numpy as np
import torch
from torch import distributed, nn

from common.errors import UserError
from common.packs import Packs
from common.parameters import step_seed
from common.processes import num_threads, settings

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.float32,
          "fp64": torch.float64}  # fmt: skip
PATIENCE = datetime.timedelta(days=1)  # with other processes: they may play games for hours

_device = torch.device("cpu")


def start(config):
    """Sets device, precision, threads and, among several processes, the process group."""
    global _device
    torch.set_default_dtype(DTYPES[config.precision])
    torch.set_num_threads(num_threads())
    torch.use_deterministic_algorithms(config.device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs time
    if config.device == "cuda":
        if not torch.cuda.is_available():
            raise UserError("--device=cuda: PyTorch finds no GPU here. Use --device=cpu.")
        _device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(_device)
        # fp32 means fp32: left alone, convolutions would take TF32, products not.
        torch.backends.fp32_precision = "tf32" if config.precision == "tf32" else "ieee"
        torch.backends.cudnn.benchmark = True  # a shape's fastest kernel is looked for once
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not distributed.is_initialized():
        name = "nccl" if config.device == "cuda" else "gloo"
        distributed.init_process_group(name, timeout=PATIENCE)


def stop():
    """Leaves the process group."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank():
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size():
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def seed(number, step):
    """Starts the random numbers of an optimizer step, the run's seed being `number`."""
    torch.manual_seed(step_seed(number, step, rank()))


def dtype():
    """The type of parameters, losses and sums; bf16 touches only what `autocast` covers."""
    return torch.get_default_dtype()


def scalar(number):
    """A number as a compiled step takes it: TensorFlow would trace anew for each Python number."""
    return number


def synchronize():
    """Waits until the device has done what it was given."""
    if _device.type == "cuda":
        torch.cuda.synchronize()


def autocast(config):
    """The context in which a network's matrix products compute in bfloat16, with --precision=bf16.
    """
    return torch.autocast(_device.type, torch.bfloat16, enabled=config.precision == "bf16")


def compiled(function, config, signature=None):
    """The function as one graph where the framework needs one, or --compile asks for it.

    signature: TensorFlow's description of the arguments, for one graph whatever their shapes.
    """
    return torch.compile(function) if config.compile else function


def parameter(role, shape):
    """A trained parameter to be filled by `load`.  role, shape: canonical, see parameters.py."""
    return nn.Parameter(torch.empty(_turned(role, shape)))


def buffer(role, shape):
    """A moving statistic to be filled by `load`: what no gradient reaches, found by name too."""
    return nn.Parameter(torch.empty(_turned(role, shape)), requires_grad=False)


def _axes(role, rank):
    """The order of a canonical array's axes in this framework's own layout."""
    return tuple(range(rank))


def _turned(role, shape):
    """This framework's shape of a canonical one."""
    return [shape[axis] for axis in _axes(role, len(shape))]


def put(batch):
    """{name: numpy array} -> {name: tensor} on the device."""
    return {name: _put(torch.from_numpy(array)) for name, array in batch.items()}


def get(tensor):
    """Tensor -> numpy array; bfloat16, which numpy lacks, as float32."""
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return tensor.detach().cpu().numpy()


def load(network, arrays, specification):
    """Puts canonical arrays into the network, on the device.

    Returns two {canonical name: tensor}: what the optimizer trains, and the moving statistics.
    """
    network.to(_device, memory_format=torch.channels_last)
    tensors = _tensors(network)
    assert tensors.keys() == specification.keys(), tensors.keys() ^ specification.keys()
    _fill(tensors, arrays, specification)
    trained = {n: tensors[n] for n, p in specification.items() if p.trained}
    statistics = {n: tensors[n] for n, p in specification.items() if not p.trained}
    return trained, statistics


def make_sums(optimizer, weights, slots):
    """{sum: {canonical name: tensor of zeros}}, the optimizer's own from now on.

    They are there before the first step, so that it finds what a resumed one finds.
    slots: {sum: the optimizer's name for it}.  optimizer: None where the trainer holds the sums.
    """
    sums = {name: {n: torch.zeros_like(weight) for n, weight in weights.items()} for name in slots}
    for n, weight in weights.items() if optimizer else ():
        optimizer.state[weight] = {slot: sums[name][n] for name, slot in slots.items()}
        optimizer.state[weight]["step"] = torch.zeros([], dtype=torch.float32, device=weight.device)
    return sums


def set_step(optimizer, weights, step):
    """Tells the optimizer how many steps were done: its bias corrections depend on it."""
    for weight in weights.values():
        optimizer.state[weight]["step"].fill_(step)


def dump_state(network, sums, specification):
    """{"parameter" or a sum: {canonical name: array in canonical layout}}."""
    groups = {"parameter": _tensors(network), **sums}
    return {group: {n: to_canonical(tensors[n], specification[n].role)
                    for n in specification if n in tensors}
            for group, tensors in groups.items()}


def load_state(network, sums, specification, state):
    """Takes back what dump_state gave, here or in another framework."""
    groups = {"parameter": _tensors(network), **sums}
    for group, tensors in groups.items():
        _fill(tensors, state[group], specification)


def to_canonical(tensor, role):
    """Tensor in this framework's layout -> contiguous numpy array in the canonical one."""
    array = get(tensor)
    # A copy: on the CPU the array is the tensor's own memory, which the next step changes.
    return array.transpose(np.argsort(_axes(role, array.ndim))).copy("C")


def average(tensors, count=None):
    """{name: tensor} -> the mean of each over all processes.

    count: of this process's examples, by which it weighs; None: all processes weigh alike.
    """
    if world_size() == 1:
        return tensors
    return mean_gradients(lambda: (None, {}), {}, count, tensors)[1]


def mean_gradients(differentiate, weights, count=None, beside=None):
    """Returns the loss and {name: the gradient's mean over all processes}.

    differentiate: gives the loss and {name: gradient} of this process's part of the batch.
    weights: {name: tensor}, in forward order.  count: see average.
    beside: {name: tensor} that is averaged along, as it is after the backward pass, and found among
        the gradients; in one process the tensor itself.
    """
    beside = beside or {}
    if world_size() == 1:
        loss, gradients = differentiate()
        gradients = {n: _lying_as(weights[n], gradient) for n, gradient in gradients.items()}
        return loss, {**gradients, **beside}
    # The last layer's gradient is the first to come, and is sent while the backward pass goes on.
    # Only a compiled loss gives all of them at its end.
    sums = _Sums({**dict(reversed(weights.items())), **beside}, count)
    hooks = [weight.register_hook(functools.partial(sums.add, name))
             for name, weight in weights.items()]
    try:
        loss, gradients = differentiate()
    finally:
        for hook in hooks:
            hook.remove()
    own = {**gradients, **beside}
    for name in sums.packs.missing():  # what no gradient reaches, and what is beside
        sums.add(name, torch.zeros_like(weights[name]) if own[name] is None else own[name])
    return loss, sums.means()


def assign(tensors, values):
    """Sets each tensor to the value of its name, but for one that is that value itself."""
    for name, tensor in tensors.items():
        if values[name] is not tensor:
            tensor.copy_(values[name])


def gather(value):
    """[value of rank 0, value of rank 1, ...], on every process.  value: any picklable object."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def describe():
    """{what: text} of the framework, its device and its threads, for the log."""
    device = torch.cuda.get_device_name(_device) if _device.type == "cuda" else "cpu"
    return {
        "framework": "pytorch",
        "version": torch.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "environment": settings(),
    }


def peak_memory_bytes():
    """The most memory held so far: the GPU's, or this process's resident set on the CPU."""
    if _device.type == "cuda":
        return torch.cuda.max_memory_allocated(_device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _put(tensor):
    if _device.type == "cuda":
        return tensor.pin_memory().to(_device, non_blocking=True)
    return tensor


def _lying_as(weight, gradient):
    """The gradient with its weight's strides, which fused optimizers take for granted.

    The tensor itself where it has them, or is None.
    """
    if gradient is None or gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def _tensors(network):
    """{canonical name: tensor} of the whole network."""
    return dict(network.named_parameters())


@torch.no_grad()
def _fill(tensors, arrays, specification):
    """Puts canonical arrays into {canonical name: tensor}."""
    for name, tensor in tensors.items():
        role = specification[name].role
        array = np.ascontiguousarray(arrays[name].transpose(_axes(role, arrays[name].ndim)))
        tensor.copy_(torch.from_numpy(array))


class _Sums:
    """Sums of tensors over all processes, each weighed by its process's count; see Packs."""

    def __init__(self, tensors, count):
        """tensors: {name: tensor} of the shapes to come.  count: see average."""
        self.count = 1 if count is None else count
        one = next(iter(tensors.values())).new_ones(1)
        tensors = {"count": one, **tensors}
        self.packs = Packs({name: tensor.nbytes for name, tensor in tensors.items()})
        self.flats, self.views, self.tasks = [], {}, []
        for names in self.packs.packs:
            start = 0
            flat = one.new_empty(sum(tensors[name].numel() for name in names))
            for name in names:
                # Its own strides, see _lying_as.
                strides = torch.empty_like(tensors[name], device="meta").stride()
                self.views[name] = flat.as_strided(tensors[name].shape, strides, start)
                start += tensors[name].numel()
            self.flats.append(flat)
        self.add("count", one)

    @torch.no_grad()
    def add(self, name, tensor):
        """Takes this process's tensor of that name.  Returns the place of the sum."""
        if isinstance(self.count, int) and self.count == 0:
            self.views[name].zero_()  # the mean over no examples is no number
        else:
            torch.mul(tensor, self.count, out=self.views[name])
        for number in self.packs.come(name):
            self.tasks.append(distributed.all_reduce(self.flats[number], async_op=True))
        return self.views[name]

    def means(self):
        """{name: mean}, once all have come."""
        for task in self.tasks:
            task.wait()
        total = self.views.pop("count").clone()
        for flat in self.flats:
            flat /= total
        return self.views
