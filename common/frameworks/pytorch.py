"""What PyTorch calls the few things that every variant needs of its framework.

Twins: tensorflow.py and paddlepaddle.py.  No operators, layers or losses live here.
"""

import os
import resource

import numpy as np
import torch
from torch import distributed

from common.errors import UserError
from common.parameters import step_seed

# Axes that turn a canonical array into this framework's own layout.
AXES = {
    "convolution": (0, 1, 2, 3),
    "sequence_convolution": (0, 1, 2),
    "dense": (0, 1),
    "embedding": (0, 1),
    "vector": (0,),
    "images": (0, 1, 2, 3),
    "matrix": (0, 1),
    "sequence": (0, 1, 2),
}

DTYPES = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}

_device = torch.device("cpu")


def start(config):
    """Sets device, precision, threads and, among several processes, the process group."""
    global _device
    torch.set_default_dtype(DTYPES[config.precision])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    torch.use_deterministic_algorithms(config.device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs time
    if config.device == "cuda":
        if not torch.cuda.is_available():
            raise UserError("--device=cuda: PyTorch finds no GPU here. Use --device=cpu.")
        _device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(_device)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        distributed.init_process_group("nccl" if config.device == "cuda" else "gloo")


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
    """The type of parameters and sums; bf16 touches only what `autocast` covers."""
    return torch.get_default_dtype()


def synchronize():
    """Waits until the device has done what it was given."""
    if _device.type == "cuda":
        torch.cuda.synchronize()


def autocast(config):
    """The context in which --precision=bf16 computes in bfloat16."""
    return torch.autocast(_device.type, torch.bfloat16, enabled=config.precision == "bf16")


def compiled(function, config):
    """The function, compiled where --compile asks for it."""
    return torch.compile(function) if config.compile else function


def put(batch):
    """{name: numpy array} -> {name: tensor} on the device."""
    return {name: _put(torch.from_numpy(array)) for name, array in batch.items()}


def _put(tensor):
    if _device.type == "cuda":
        return tensor.pin_memory().to(_device, non_blocking=True)
    return tensor


def get(tensor):
    """Tensor -> numpy array."""
    return tensor.detach().float().cpu().numpy() if tensor.dtype == torch.bfloat16 else (
        tensor.detach().cpu().numpy()
    )


def split(network, specification):
    """Two {canonical name: tensor}: what the optimizer trains, and the moving statistics."""
    tensors = network.state_dict(keep_vars=True)
    trained = {n: tensors[n] for n, p in specification.items() if p.trained}
    statistics = {n: tensors[n] for n, p in specification.items() if not p.trained}
    return trained, statistics


def load(network, arrays, specification):
    """Puts canonical arrays into the network, which moves to the device."""
    network.to(_device, memory_format=torch.channels_last)
    tensors = network.state_dict()
    assert tensors.keys() == specification.keys(), tensors.keys() ^ specification.keys()
    for name, parameter in specification.items():
        tensors[name].copy_(from_canonical(arrays[name], parameter))


def dump(network, specification):
    """{canonical name: array in canonical layout} of the whole network."""
    tensors = network.state_dict()
    return {n: to_canonical(tensors[n], p) for n, p in specification.items()}


def dump_tensors(tensors, specification):
    """{canonical name: array in canonical layout} of {canonical name: tensor}."""
    return {n: to_canonical(tensor, specification[n]) for n, tensor in tensors.items()}


def load_tensors(tensors, arrays, specification):
    """Puts canonical arrays into {canonical name: tensor}."""
    for name in tensors:
        tensors[name].copy_(from_canonical(arrays[name], specification[name]))


def from_canonical(array, parameter):
    """numpy array in canonical layout -> tensor in this framework's."""
    turned = np.ascontiguousarray(array.transpose(AXES[parameter.kind]))
    return torch.from_numpy(turned).to(_device, dtype())


def to_canonical(tensor, parameter):
    """Tensor in this framework's layout -> contiguous numpy array in the canonical one."""
    axes = np.argsort(AXES[parameter.kind])
    # A copy: on the CPU, numpy() shows the tensor's own memory, which the next step changes.
    return tensor.detach().cpu().numpy().transpose(axes).copy("C")


def dump_slot(optimizer, slot, weights, specification):
    """{canonical name: array}: one of the optimizer's sums; zeros before the first step."""
    sums = {n: optimizer.state[w].get(slot, torch.zeros_like(w)) for n, w in weights.items()}
    return {n: to_canonical(tensor, specification[n]) for n, tensor in sums.items()}


def load_slot(optimizer, slot, weights, specification, arrays):
    """Takes back what dump_slot gave."""
    for name, weight in weights.items():
        value = from_canonical(arrays[name], specification[name])
        optimizer.state[weight][slot] = torch.empty_like(weight).copy_(value)


def average(tensors):
    """{name: tensor} -> the mean of each over all processes, in one all-reduce."""
    if world_size() == 1:
        return tensors
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors.values()])
    distributed.all_reduce(flat)
    parts = (flat / world_size()).split([tensor.numel() for tensor in tensors.values()])
    return {n: part.view(t.shape) for (n, t), part in zip(tensors.items(), parts)}


def average_in_place(tensors):
    """Sets each tensor to its mean over all processes."""
    if world_size() > 1:
        for tensor, mean in zip(tensors.values(), average(tensors).values()):
            tensor.copy_(mean)


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
    names = ("OMP_", "MKL_", "MALLOC_")
    return {
        "framework": "pytorch",
        "version": torch.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "environment": {n: v for n, v in os.environ.items() if n.startswith(names)},
    }


def peak_memory_bytes():
    """The most memory held so far: the GPU's, or this process's resident set on the CPU."""
    if _device.type == "cuda":
        return torch.cuda.max_memory_allocated(_device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
