"""Starts the processes of a run through the framework's own launcher: launch.py APP FRAMEWORK ...

    --processes=N                                          N processes on this host
    --nodes=M --node_rank=R --master=HOST:PORT --seed=S    on each of M hosts; R from 0
"""

import glob
import importlib
import json
import os
import sys

from common import command, main, processes, run_folder
from common.errors import ABORTED, UserError, tell, told

USAGE = "usage: launch.sh APPLICATION FRAMEWORK [flags]"


def launch(arguments, program="common.main"):
    """Starts a run.  Returns its exit code.  Raises UserError.

    program: the module that each process runs, with `run(config)` and a command line of its own.
    """
    asked = command.parse(arguments, USAGE)
    processes.num_threads()  # raises
    processes.forget_other_launchers()
    if asked.layout.world_size() == 1:
        return importlib.import_module(program).run(asked.config)
    # A fault of the user is told here, once, rather than by each process in its own way.
    config = command.prepare(asked.config)
    if not config.resume and asked.layout.node_rank == 0:
        run_folder.claim(config.output_dir)
    process = ["-m", program, *arguments]
    if not config.resume:  # a resumed run has its seed from the checkpoint
        process.append(f"--seed={config.seed}")
    environment = os.environ.copy()
    # The processes of a host share its cores.
    share = max(1, os.cpu_count() // asked.layout.processes)
    environment.setdefault("OMP_NUM_THREADS", str(share))
    start = {"pytorch": torchrun, "tensorflow": tensorflow, "paddlepaddle": paddle}
    code = start[config.framework](process, environment, asked.layout, config)
    if code in (0, 1, ABORTED):
        return code
    tell(f"a process ended with {code}. {main.ADVICE}")
    return 1


# The function beneath torchrun, whose own command line would take flags of ours for its own.
TORCHRUN = """
import json, logging, os, sys
from common.processes import end_with_parent
end_with_parent()
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
logging.disable(logging.ERROR)  # of the launcher; the processes say what it is
given = json.loads(sys.argv[1])
config = LaunchConfig(
    min_nodes=given["nodes"], max_nodes=given["nodes"], nproc_per_node=given["processes"],
    run_id="run", rdzv_backend="static", rdzv_endpoint=f"{given['host']}:{given['port']}",
    rdzv_configs={"rank": given["node_rank"], "timeout": given["seconds"]}, max_restarts=0,
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

WAIT_SECONDS = 900  # for the other hosts


def torchrun(process, environment, layout, config):
    """PyTorch: its elastic launcher gives each process its rank and restarts none."""
    given = {
        "nodes": layout.nodes,
        "processes": layout.processes,
        "node_rank": layout.node_rank,
        "host": layout.host,
        "port": layout.port or processes.free_port(),
        "seconds": WAIT_SECONDS,
    }
    child = processes.start(
        [sys.executable, "-c", TORCHRUN, json.dumps(given), *process], environment
    )
    return processes.wait_for_all([child])


def tensorflow(process, environment, layout, config):
    """TensorFlow has no launcher: each process finds its place in TF_CONFIG.

    Worker R of host H listens on the master's port + R; with several hosts, TF_HOSTS names them,
    with a first port of its own for one that is named HOST:PORT.
    """
    if layout.nodes == 1:
        workers = [f"127.0.0.1:{processes.free_port()}" for _ in range(layout.processes)]
    else:
        hosts = environment.get("TF_HOSTS", "").split(",")
        if len(hosts) != layout.nodes:
            raise UserError(f"TF_HOSTS: expected {layout.nodes} hosts, by commas.")
        workers = []
        for host in hosts:
            name, _, port = host.partition(":")
            if not name or not (port or "1").isdecimal():
                raise UserError(f"TF_HOSTS: {host!r}: expected HOST or HOST:PORT.")
            first = int(port or layout.port)
            workers += [f"{name}:{first + rank}" for rank in range(layout.processes)]
    children = []
    for local_rank in range(layout.processes):
        index = layout.node_rank * layout.processes + local_rank
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        own = environment | {"TF_CONFIG": json.dumps(place), "LOCAL_RANK": str(local_rank)}
        children.append(processes.start([sys.executable, *process], own))
    return processes.wait_for_all(children)


def paddle(process, environment, layout, config):
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
    if layout.nodes > 1:
        launcher.append(f"--master={layout.host}:{layout.port}")
    if config.device == "cpu":  # of a build for GPUs too
        environment["PADDLE_DISTRI_BACKEND"] = "gloo"
    os.makedirs(log_dir, exist_ok=True)
    with open(os.path.join(log_dir, "launcher.log"), "w") as log:
        child = processes.start(
            [sys.executable, *launcher, sys.executable, *process],
            environment | {"PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=log,
        )
    failed = processes.wait_for_all([child])
    told_why = False
    for path in sorted(glob.glob(os.path.join(glob.escape(log_dir), "workerlog.*"))):
        with open(path, errors="replace") as opened:
            for line in opened:
                if line.startswith("RESULT,"):
                    print(line, end="")
                elif line.startswith("error: ") and not told_why:
                    tell(line.removeprefix("error: ").rstrip("\n"))
                    told_why = True
    if failed not in (0, ABORTED):
        if not told_why:
            tell(f"a process failed; {log_dir} holds what each one said.")
        return 1
    return failed


if __name__ == "__main__":
    sys.exit(told(lambda: launch(sys.argv[1:]), main.ADVICE))
