"""What PaddlePaddle calls the few things that every variant needs of its framework.

Twins: pytorch.py, tensorflow.py and paddlepaddle.py have the same functions, in the same order.  No
operators, layers or losses live here.
"""

import functools
import os
import pathlib
import resource
import signal

import numpy as np

from common.errors import UserError
from common.packs import Packs
from common.parameters import step_seed
from common.processes import meet, num_threads, settings
from common.quiet import quiet


def _settings():
    """What must stand in the environment before the import, where the user has not set it.

    Importing PaddlePaddle would set one thread; and on AMD processors the MKL that it carries
    takes a slow path unless told what the processor can do (3 to 8 times slower).
    """
    settings = {"OMP_NUM_THREADS": str(num_threads())}
    processor = pathlib.Path("/proc/cpuinfo")
    text = processor.read_text() if processor.exists() else ""
    if "AuthenticAMD" in text and "avx2" in text:
        settings["MKL_DEBUG_CPU_TYPE"] = "7" if "avx512f" in text else "5"
    return settings


for _name, _value in _settings().items():
    os.environ[_name] = os.environ.get(_name) or _value

# It warns of threads, which the launcher of several processes divides, and of a missing ccache.
with quiet():
    import paddle
    from paddle import distributed

# Its import takes SIGTERM from Python, whose handler lets a run clear up: see errors.told.
signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))

DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "float32", "fp64": "float64"}


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
        # fp32 means fp32: left alone, convolutions would take TF32, products not.
        tf32 = config.precision == "tf32"
        paddle.set_flags({"FLAGS_cudnn_allow_tf32": tf32, "FLAGS_cublas_allow_tf32": tf32})
        paddle.set_flags({"FLAGS_cudnn_exhaustive_search": True})  # once for each shape
    else:
        paddle.set_device("cpu")
        # On a CPU a transposed view is copied slowly when it is next used: a step with attention
        # takes 1.7 times as long.  So transposing copies at once.
        paddle.set_flags({"FLAGS_use_stride_kernel": False})
    if int(os.environ.get("PADDLE_TRAINERS_NUM", 1)) > 1 and not distributed.is_initialized():
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
    """The type of parameters, losses and sums; bf16 touches only what `autocast` covers."""
    return paddle.get_default_dtype()


def scalar(number):
    """A number as a compiled step takes it: TensorFlow would trace anew for each Python number."""
    return number


def synchronize():
    """Waits until the device has done what it was given."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.synchronize()


def autocast(config):
    """The context in which a network's matrix products compute in bfloat16, with --precision=bf16.
    """
    return paddle.amp.auto_cast(dtype="bfloat16", enable=config.precision == "bf16")


def compiled(function, config, signature=None):
    """The function as one graph where the framework needs one, or --compile asks for it.

    signature: TensorFlow's description of the arguments, for one graph whatever their shapes.
    """
    if not config.compile:
        return function

    def plain(batch, record):  # to_static takes no methods but a layer's, and no *arguments
        return function(batch, record)

    return paddle.jit.to_static(plain, full_graph=True)


def parameter(role, shape):
    """A trained parameter to be filled by `load`.  role, shape: canonical, see parameters.py."""
    zeros = paddle.nn.initializer.Constant(0.0)
    return paddle.create_parameter(_turned(role, shape), dtype(), default_initializer=zeros)


def buffer(role, shape):
    """A moving statistic to be filled by `load`: what no gradient reaches, found by name too."""
    made = parameter(role, shape)
    made.stop_gradient = True
    return made


def _axes(role, rank):
    """The order of a canonical array's axes in this framework's own layout."""
    if role == "weight" and rank == 2:
        return (1, 0)  # [in, out]
    return tuple(range(rank))


def _turned(role, shape):
    """This framework's shape of a canonical one."""
    return [shape[axis] for axis in _axes(role, len(shape))]


def put(batch):
    """{name: numpy array} -> {name: tensor} on the device."""
    return {name: paddle.to_tensor(array) for name, array in batch.items()}


def get(tensor):
    """Tensor -> numpy array; bfloat16, which numpy lacks, as float32."""
    tensor = tensor.astype("float32") if tensor.dtype == paddle.bfloat16 else tensor
    return tensor.numpy()


def load(network, arrays, specification):
    """Puts canonical arrays into the network, on the device.

    Returns two {canonical name: tensor}: what the optimizer trains, and the moving statistics.
    """
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
    if optimizer is None:
        return {name: {n: paddle.zeros_like(weight) for n, weight in weights.items()}
                for name in slots}
    for weight in weights.values():  # a step of nothing makes them
        weight.grad = paddle.zeros_like(weight)
    optimizer.step()
    # PaddlePaddle keys its state by names that count the layers made so far in the process.
    state = optimizer.state_dict()
    sums = {name: {n: state[f"{weight.name}_{slot}_0"] for n, weight in weights.items()}
            for name, slot in slots.items()}
    for tensors in sums.values():
        for tensor in tensors.values():
            tensor.zero_()  # an optimizer that decays has put the decay into it
    return sums


def set_step(optimizer, weights, step):
    """Tells the optimizer how many steps were done: its bias corrections depend on it."""
    state = optimizer.state_dict()
    powers = {"beta1_pow_acc": optimizer._beta1, "beta2_pow_acc": optimizer._beta2}
    for weight in weights.values():
        for slot, beta in powers.items():
            state[f"{weight.name}_{slot}_0"].fill_(beta ** (step + 1))


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
        return loss, {**gradients, **beside}
    # The last layer's gradient is the first to come, and is sent while the backward pass goes on.
    # Only of paddle.grad, and of a compiled loss, all come at the end.
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
        sums.add(name, paddle.zeros_like(weights[name]) if own[name] is None else own[name])
    return loss, sums.means()


def assign(tensors, values):
    """Sets each tensor to the value of its name, but for one that is that value itself."""
    for name, tensor in tensors.items():
        if values[name] is not tensor:
            tensor.set_value(values[name])


def gather(value):
    """[value of rank 0, value of rank 1, ...], on every process.  value: any picklable object."""
    if world_size() == 1:
        return [value]
    meet(paddle.framework.core.create_or_get_global_tcp_store().add, world_size())
    values = []
    distributed.all_gather_object(values, value)
    return values


def describe():
    """{what: text} of the framework, its device and its threads, for the log."""
    on_gpu = paddle.device.get_device().startswith("gpu")
    device = paddle.device.cuda.get_device_name() if on_gpu else "cpu"
    return {
        "framework": "paddlepaddle",
        "version": paddle.__version__,
        "device": device,
        "threads": num_threads(),
        "environment": settings(),
    }


def peak_memory_bytes():
    """The most memory held so far: the GPU's, or this process's resident set on the CPU."""
    if paddle.device.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tensors(network):
    """{canonical name: tensor} of the whole network."""
    return dict(network.named_parameters())


def _fill(tensors, arrays, specification):
    """Puts canonical arrays into {canonical name: tensor}."""
    for name, tensor in tensors.items():
        role = specification[name].role
        array = np.ascontiguousarray(arrays[name].transpose(_axes(role, arrays[name].ndim)))
        tensor.set_value(paddle.to_tensor(array, dtype()))


class _Sums:
    """Sums of tensors over all processes, each weighed by its process's count; see Packs."""

    def __init__(self, tensors, count):
        """tensors: {name: tensor} of the shapes to come.  count: see average."""
        self.count = 1 if count is None else count
        one = paddle.ones([1], next(iter(tensors.values())).dtype)
        tensors = {"count": one, **tensors}
        self.packs = Packs({n: t.size * t.element_size() for n, t in tensors.items()})
        self.flats, self.own, self.tasks = [], {}, []
        self.add("count", one)

    @paddle.no_grad()
    def add(self, name, tensor):
        """Takes this process's tensor of that name."""
        if isinstance(self.count, int) and self.count == 0:
            self.own[name] = paddle.zeros_like(tensor)  # the mean over no examples is no number
        else:
            self.own[name] = tensor * self.count
        for number in self.packs.come(name):
            names = self.packs.packs[number]
            self.flats.append(paddle.concat([self.own[name].reshape([-1]) for name in names]))
            self.tasks.append(distributed.all_reduce(self.flats[number], sync_op=False))

    @paddle.no_grad()
    def means(self):
        """{name: mean}, once all have come."""
        for task in self.tasks:
            task.wait()
        total = self.flats[0][:1]  # of the counts
        means = {}
        for names, flat in zip(self.packs.packs, self.flats):
            parts = paddle.split(flat / total, [self.own[name].size for name in names])
            means |= {n: part.reshape(self.own[n].shape) for n, part in zip(names, parts)}
        means.pop("count")
        return means
