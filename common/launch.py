"""Starts the processes of a run through the framework's own launcher: launch.py APP FRAMEWORK ...

    --processes=N                                          N processes on this host
    --nodes=M --node_rank=R --master=HOST:PORT --seed=S    on each of M hosts; R from 0
"""

import glob
import importlib
import json
import os
import signal
import socket
import subprocess
import sys

from common import command, main, run_folder
from common.errors import UserError, told

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
USAGE = "usage: launch.sh APPLICATION FRAMEWORK [flags]"


def launch(arguments, program="common.main"):
    """Starts a run.  Returns its exit code.  Raises UserError.

    program: the module that each process runs, with `run(config)` and a command line of its own.
    """
    asked = command.parse(arguments, USAGE)
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
    return start[config.framework](process, environment, asked.layout, config)


def free_port():
    """A port of this host that nobody listens on now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


# torchrun itself would show a traceback of its own where a process ends with anything but 0.
TORCHRUN = """
import logging
import sys
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
logging.disable(logging.ERROR)  # of the launcher; the processes say what it is
try:
    run.main(sys.argv[1:])
except ChildFailedError as error:
    sys.exit(error.get_first_failure()[1].exitcode)
"""


def torchrun(process, environment, layout, config):
    """PyTorch: torchrun gives each process its rank and restarts none."""
    launcher = [
        "-c", TORCHRUN,
        f"--nnodes={layout.nodes}",
        f"--nproc_per_node={layout.processes}",
        f"--node_rank={layout.node_rank}",
        f"--master_addr={layout.host}",
        f"--master_port={layout.port or free_port()}",
    ]  # fmt: skip
    os.execve(sys.executable, [sys.executable, *launcher, *process], environment)


def paddle(process, environment, layout, config):
    """PaddlePaddle: its launcher keeps each process's output in a file of log_dir, workerlog.RANK.

    It knows no exit code but 0 and 1, so an aborted run ends with 0 there and is told from its
    result here.  What it says itself goes to launcher.log, beside those files, of which the user
    is shown the result and the errors.
    """
    log_dir = run_folder.processes_folder(config.output_dir, layout.node_rank)
    launcher = [
        "-m", "paddle.distributed.launch",
        f"--nnodes={layout.nodes}",
        f"--nproc_per_node={layout.processes}",
        f"--rank={layout.node_rank}",
        f"--log_dir={log_dir}",
    ]  # fmt: skip
    if layout.nodes > 1:
        launcher.append(f"--master={layout.host}:{layout.port}")
    if config.device == "cpu":
        launcher.append("--backend=gloo")
    module, arguments = process[1], process[2:]
    script = os.path.join(ROOT, *module.split(".")) + ".py"  # it knows no -m
    os.makedirs(log_dir, exist_ok=True)
    with open(os.path.join(log_dir, "launcher.log"), "w") as log:
        child = subprocess.Popen(
            [sys.executable, *launcher, script, *arguments],
            env=environment | {"EXIT_CODE_OF_ABORTED": "0"},  # common/main.py reads it
            stdout=log,
            stderr=log,
        )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    failed = wait_for_all([child])
    for path in sorted(glob.glob(os.path.join(log_dir, "workerlog.*"))):
        with open(path, errors="replace") as opened:
            for line in opened:
                if line.startswith("RESULT,"):
                    print(line, end="")
                elif line.startswith("error: "):
                    print(line, end="", file=sys.stderr)
    if failed:
        print(f"error: a process failed; {log_dir} holds what each one said.", file=sys.stderr)
        return 1
    return 0 if run_folder.read_result(config.output_dir)["status"] == "success" else 2


def tensorflow(process, environment, layout, config):
    """TensorFlow has no launcher: each process finds its place in TF_CONFIG.

    Worker R of host H listens on the master's port + R; with several hosts, TF_HOSTS names them.
    """
    if layout.nodes == 1:
        workers = [f"127.0.0.1:{free_port()}" for _ in range(layout.processes)]
    else:
        hosts = environment.get("TF_HOSTS", "").split(",")
        if len(hosts) != layout.nodes:
            raise UserError(f"TF_HOSTS: expected {layout.nodes} hosts, by commas.")
        ports = range(layout.port, layout.port + layout.processes)
        workers = [f"{host}:{port}" for host in hosts for port in ports]
    children = []
    for local_rank in range(layout.processes):
        index = layout.node_rank * layout.processes + local_rank
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        own = environment | {"TF_CONFIG": json.dumps(place), "LOCAL_RANK": str(local_rank)}
        children.append(subprocess.Popen([sys.executable, *process], env=own))
    signal.signal(signal.SIGTERM, lambda *_: [child.terminate() for child in children])
    return wait_for_all(children)


def wait_for_all(children):
    """The first exit code that is not 0; one process's end by a fault ends the others."""
    codes = {}
    while len(codes) < len(children):
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        child = next(child for child in children if child.pid == pid)
        child.returncode = code
        codes[pid] = code
        if code not in (0, 2):
            for other in children:
                if other.pid not in codes:
                    other.kill()
    return next((code for code in codes.values() if code), 0)


if __name__ == "__main__":
    sys.exit(told(lambda: launch(sys.argv[1:]), main.ADVICE))
