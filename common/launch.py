"""Starts the processes of a run through the framework's own launcher: launch.py APP FRAMEWORK ...

    --processes=N                                          N processes on this host
    --nodes=M --node_rank=R --master=HOST:PORT --seed=S    on each of M hosts; R from 0
"""

import functools
import glob
import importlib
import json
import os
import re
import socket
import sys
import time

from common import command, options, processes, run_folder
from common.errors import ABORTED, UserError, tell, told
from common.hosts import Hosts, joined, listening

USAGE = "usage: launch.sh APPLICATION FRAMEWORK [flags]"


def launch(arguments, program="common.main"):
    """Starts a run.  Returns its exit code.  Raises UserError.

    program: the module that each process runs, with `run(config)` and a command line of its own.
    """
    asked = command.parse(arguments, USAGE)
    with run_folder.advising(asked.config.output_dir):
        return start(asked, program)


def start(asked, program):
    """What launch does with the Command."""
    processes.num_threads()  # raises
    processes.forget_other_launchers()
    if asked.layout.world_size() == 1:
        return importlib.import_module(program).run(asked.config)
    # A fault of the user is told here, once, rather than by each process in its own way.
    config = command.prepare(asked.config)
    if not config.resume and asked.layout.node_rank == 0:
        run_folder.claim(config.output_dir)
    process = ["-m", program, *asked.arguments]
    if not config.resume:  # a resumed run has its seed from the checkpoint
        process.append(f"--seed={config.seed}")
    environment = os.environ.copy()
    # The processes of a host share its cores.
    share = max(1, os.cpu_count() // asked.layout.processes)
    environment.setdefault("OMP_NUM_THREADS", str(share))
    voice = processes.Voice()
    environment[processes.LAUNCHED] = voice.path
    starters = {"pytorch": torchrun, "tensorflow": tensorflow, "paddlepaddle": paddle}
    starter = starters[config.framework]
    begin = functools.partial(starter, process, environment, asked.layout, config)
    try:
        code = begin() if asked.layout.nodes == 1 else among_hosts(begin, config, asked.layout)
    except UserError:
        if voice.was_heard():
            return 1
        raise
    if code in (0, 1, ABORTED):
        return code
    if not voice.was_heard():
        tell(f"a process ended with {code}. {run_folder.advice(config.output_dir)}")
    return 1


def among_hosts(begin, config, layout):
    """What begin(hosts) returns, once the hosts have met; each learns how the others end."""
    if config.framework == "tensorflow":  # what is wrong here need not wait for the others
        workers_of(layout)
    # PaddlePaddle's launcher takes a colon for the port's.
    family = socket.AF_INET if config.framework == "paddlepaddle" else socket.AF_UNSPEC
    alike = options.shared_fields(config)
    with Hosts(layout, alike | {"processes": layout.processes}, family) as hosts:
        code = begin(hosts)
        if code in (0, ABORTED):
            hosts.end()
        else:
            hosts.check()  # it may be why
            hosts.end(f"host {layout.node_rank} has ended with a fault, which it tells.")
        return code


# The function beneath torchrun, whose own command line would take flags of ours for its own.
TORCHRUN = """
import json, logging, os, sys
from common.processes import end_with_parent
end_with_parent()
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
logging.disable(logging.ERROR)  # of the launcher; the processes say what it is
given = json.loads(sys.argv[1])
config = LaunchConfig(
    min_nodes=given["nodes"], max_nodes=given["nodes"], nproc_per_node=given["processes"],
    run_id="run", rdzv_backend="static", rdzv_endpoint=given["endpoint"],
    rdzv_configs={"rank": given["node_rank"]}, max_restarts=0,
    logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # else a folder that stays in /tmp
)
try:
    elastic_launch(config, sys.executable)(*sys.argv[2:])
except ChildFailedError as error:
    sys.exit(error.get_first_failure()[1].exitcode)
"""

# PaddlePaddle's launcher writes the whole environment, secrets included, beside its logs.
PADDLE = """
import types
from common.processes import end_with_parent
end_with_parent()
from paddle.distributed.launch.controllers.controller import Controller
from paddle.distributed.launch.main import launch
from paddle.distributed.launch.utils import process_context
Controller.save_pod_env = Controller.save_pod_log = lambda self, info=None: None
process_context.json = types.SimpleNamespace(dump=lambda env, file, **how: file.write("{}"))
launch()
"""


def torchrun(process, environment, layout, config, hosts=None):
    """PyTorch: its elastic launcher gives each process its rank and restarts none."""
    given = {
        "nodes": layout.nodes,
        "processes": layout.processes,
        "node_rank": layout.node_rank,
        "endpoint": joined(layout.host, layout.port or processes.free_port()),
    }
    child = processes.start(
        [sys.executable, "-c", TORCHRUN, json.dumps(given), *process], environment
    )
    return processes.wait_for_all([child], hosts and hosts.check)


def tensorflow(process, environment, layout, config, hosts=None):
    """TensorFlow has no launcher: each process finds its place in TF_CONFIG."""
    workers = workers_of(layout)
    children = []
    for local_rank in range(layout.processes):
        index = layout.node_rank * layout.processes + local_rank
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        own = environment | {"TF_CONFIG": json.dumps(place), "LOCAL_RANK": str(local_rank)}
        children.append(processes.start([sys.executable, *process], own))
    return processes.wait_for_all(children, hosts and hosts.check)


def workers_of(layout):
    """[HOST:PORT] of TensorFlow's processes.  Raises UserError; and where a port of ours is in use.

    Worker R of host H listens on the master's port + R; with several hosts, TF_HOSTS names them,
    with a first port of its own for one that is named HOST:PORT.
    """
    if layout.nodes == 1:
        return [f"127.0.0.1:{processes.free_port()}" for _ in range(layout.processes)]
    names = os.environ.get("TF_HOSTS", "").split(",")
    if len(names) != layout.nodes:
        raise UserError(f"TF_HOSTS: expected {layout.nodes} hosts, by commas.")
    workers = []
    for node_rank, name in enumerate(names):
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^][:\s]+)(?::([0-9]{1,5}))?", name)
        if not found:
            raise UserError(f"TF_HOSTS: {name!r}: expected HOST or HOST:PORT.")
        first = int(found[2] or layout.port)
        if not 0 < first <= (1 << 16) - layout.processes:
            raise UserError(f"TF_HOSTS: {name!r}: {layout.processes} ports from {first} on: "
                            f"expected 1 to {(1 << 16) - 1}.")  # fmt: skip
        for port in range(first, first + layout.processes):
            workers.append(f"{found[1]}:{port}")
            if node_rank == layout.node_rank:
                listening(port).close()  # TensorFlow would share it with another run
    return workers


def paddle(process, environment, layout, config, hosts=None):
    """PaddlePaddle: its launcher keeps each process's output in a file of log_dir, workerlog.RANK.

    What it says itself goes to launcher.log, beside those files, of which the user is shown the
    result and the errors.
    """
    log_dir = run_folder.processes_folder(config.output_dir, layout.node_rank)
    launcher = [
        "-c", PADDLE,
        f"--nnodes={layout.nodes}",
        f"--nproc_per_node={layout.processes}",
        f"--rank={layout.node_rank}",
        f"--log_dir={log_dir}",
    ]  # fmt: skip
    if hosts:
        # It compares addresses, not names, to find whether it is the first host.
        launcher += [f"--master={hosts.first}:{layout.port}", f"--host={hosts.address}"]
    if config.device == "cpu":  # of a build for GPUs too
        environment["PADDLE_DISTRI_BACKEND"] = "gloo"
    os.makedirs(log_dir, exist_ok=True)
    with open(os.path.join(log_dir, "launcher.log"), "w") as log:
        child = processes.start(
            [sys.executable, *launcher, sys.executable, *process],
            environment | {"PYTHONUNBUFFERED": "1", processes.LAUNCHED: ""},  # each may speak
            stdout=log,
            stderr=log,
        )
    try:
        failed = processes.wait_for_all([child], hosts and hosts.check)
        if failed not in (0, ABORTED) and hosts:
            time.sleep(0.2)
            hosts.check()
    except UserError:
        if not show(log_dir):
            raise
        return 1
    if not show(log_dir) and failed not in (0, ABORTED):
        tell(f"a process failed; {log_dir} holds what each one said.")
    return failed if failed in (0, ABORTED) else 1


def show(log_dir):
    """Prints a result and the first error in the logs of PaddlePaddle's processes.

    Returns whether there was an error.
    """
    told_why = False
    for path in sorted(glob.glob(os.path.join(glob.escape(log_dir), "workerlog.*"))):
        with open(path, errors="replace") as opened:
            for line in opened:
                if line.startswith("RESULT,"):
                    print(line, end="")
                elif line.startswith("error: ") and not told_why:
                    tell(line.removeprefix("error: ").rstrip("\n"))
                    told_why = True
    return told_why


def main(arguments):
    """Returns the exit code."""
    return told(lambda: launch(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
