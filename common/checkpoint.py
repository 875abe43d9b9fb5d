"""One checkpoint format for every framework: a safetensors file with canonical names.

Tensors are named group/name, as in velocity/stem.weight; the run's position stands as JSON in the
file's header.  A file appears whole or not at all, and the newest two are kept.
"""

import errno
import hashlib
import json
import os
import re

import numpy as np
import safetensors
import safetensors.numpy

from common.errors import UserError
from common.files import require_regular

NAME = re.compile(r"step_\d{10}\.safetensors")
FORMAT = 1
KEPT = 2


def path(folder, step):
    """The name of a step's checkpoint."""
    return os.path.join(folder, f"step_{step:010d}.safetensors")


def paths(folder):
    """All checkpoints in a folder, the newest last.  Raises OSError where it cannot be read."""
    names = os.listdir(folder) if os.path.lexists(folder) else []
    return sorted(os.path.join(folder, name) for name in names if NAME.fullmatch(name))


def save_tensors(file, tensors, metadata=None):
    """Writes {name: array} to a safetensors file, whole or not at all.

    safetensors writes the raw buffer of a transposed array, in the wrong order and without a word:
    so each array is made contiguous here, and the file is read back and compared.
    """
    # ascontiguousarray would turn a scalar into shape [1].
    tensors = {n: np.ascontiguousarray(a) if np.ndim(a) else np.asarray(a)
               for n, a in tensors.items()}
    temporary = f"{file}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as opened:  # for its mode: safetensors' own shuts others out
            mode = os.fstat(opened.fileno()).st_mode
        safetensors.numpy.save_file(tensors, temporary, metadata)
        os.chmod(temporary, mode)
        written = safetensors.numpy.load_file(temporary)
        for name, array in tensors.items():
            if written[name].tobytes() != array.tobytes():  # NaNs are equal here
                raise RuntimeError(f"{temporary}: {name} was not written as it is")
        with open(temporary, "rb") as opened:
            os.fsync(opened.fileno())
        os.replace(temporary, file)
        sync_folder(os.path.dirname(file))
    except (OSError, safetensors.SafetensorError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error):
            raise UserError(f"{file}: the disk is full. Make room and --resume.") from None
        raise UserError(f"{file}: cannot be written: {error}") from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def sync_folder(folder):
    """Makes renames in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(tensors):
    """sha256 over names, types, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total.update(f"{name} {array.dtype} {np.shape(tensors[name])}\n".encode())
        total.update(array.view(np.uint8).reshape(-1).data if array.size else b"")
    return total.hexdigest()


def save(folder, state, position):
    """Saves a run.  state: {group: {name: array}}.  position: plain data, "step" among it.

    Raises UserError when the disk is full; the checkpoint before stays.
    """
    os.makedirs(folder, exist_ok=True)
    tensors = {f"{g}/{n}": array for g, arrays in state.items() for n, array in arrays.items()}
    position = position | {"format": FORMAT, "sha256": digest(tensors)}
    text = json.dumps(position)
    save_tensors(path(folder, position["step"]), tensors, {"run": text, "sum": _sum(text)})
    for old in paths(folder)[:-KEPT]:
        os.remove(old)


def read_position(file):
    """The position in a checkpoint's header.  Raises UserError."""
    try:
        require_regular(file)
        with safetensors.safe_open(file, "numpy") as opened:
            metadata = opened.metadata() or {}
        if _sum(metadata["run"]) != metadata["sum"]:
            raise ValueError("the sum of its header is wrong")
        position = json.loads(metadata["run"])
        if not isinstance(position["format"], int) or not isinstance(position["config"], dict):
            raise ValueError("its header says nothing of a run")
        seed = position["config"].get("seed")
        if type(seed) is not int or not 0 <= seed < 1 << 63:
            raise ValueError("its header has no seed")
    except (OSError, KeyError, TypeError, ValueError, RecursionError,
            safetensors.SafetensorError) as error:
        raise UserError(_damaged(file, error)) from None
    if position["format"] > FORMAT:
        raise UserError(
            f"{file}: written in format {position['format']}, this program knows {FORMAT}. "
            "Resume with the newer program that wrote it."
        )
    return position


def load(file, expected):
    """{group: {name: array}} of a checkpoint.

    expected: {group: {name: array}} of the run that wants it.  Raises UserError when the names or
    shapes differ, or the file's sum is wrong.
    """
    position = read_position(file)
    try:
        tensors = safetensors.numpy.load_file(file)
    except (OSError, TypeError, safetensors.SafetensorError) as error:  # numpy has no bfloat16
        raise UserError(_damaged(file, error)) from None
    if digest(tensors) != position["sha256"]:
        raise UserError(_damaged(file, "its sum is wrong"))
    wanted = {f"{g}/{n}": a for g, arrays in expected.items() for n, a in arrays.items()}
    for name in sorted(wanted.keys() | tensors.keys()):
        has, wants = (_described(arrays.get(name)) for arrays in (tensors, wanted))
        if has != wants:
            raise UserError(f"{file}: holds another model: {name} is {has}, this run has {wants}.")
    state = {}
    for name, array in tensors.items():
        group, _, rest = name.partition("/")
        state.setdefault(group, {})[rest] = array
    return state


def _described(array):
    """Shape and kind of an array, in words; its precision may differ."""
    if array is None:
        return "nothing"
    kinds = {"f": "", "i": " of integers", "u": " of integers", "b": " of booleans"}
    return f"{np.shape(array)}{kinds.get(np.asarray(array).dtype.kind, ' of something else')}"


def _sum(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(file, error):
    return f"{file}: damaged ({error}). Remove it to resume from the checkpoint before."
