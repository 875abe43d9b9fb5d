"""What TensorFlow calls the few things that every variant needs of its framework.

Twins: pytorch.py, tensorflow.py and paddlepaddle.py have the same functions, in the same order.  No
operators, layers or losses live here.
"""

import contextlib
import json
import os
import pickle
import resource

import numpy as np

from common.errors import UserError
from common.packs import PACK_BYTES
from common.parameters import step_seed
from common.processes import LAUNCHED, num_threads, settings
from common.quiet import quiet

# TensorFlow's greetings hide a user's errors; oneDNN's are printed whatever the level says.
with contextlib.nullcontext() if "TF_CPP_MIN_LOG_LEVEL" in os.environ else quiet():
    # Among processes it tells of each that has gone, which the launcher tells in one line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if LAUNCHED in os.environ else "2")
    import tensorflow as tf

DTYPES = {"fp32": tf.float32, "tf32": tf.float32, "bf16": tf.float32, "fp64": tf.float64}

_dtype = tf.float32
_compute_dtype = None  # within autocast: what it computes in
_strategy = None


def start(config):
    """Sets device, precision, threads and, among several processes, the process group."""
    global _dtype, _strategy
    _dtype = DTYPES[config.precision]
    threads = num_threads()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if config.device == "cpu" and not config.compile:  # XLA refuses it for some operators
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not gpus:
        raise UserError("--device=cuda: TensorFlow finds no GPU here. Use --device=cpu.")
    else:
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        tf.config.set_visible_devices(gpus[local_rank], "GPU")
        tf.config.experimental.set_memory_growth(gpus[local_rank], True)
        # fp32 means fp32: left alone, products and convolutions would take TF32.
        tf.config.experimental.enable_tensor_float_32_execution(config.precision == "tf32")
    if "TF_CONFIG" in os.environ and not _strategy:
        # NCCL has to be asked for: AUTO takes a ring over gRPC, on GPUs too.  In packs, so that the
        # first are sent while the backward pass goes on.
        collective = tf.distribute.experimental.CommunicationImplementation
        options = tf.distribute.experimental.CommunicationOptions(
            bytes_per_pack=PACK_BYTES,
            implementation=collective.NCCL if config.device == "cuda" else collective.AUTO,
        )
        _strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))  # `seed` sets it anew


def stop():
    """Leaves the process group."""
    global _strategy
    _strategy = None


def rank():
    """This process's number, from 0."""
    return json.loads(os.environ["TF_CONFIG"])["task"]["index"] if _strategy else 0


def world_size():
    """How many processes train together."""
    return _strategy.num_replicas_in_sync if _strategy else 1


def seed(number, step):
    """Starts the random numbers of an optimizer step, the run's seed being `number`."""
    tf.random.get_global_generator().reset_from_seed(step_seed(number, step, rank()))


def dtype():
    """The type of parameters, losses and sums; bf16 touches only what `autocast` covers."""
    return _dtype


def scalar(number):
    """A number as a compiled step takes it: TensorFlow would trace anew for each Python number."""
    return tf.constant(number, _dtype)


def synchronize():
    """Waits until the device has done what it was given."""
    if tf.config.get_visible_devices("GPU"):
        tf.test.experimental.sync_devices()


@contextlib.contextmanager
def autocast(config):
    """The context in which a network's matrix products compute in bfloat16, with --precision=bf16.
    """
    # TensorFlow has no such context: a network casts by hand to what compute_dtype() says.
    global _compute_dtype
    before, _compute_dtype = _compute_dtype, tf.bfloat16 if config.precision == "bf16" else _dtype
    try:
        yield
    finally:
        _compute_dtype = before


def compiled(function, config, signature=None):
    """The function as one graph where the framework needs one, or --compile asks for it.

    signature: TensorFlow's description of the arguments, for one graph whatever their shapes.
    """
    # Without it, a second shape of a batch makes the graph one for any size.  No AutoGraph: the
    # functions hold no `if` or `while` on a tensor.
    return tf.function(
        function,
        input_signature=signature,
        jit_compile=config.compile,
        reduce_retracing=True,
        autograph=False,
    )


def parameter(role, shape):
    """A trained parameter to be filled by `load`.  role, shape: canonical, see parameters.py."""
    return tf.Variable(tf.zeros(_turned(role, shape), _dtype))


def buffer(role, shape):
    """A moving statistic to be filled by `load`: what no gradient reaches, found by name too."""
    return tf.Variable(tf.zeros(_turned(role, shape), _dtype), trainable=False)


def _axes(role, rank):
    """The order of a canonical array's axes in this framework's own layout."""
    space = range(2, rank)
    return {
        "weight": (*space, 1, 0),       # [space..., in, out]
        "activation": (0, *space, 1),   # [B, space..., C]
        "plain": tuple(range(rank)),
    }[role]


def _turned(role, shape):
    """This framework's shape of a canonical one."""
    return [shape[axis] for axis in _axes(role, len(shape))]


def put(batch):
    """{name: numpy array} -> {name: tensor} on the device."""
    return {name: tf.convert_to_tensor(array) for name, array in batch.items()}


def get(tensor):
    """Tensor -> numpy array; bfloat16, which numpy lacks, as float32."""
    tensor = tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor
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
    sums = {name: {n: tf.Variable(tf.zeros_like(weight), trainable=False)
                   for n, weight in weights.items()} for name in slots}
    if optimizer:
        optimizer.sums = {slot: sums[name] for name, slot in slots.items()}
    return sums


def set_step(optimizer, weights, step):
    """Tells the optimizer how many steps were done: its bias corrections depend on it."""
    optimizer.steps_done = step


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
    loss, gradients = differentiate()
    # The last layer's gradient is the first to come, and is sent while the backward pass goes on: a
    # list goes in packs, from its end on; but all of it at once where the graph has lost a shape.
    own = {name: tf.zeros_like(weights[name]) if tensor is None
           else tf.ensure_shape(tensor, weights[name].shape)
           for name, tensor in gradients.items()} | beside
    count = tf.cast(1 if count is None else count, _dtype)
    # no_nan: the mean over no examples is no number.
    weighed = [tf.math.multiply_no_nan(tensor, count) for tensor in own.values()]
    *sums, total = _strategy.run(_sum, args=([*weighed, count],))
    return loss, {name: one / total for name, one in zip(own, sums)}


def assign(tensors, values):
    """Sets each tensor to the value of its name, but for one that is that value itself."""
    for name, tensor in tensors.items():
        if values[name] is not tensor:
            tensor.assign(values[name])


def gather(value):
    """[value of rank 0, value of rank 1, ...], on every process.  value: any picklable object."""
    if world_size() == 1:
        return [value]
    # Bytes padded to the longest: the collective wants one shape; and floating-point numbers, which
    # hold them exactly: of integers oneDNN says in an error that it does not add them.
    data = np.frombuffer(pickle.dumps(value), np.uint8).astype(np.float64)
    lengths = _gather(tf.constant([len(data)], tf.float64)).astype(int)
    padded = np.pad(data, (0, lengths.max() - len(data)))
    rows = _gather(tf.constant(padded)[None])
    return [pickle.loads(r[:n].astype(np.uint8).tobytes()) for r, n in zip(rows, lengths)]


def describe():
    """{what: text} of the framework, its device and its threads, for the log."""
    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    device = details.get("device_name", "cpu")
    return {
        "framework": "tensorflow",
        "version": tf.__version__,
        "device": device,
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "environment": settings(),
    }


def peak_memory_bytes():
    """The most memory held so far: the GPU's, or this process's resident set on the CPU."""
    if tf.config.get_visible_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compute_dtype():
    """What a network casts its activations to: see autocast."""
    return _compute_dtype or _dtype


class Momentum:
    """v = momentum v + g, w = w - rate v: the formula of PyTorch and PaddlePaddle.

    nesterov: w = w - rate (g + momentum v).

    Keras's SGD has the rate inside v, which is another formula once the rate changes; so this is
    the kernel beneath TensorFlow 1's MomentumOptimizer, tf.raw_ops.ResourceApplyMomentum:
    https://www.tensorflow.org/api_docs/python/tf/raw_ops/ResourceApplyMomentum
    """

    def __init__(self, weights, momentum, nesterov=False):
        self.weights = weights
        self.momentum = momentum
        self.nesterov = nesterov
        self.learning_rate = None    # set before each step
        self.sums = None             # by make_sums

    def step(self, gradients):
        """One step.  gradients: {name: tensor}."""
        for name, weight in self.weights.items():
            tf.raw_ops.ResourceApplyMomentum(
                var=weight.handle,
                accum=self.sums["accum"][name].handle,
                lr=self.learning_rate,
                grad=gradients[name],
                momentum=scalar(self.momentum),
                use_nesterov=self.nesterov,
            )


class Adam:
    """Adam with epsilon beside the corrected root: the formula of PyTorch and PaddlePaddle.

    Keras's Adam adds epsilon before the correction; so this is the kernel beneath TensorFlow 1's
    AdamOptimizer, tf.raw_ops.ResourceApplyAdam, its epsilon turned into ours:
    https://www.tensorflow.org/api_docs/python/tf/raw_ops/ResourceApplyAdam
    """

    def __init__(self, weights, beta1, beta2, epsilon):
        self.weights = weights
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.learning_rate = None    # set before each step
        self.steps_done = None       # by set_step
        self.sums = None             # by make_sums

    def step(self, gradients):
        """One step.  gradients: {name: tensor}."""
        power1 = self.beta1 ** (self.steps_done + 1.0)
        power2 = self.beta2 ** (self.steps_done + 1.0)
        for name, weight in self.weights.items():
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=self.sums["m"][name].handle,
                v=self.sums["v"][name].handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=self.learning_rate,
                beta1=scalar(self.beta1),
                beta2=scalar(self.beta2),
                # The kernel adds epsilon to the uncorrected root of v.
                epsilon=self.epsilon * tf.sqrt(1.0 - power2),
                grad=gradients[name],
            )


def _tensors(network):
    """{canonical name: tensor} of the whole network."""
    return dict(_walk(network, ""))


def _fill(tensors, arrays, specification):
    """Puts canonical arrays into {canonical name: tensor}."""
    for name, tensor in tensors.items():
        role = specification[name].role
        tensor.assign(tf.constant(arrays[name].transpose(_axes(role, arrays[name].ndim)), _dtype))


def _walk(module, prefix):
    """Yields (attribute path, variable); the modules of a list are named by their numbers."""
    items = enumerate(module) if isinstance(module, (list, tuple)) else vars(module).items()
    for name, value in items:
        if isinstance(value, tf.Variable):
            yield f"{prefix}{name}", value
        elif isinstance(value, tf.Module) or (
            not str(name).startswith("_") and isinstance(value, (list, tuple))
        ):
            yield from _walk(value, f"{prefix}{name}.")


def _sum(tensors):
    # identity: a tensor made here carries the device that the collective asks for.
    tensors = [tf.identity(tensor) for tensor in tensors]
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


@tf.function(reduce_retracing=True, autograph=False)  # which would leave a file in /tmp
def _gather_rows(tensor):
    def gather_one(own):
        return tf.distribute.get_replica_context().all_gather(tf.identity(own), axis=0)

    return _strategy.run(gather_one, args=(tensor,))


def _gather(tensor):
    return _gather_rows(tensor).numpy()
