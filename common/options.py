"""What every benchmark can be told on the command line, and how that becomes a config."""

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated

from absl import flags

from common.errors import UserError


@dataclass(frozen=True)
class Bounds:
    """What a number may be: at least `low`, or above it, and at most `high`."""

    low: float
    high: float
    above: bool = False

    def fault(self, value):
        """What was expected of a value that is out of bounds, else None."""
        within = value > self.low if self.above else value >= self.low
        if within and value <= self.high:
            return None
        least = f"above {self.low:g}" if self.above else f"{self.low:,} or more"
        return f"expected {least}, at most {self.high:,}"


# The types of a config's numbers, by what they may be.
Count = Annotated[int, Bounds(1, 10**9)]             # of examples, steps, epochs, attempts
Whole = Annotated[int, Bounds(0, 10**9)]             # 0 is allowed
Size = Annotated[int, Bounds(1, 1 << 22)]            # of a batch, a picture, a vocabulary
Width = Annotated[int, Bounds(1, 1 << 16)]           # of a layer
Depth = Annotated[int, Bounds(1, 1000)]              # layers, heads, beams
Positive = Annotated[float, Bounds(0.0, 1e9, above=True)]
Amount = Annotated[float, Bounds(0.0, 1e9)]          # 0 is allowed
Share = Annotated[float, Bounds(0.0, 1.0)]
Decay = Annotated[float, Bounds(0.0, 1.0 - 1e-6)]    # below 1
Processes = Annotated[int, Bounds(0, 256)]
Threads = Annotated[int, Bounds(1, 256)]
Seed = Annotated[int, Bounds(0, (1 << 63) - 1)]


@dataclass(frozen=True)
class Options:
    """How to run: the fields that every application's Config has beside its own numbers."""

    profile: str = "quick"
    seed: Seed | None = None            # None: taken from the clock, as the rules ask
    data_dir: str = ""                  # "": the embedded data, in the cache folder
    output_dir: str = ""                # "": runs/<application>-<framework>-<profile>-<seed>
    device: str = "cpu"                 # cpu or cuda
    precision: str = "fp32"             # fp32, tf32 (a GPU's), bf16, or fp64 (for parity)
    compile: bool = False               # torch.compile, XLA, paddle.jit
    workers: Processes | None = 0       # data processes; 0: threads; None: by the cores
    threads: Threads = 2                # data threads when there are no workers
    resume: bool = False
    target: float | str = 0.0           # the quality that ends the run; "one=0.3,other=0.2"
    num_epochs: Count = 1               # the run is aborted after this many
    evaluate_every_epochs: Count = 1
    evaluate_first_epoch: Count = 1     # MLPerf's evaluation offset, counted from 1
    checkpoint_every_minutes: Amount = 10.0   # beside the one after each epoch; 0: none
    checkpoint_every_steps: Whole = 0   # the same by steps, for tests; 0: none
    clear_caches: bool = False          # the system's, before the clock: a closed run does
    application: str = ""               # set from the command, for the log
    framework: str = ""


# How and where a run is made, not what it computes: the closed division leaves these free.
FREE_FIELDS = (
    "seed",
    "data_dir",
    "output_dir",
    "device",
    "precision",
    "compile",
    "workers",
    "threads",
    "resume",
    "num_epochs",
    "checkpoint_every_minutes",
    "checkpoint_every_steps",
    "application",
    "framework",
)

# Each process of a run may have its own; all else must be alike.
OWN_FIELDS = ("data_dir", "output_dir", "workers", "threads")

# Not for --set: the command says them otherwise.
RESERVED = ("profile", "resume", "application", "framework")

CHOICES = {"device": ("cpu", "cuda"), "precision": ("fp32", "tf32", "bf16", "fp64")}


def check_share(config, num_processes):
    """Raises UserError where a batch has no example for some process."""
    size = getattr(config, "batch_size", None)  # of sentences, say, a batch may hold any number
    if size is not None and size < num_processes:
        raise UserError(f"batch_size={size}: expected an example or more for each of "
                        f"{num_processes} processes.")


def shared_fields(config):
    """{name: value} of what all processes of a run must have alike."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if name not in OWN_FIELDS}


def define_flags():
    """The flags of every variant, alike.  Returns an absl FlagValues of its own.

    The defaults are None: "not given", so that a profile's own number stands.
    """
    values = flags.FlagValues()

    def define(define_flag, name, explanation, **more):
        define_flag(name, None, explanation, flag_values=values, **more)

    flags.DEFINE_string("profile", "quick", "quick, reference, or another of config.py", values)
    define(flags.DEFINE_integer, "seed", "random seed; default: the clock", lower_bound=0)
    define(flags.DEFINE_string, "data_dir", "folder of the dataset; default: embedded data")
    define(flags.DEFINE_string, "output_dir", "run folder: log, result, checkpoints")
    flags.DEFINE_enum("device", None, CHOICES["device"], "where to compute", values)
    flags.DEFINE_enum("precision", None, CHOICES["precision"], "of the arithmetic", values)
    define(flags.DEFINE_boolean, "compile", "compile the training step")
    define(flags.DEFINE_boolean, "resume", "go on from the run folder's checkpoint")
    define(flags.DEFINE_boolean, "clear_caches", "empty the system's caches first; needs root")
    define(flags.DEFINE_string, "target", "quality that ends the run: 0.9, or one=0.3,other=0.2")
    define(flags.DEFINE_integer, "max_epochs", "abort after as many epochs", lower_bound=1)
    define(flags.DEFINE_integer, "workers", "data worker processes; 0: threads", lower_bound=0)
    define(flags.DEFINE_integer, "processes", "training processes on this host", lower_bound=1,
           upper_bound=256)
    define(flags.DEFINE_integer, "nodes", "hosts", lower_bound=1, upper_bound=10_000)
    define(flags.DEFINE_integer, "node_rank", "number of this host, from 0", lower_bound=0)
    define(flags.DEFINE_string, "master", "HOST:PORT of the first host")
    define(flags.DEFINE_integer, "wait_seconds", "for the other hosts, at most; default: 900",
           lower_bound=1, upper_bound=10**6)
    flags.DEFINE_multi_string("set", [], "NAME=VALUE: any field of config.py", values)
    return values


def parse_flags(argv):
    """The flags' values.  Raises UserError for an unknown flag or value."""
    values = define_flags()
    rest = read_flags(values, argv, "See README.md for the flags.")
    if rest:
        raise UserError(f"{rest[0]!r}: not a flag. Flags look like --seed=1.")
    return values


def read_flags(values, argv, advice):
    """Reads the flags into an absl FlagValues.  Returns what stands beside them.

    Raises UserError, which ends with the advice.  absl's own flags are none of ours: one reads
    flags from any file, the other lets a misspelt flag pass.
    """
    for argument in argv:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name in ("flagfile", "undefok"):
            raise UserError(f"Unknown command line flag '{name}'. {advice}")
    try:
        return values(["", *argv])[1:]
    except (flags.Error, ValueError) as error:  # --nocompile=1 is a ValueError of absl's
        message = " ".join(str(error).split()).removeprefix("flag ").rstrip(".")
        raise UserError(f"{message}. {advice}") from None


def parse(profiles, values):
    """The config that a command line asks for.

    profiles: {"quick": Config, "reference": Config, ...}.  values: the flags', by parse_flags.
    Raises UserError for an unknown field or value.
    """
    if values.profile not in profiles:
        raise UserError(f"--profile={values.profile}: expected one of {', '.join(profiles)}.")
    config = profiles[values.profile]
    changes = {}
    for name in ("seed", "data_dir", "output_dir", "device", "precision", "compile", "resume",
                 "clear_caches", "workers"):
        if values[name].value is not None:
            changes[name] = values[name].value
    if values.target is not None:
        changes["target"] = parse_field(config, "target", values.target)
    if values.max_epochs is not None:
        changes["num_epochs"] = values.max_epochs
    return assign(dataclasses.replace(config, **changes), values.set)


def assign(config, assignments):
    """The config with each NAME=VALUE of --set.  Raises UserError for an unknown field or value."""
    changes = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: expected NAME=VALUE.")
        changes[name] = parse_field(config, name, text)
    return check_bounds(dataclasses.replace(config, **changes))


def parse_field(config, name, text):
    """The value of a config field from its text.  Raises UserError for a wrong name or value."""
    hints = typing.get_type_hints(type(config))
    fields = {field: kind for field, kind in hints.items() if field not in RESERVED}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"--set {name}: no such field.{hint} Known: {', '.join(sorted(fields))}.")
    kind = fields[name]
    try:
        value = _convert(kind, text)
    except ValueError:
        shown = getattr(kind, "__name__", str(kind)) if not typing.get_args(kind) else str(kind)
        raise UserError(f"--set {name}={text}: expected {shown}.") from None
    if name in CHOICES and value not in CHOICES[name]:
        raise UserError(f"--set {name}={text}: expected one of {', '.join(CHOICES[name])}.")
    return value


def _convert(kind, text):
    alternatives = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        parts = text.removeprefix("(").removesuffix(")").removesuffix(",")
        return tuple(_convert(alternatives[0], part) for part in parts.split(",")) if parts else ()
    if alternatives:  # int | None, float | str
        first, other = alternatives
        if other is types.NoneType:
            return None if text == "None" else _convert(first, text)
        try:
            return _convert(first, text)
        except ValueError:
            return _convert(other, text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if kind is not str and (not text.isascii() or "_" in text):  # which Python takes for numbers
        raise ValueError(text)
    value = kind(text)
    if kind is float and not math.isfinite(value):
        raise ValueError(text)
    return value


def check_bounds(config):
    """The config, if each of its numbers is within the bounds of its type.  Raises UserError."""
    for name, kind in typing.get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else [value]
        if isinstance(value, tuple) and not value:
            raise UserError(f"{name}=(): expected at least one number.")
        for bounds in _bounds(kind):
            for number in values:
                if number is not None and (fault := bounds.fault(number)):
                    raise UserError(f"{name}={value}: {fault}.")
    return config


def _bounds(kind):
    """The Bounds in a type, within a tuple's or an optional one's too."""
    found = [part for part in getattr(kind, "__metadata__", ()) if isinstance(part, Bounds)]
    if typing.get_origin(kind) is Annotated:
        return found
    return [bounds for part in typing.get_args(kind) for bounds in _bounds(part)]


def from_json(config_class, fields):
    """The config of what json.load gives of dataclasses.asdict.  Raises UserError."""
    known = {field.name for field in dataclasses.fields(config_class)}
    odd = sorted(fields.keys() ^ known)
    if odd:
        raise UserError(f"config: {odd[0]}: expected {', '.join(sorted(known))}.")
    # JSON has lists where a config has tuples.
    config = config_class(**{n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()})
    for name, kind in typing.get_type_hints(config_class).items():
        if not _is_of(getattr(config, name), kind):
            raise UserError(f"config: {name} is {getattr(config, name)!r}: expected {kind}.")
    return check_bounds(config)


def _is_of(value, kind):
    """Whether a value has a field's type."""
    alternatives = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_of(v, alternatives[0]) for v in value)
    if alternatives:
        return any(_is_of(value, part) for part in alternatives)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind
