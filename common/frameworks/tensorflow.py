"""What TensorFlow calls the few things that every variant needs of its framework.

Twins: pytorch.py and paddlepaddle.py.  No operators, layers or losses live here.
"""

import contextlib
import json
import os
import pickle
import resource

import numpy as np

from common.errors import UserError
from common.parameters import step_seed
from common.quiet import quiet

# TensorFlow's greetings hide a user's errors; oneDNN's are printed whatever the level says.
with contextlib.nullcontext() if "TF_CPP_MIN_LOG_LEVEL" in os.environ else quiet():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

# Axes that turn a canonical array into this framework's own layout.
AXES = {
    "convolution": (2, 3, 1, 0),
    "sequence_convolution": (2, 1, 0),
    "dense": (1, 0),
    "embedding": (0, 1),
    "vector": (0,),
    "images": (0, 2, 3, 1),
    "matrix": (0, 1),
    "sequence": (0, 1, 2),
}

DTYPES = {"fp32": tf.float32, "bf16": tf.float32, "fp64": tf.float64}

_dtype = tf.float32
_strategy = None


def start(config):
    """Sets device, precision, threads and, among several processes, the process group."""
    global _dtype, _strategy
    _dtype = DTYPES[config.precision]
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
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
    if "TF_CONFIG" in os.environ:
        _strategy = tf.distribute.MultiWorkerMirroredStrategy()
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
    """The type of parameters and sums; bf16 touches only what `autocast` covers."""
    return _dtype


def synchronize():
    """Waits until the device has done what it was given."""
    if tf.config.get_visible_devices("GPU"):
        tf.test.experimental.sync_devices()


def autocast(config):
    """The type that --precision=bf16 computes in: what the images are cast to."""
    return tf.bfloat16 if config.precision == "bf16" else _dtype


def compiled(function, config, signature=None):
    """The function as one graph, through XLA where --compile asks for it.

    signature: TensorSpecs of the arguments, for one graph from the first call on; without it, a
    second shape of a batch makes the graph one for any size.  No AutoGraph: the functions hold no
    `if` or `while` on a tensor.
    """
    return tf.function(
        function,
        input_signature=signature,
        jit_compile=config.compile,
        reduce_retracing=True,
        autograph=False,
    )


def variable(shape, trainable=True):
    """A variable to be filled by `load`."""
    return tf.Variable(tf.zeros(shape, _dtype), trainable=trainable)


def zeros_like(variables):
    """{name: variable of zeros}, for an optimizer's sums."""
    return {n: tf.Variable(tf.zeros_like(v), trainable=False) for n, v in variables.items()}


def put(batch):
    """{name: numpy array} -> {name: tensor} on the device."""
    return {name: tf.convert_to_tensor(array) for name, array in batch.items()}


def get(tensor):
    """Tensor -> numpy array."""
    return tf.cast(tensor, tf.float32).numpy() if tensor.dtype == tf.bfloat16 else tensor.numpy()


def _variables(module, prefix=""):
    """{attribute path: variable} of a module, lists by their numbers."""
    found = {}
    items = enumerate(module) if isinstance(module, (list, tuple)) else vars(module).items()
    for name, value in items:
        if isinstance(value, tf.Variable):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, tf.Module) or (
            not str(name).startswith("_") and isinstance(value, (list, tuple))
        ):
            found |= _variables(value, f"{prefix}{name}.")
    return found


def split(network, specification):
    """Two {canonical name: variable}: what the optimizer trains, and the moving statistics."""
    tensors = _variables(network)
    trained = {n: tensors[n] for n, p in specification.items() if p.trained}
    statistics = {n: tensors[n] for n, p in specification.items() if not p.trained}
    return trained, statistics


def load(network, arrays, specification):
    """Puts canonical arrays into the network."""
    tensors = _variables(network)
    assert tensors.keys() == specification.keys(), tensors.keys() ^ specification.keys()
    for name, parameter in specification.items():
        tensors[name].assign(from_canonical(arrays[name], parameter))


def dump(network, specification):
    """{canonical name: array in canonical layout} of the whole network."""
    tensors = _variables(network)
    return {n: to_canonical(tensors[n], p) for n, p in specification.items()}


def dump_tensors(tensors, specification):
    """{canonical name: array in canonical layout} of {canonical name: tensor}."""
    return {n: to_canonical(tensor, specification[n]) for n, tensor in tensors.items()}


def load_tensors(tensors, arrays, specification):
    """Puts canonical arrays into {canonical name: tensor}."""
    for name in tensors:
        tensors[name].assign(from_canonical(arrays[name], specification[name]))


def from_canonical(array, parameter):
    """numpy array in canonical layout -> tensor in this framework's."""
    return tf.constant(array.transpose(AXES[parameter.kind]), _dtype)


def to_canonical(tensor, parameter):
    """Tensor in this framework's layout -> contiguous numpy array in the canonical one."""
    axes = np.argsort(AXES[parameter.kind])
    return np.ascontiguousarray(tensor.numpy().transpose(axes))


def dump_slot(optimizer, slot, weights, specification):
    """{canonical name: array}: one of the optimizer's sums; zeros before the first step."""
    return {n: to_canonical(optimizer[slot][n], specification[n]) for n in weights}


def load_slot(optimizer, slot, weights, specification, arrays):
    """Takes back what dump_slot gave."""
    for name in weights:
        optimizer[slot][name].assign(from_canonical(arrays[name], specification[name]))


def average(tensors):
    """{name: tensor} -> the mean of each over all processes, in one all-reduce."""
    if world_size() == 1:
        return tensors
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors.values()], axis=0)
    flat = _strategy.run(_mean, args=([flat],))[0]
    parts = tf.split(flat, [int(np.prod(tensor.shape)) for tensor in tensors.values()])
    return {n: tf.reshape(part, t.shape) for (n, t), part in zip(tensors.items(), parts)}


def _mean(tensors):
    # identity: a tensor made here carries the device that the collective asks for.
    tensors = [tf.identity(tensor) for tensor in tensors]
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def average_in_place(tensors):
    """Sets each variable to its mean over all processes."""
    if world_size() > 1:
        values = {name: tf.convert_to_tensor(value) for name, value in tensors.items()}
        for tensor, mean in zip(tensors.values(), average(values).values()):
            tensor.assign(mean)


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


@tf.function(reduce_retracing=True)
def _gather_rows(tensor):
    def gather_one(own):
        return tf.distribute.get_replica_context().all_gather(tf.identity(own), axis=0)

    return _strategy.run(gather_one, args=(tensor,))


def _gather(tensor):
    return _gather_rows(tensor).numpy()


def describe():
    """{what: text} of the framework, its device and its threads, for the log."""
    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    names = ("OMP_", "TF_", "MALLOC_")
    return {
        "framework": "tensorflow",
        "version": tf.__version__,
        "device": details.get("device_name", "cpu"),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "environment": {n: v for n, v in os.environ.items() if n.startswith(names)},
    }


def peak_memory_bytes():
    """The most memory held so far: the GPU's, or this process's resident set on the CPU."""
    if tf.config.get_visible_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
