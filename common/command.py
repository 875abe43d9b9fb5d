"""The command line of a run, parsed once: APPLICATION FRAMEWORK --flags."""

import dataclasses
import re
import time
from dataclasses import dataclass

from common import benchmark, options, processes, run_folder
from common.errors import UserError
from common.options import Options

FRAMEWORKS = ("pytorch", "tensorflow", "paddlepaddle")


@dataclass(frozen=True)
class Layout:
    """The processes of a run: so many on each of so many hosts."""

    processes: int = 1
    nodes: int = 1
    node_rank: int = 0
    host: str = "127.0.0.1"      # of the first host, where the processes meet
    port: int | None = None      # None: any that is free
    wait_seconds: int = 900      # for the other hosts

    def world_size(self):
        """How many processes train together."""
        return self.processes * self.nodes


@dataclass(frozen=True)
class Command:
    """What a command line asks for.  config: its data not yet looked for; see `prepare`."""

    config: Options
    layout: Layout
    arguments: tuple[str, ...]   # as they were given, for further processes


def parse(arguments, usage="usage: run_and_time.sh [flags]"):
    """The Command of ["APPLICATION", "FRAMEWORK", "--flag", ...].  Raises UserError."""
    if len(arguments) < 2 or arguments[1] not in FRAMEWORKS:
        raise UserError(f"{usage}; APPLICATION is one of {', '.join(benchmark.applications())}; "
                        f"FRAMEWORK one of {', '.join(FRAMEWORKS)}.")
    application, framework = arguments[:2]
    module = benchmark.module(application, "config")
    values = options.parse_flags(arguments[2:])
    config = options.parse(module.PROFILES, values)
    config = dataclasses.replace(config, application=application, framework=framework)
    layout = layout_of(values)
    if config.workers is None:
        config = dataclasses.replace(config, workers=processes.data_workers(layout.processes))
    if config.resume:
        if not config.output_dir:
            raise UserError("--resume: name the run's folder with --output_dir.")
        if config.seed is None:
            seed = run_folder.saved_seed(config.output_dir)
            config = dataclasses.replace(config, seed=seed)
    if config.seed is None:
        config = dataclasses.replace(config, seed=clock_seed())
    if not config.output_dir:
        config = dataclasses.replace(config, output_dir=run_folder.default_path(config))
    options.check_share(config, layout.world_size())
    if config.precision == "tf32" and config.device == "cpu":
        raise UserError("--precision=tf32: a GPU's. Add --device=cuda, or say --precision=fp32.")
    return Command(module.check(config), layout, tuple(arguments))


def layout_of(values):
    """The Layout that flags ask for.  Raises UserError."""
    layout = Layout(values.processes or 1, values.nodes or 1, values.node_rank or 0)
    if layout.nodes == 1:
        for name in ("node_rank", "master", "wait_seconds"):
            if values.nodes is None and values[name].value is not None:
                raise UserError(f"--{name}: of several hosts. Add --nodes=NUMBER, or leave it.")
        return layout
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^][:/\s]+)):([0-9]{1,5})", values.master or "")
    host, port = (found[1] or found[2], found[3]) if found else ("", "0")
    if not 0 < int(port) < 1 << 16:
        raise UserError("--nodes: name the first host with --master=HOST:PORT.")
    if layout.node_rank >= layout.nodes:
        raise UserError(f"--node_rank={layout.node_rank}: expected 0 to {layout.nodes - 1}.")
    if values.seed is None and not values.resume:
        raise UserError("--nodes: give every host the same --seed.")
    if not values.output_dir:
        raise UserError("--nodes: give every host the same --output_dir, on a shared disk.")
    wait = values.wait_seconds or Layout.wait_seconds
    return dataclasses.replace(layout, host=host, port=int(port), wait_seconds=wait)


def prepare(config):
    """The config with its data found and counted, its target understood.  Raises UserError."""
    config = benchmark.module(config.application, "data").prepare(config)
    benchmark.benchmark_of(config.application).quality(config).targets(config.target)
    return config


def clock_seed():
    """A seed from the clock, as the rules allow; the launcher gives one to all processes."""
    return time.time_ns() % 2**31
