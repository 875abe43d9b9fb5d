"""What PaddlePaddle calls the few things that every variant needs of its framework.

Twins: pytorch.py and tensorflow.py.  No operators, layers or losses live here.
"""

import contextlib
import os
import pathlib
import resource

import numpy as np

from common.errors import UserError
from common.parameters import step_seed
from common.quiet import quiet


def _settings():
    """What must stand in the environment before the import, where the user has not set it.

    Importing PaddlePaddle would set one thread; and on AMD processors the MKL that it carries
    takes a slow path unless told what the processor can do (3 to 8 times slower).
    """
    settings = {"OMP_NUM_THREADS": str(os.cpu_count())}
    processor = pathlib.Path("/proc/cpuinfo")
    text = processor.read_text() if processor.exists() else ""
    if "AuthenticAMD" in text and "avx2" in text:
        settings["MKL_DEBUG_CPU_TYPE"] = "7" if "avx512f" in text else "5"
    return settings


for _name, _value in _settings().items():
    os.environ.setdefault(_name, _value)

# It warns of threads, which the launcher of several processes divides, and of a missing ccache.
with quiet():
    import paddle
    from paddle import distributed

# Axes that turn a canonical array into this framework's own layout.
AXES = {
    "convolution": (0, 1, 2, 3),
    "sequence_convolution": (0, 1, 2),
    "dense": (1, 0),
    "embedding": (0, 1),
    "vector": (0,),
    "images": (0, 1, 2, 3),
    "matrix": (0, 1),
    "sequence": (0, 1, 2),
}

DTYPES = {"fp32": "float32", "bf16": "float32", "fp64": "float64"}


def start(config):
    """Sets device, precision, threads and, among several processes, the process group."""
    paddle.set_default_dtype(DTYPES[config.precision])
    if config.precision == "bf16" and config.device == "cpu":
        raise UserError(
            "--precision=bf16: PaddlePaddle has bfloat16 on GPUs alone. Add --device=cuda, or "
            "leave it."
        )
    if config.device == "cuda":
        if not paddle.is_compiled_with_cuda() or not paddle.device.cuda.device_count():
            raise UserError("--device=cuda: PaddlePaddle finds no GPU here. Use --device=cpu.")
        paddle.set_device("gpu")
    else:
        paddle.set_device("cpu")
        # On a CPU a transposed view is copied slowly when it is next used: 1.7 times a step of the
        # Transformer.  So transposing copies at once.
        paddle.set_flags({"FLAGS_use_stride_kernel": False})
    if int(os.environ.get("PADDLE_TRAINERS_NUM", 1)) > 1:
        distributed.init_parallel_env()


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
    paddle.seed(step_seed(number, step, rank()))


def dtype():
    """The type of parameters and sums; bf16 touches only what `autocast` covers."""
    return paddle.get_default_dtype()


def synchronize():
    """Waits until the device has done what it was given."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.synchronize()


def autocast(config):
    """The context in which --precision=bf16 computes in bfloat16."""
    if config.precision == "bf16":
        return paddle.amp.auto_cast(dtype="bfloat16")
    return contextlib.nullcontext()


def compiled(function, config):
    """The function (batch, record), compiled where --compile asks for it."""
    if not config.compile:
        return function

    def plain(batch, record):  # to_static takes no methods but a layer's, and no *arguments
        return function(batch, record)

    return paddle.jit.to_static(plain, full_graph=True)


def parameter(shape):
    """A trained parameter to be filled by `load`."""
    return paddle.create_parameter(
        shape, dtype(), default_initializer=paddle.nn.initializer.Constant(0.0)
    )


def buffer(shape):
    """A moving statistic to be filled by `load`."""
    return paddle.zeros(shape, dtype())


def put(batch):
    """{name: numpy array} -> {name: tensor} on the device."""
    return {name: paddle.to_tensor(array) for name, array in batch.items()}


def get(tensor):
    """Tensor -> numpy array."""
    return tensor.astype("float32").numpy() if tensor.dtype == paddle.bfloat16 else tensor.numpy()


def split(network, specification):
    """Two {canonical name: tensor}: what the optimizer trains, and the moving statistics."""
    tensors = network.state_dict(keep_vars=True)
    trained = {n: tensors[n] for n, p in specification.items() if p.trained}
    statistics = {n: tensors[n] for n, p in specification.items() if not p.trained}
    return trained, statistics


def load(network, arrays, specification):
    """Puts canonical arrays into the network."""
    tensors = network.state_dict()
    assert tensors.keys() == specification.keys(), tensors.keys() ^ specification.keys()
    for name, parameter in specification.items():
        tensors[name].set_value(from_canonical(arrays[name], parameter))


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
        tensors[name].set_value(from_canonical(arrays[name], specification[name]))


def from_canonical(array, parameter):
    """numpy array in canonical layout -> tensor in this framework's."""
    turned = np.ascontiguousarray(array.transpose(AXES[parameter.kind]))
    return paddle.to_tensor(turned, dtype())


def to_canonical(tensor, parameter):
    """Tensor in this framework's layout -> contiguous numpy array in the canonical one."""
    axes = np.argsort(AXES[parameter.kind])
    return np.ascontiguousarray(tensor.numpy().transpose(axes))


def dump_slot(optimizer, slot, weights, specification):
    """{canonical name: array}: one of the optimizer's sums; zeros before the first step."""
    # PaddlePaddle keys its state by names that count the layers made so far in the process.
    state = optimizer.state_dict()
    sums = {n: state.get(f"{w.name}_{slot}_0", paddle.zeros_like(w)) for n, w in weights.items()}
    return {n: to_canonical(tensor, specification[n]) for n, tensor in sums.items()}


def load_slot(optimizer, slot, weights, specification, arrays):
    """Takes back what dump_slot gave."""
    state = optimizer.state_dict()
    for name, weight in weights.items():
        state[f"{weight.name}_{slot}_0"] = from_canonical(arrays[name], specification[name])
    optimizer.set_state_dict(state)


def fill_slot(optimizer, slot, weights, value):
    """Sets each weight's number in a slot that holds no more, such as a power of Adam's beta."""
    state = optimizer.state_dict()
    for weight in weights.values():
        state[f"{weight.name}_{slot}_0"].fill_(value)


def average(tensors):
    """{name: tensor} -> the mean of each over all processes, in one all-reduce."""
    if world_size() == 1:
        return tensors
    flat = paddle.concat([tensor.reshape([-1]) for tensor in tensors.values()])
    distributed.all_reduce(flat)
    flat = flat / world_size()
    parts = paddle.split(flat, [tensor.size for tensor in tensors.values()])
    return {n: part.reshape(t.shape) for (n, t), part in zip(tensors.items(), parts)}


def average_in_place(tensors):
    """Sets each tensor to its mean over all processes."""
    if world_size() > 1:
        for tensor, mean in zip(tensors.values(), average(tensors).values()):
            tensor.set_value(mean)


def gather(value):
    """[value of rank 0, value of rank 1, ...], on every process.  value: any picklable object."""
    if world_size() == 1:
        return [value]
    values = []
    distributed.all_gather_object(values, value)
    return values


def describe():
    """{what: text} of the framework, its device and its threads, for the log."""
    on_gpu = paddle.device.get_device().startswith("gpu")
    names = ("OMP_", "MKL_", "MALLOC_", "FLAGS_")
    return {
        "framework": "paddlepaddle",
        "version": paddle.__version__,
        "device": paddle.device.cuda.get_device_name() if on_gpu else "cpu",
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "environment": {n: v for n, v in os.environ.items() if n.startswith(names)},
    }


def peak_memory_bytes():
    """The most memory held so far: the GPU's, or this process's resident set on the CPU."""
    if paddle.device.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
