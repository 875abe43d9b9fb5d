"""Starts the processes of a run through the framework's own launcher: launch.py APP FRAMEWORK ...

    --processes=N                                          N processes on this host
    --nodes=M --node_rank=R --master=HOST:PORT --seed=S    on each of M hosts; R from 0
"""

import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time

from common import options
from common.errors import UserError
from common.main import FRAMEWORKS, load_config
from common.run import claim_folder

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = "common.main"  # what each process runs


def main(argv):
    """Starts a run.  Returns its exit code; does not return where one process is enough."""
    try:
        if len(argv) < 2 or argv[1] not in FRAMEWORKS:
            raise UserError(f"usage: launch.sh APPLICATION {{{','.join(FRAMEWORKS)}}} [flags]")
        layout = parse_layout(argv[2:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    command = ["-m", PROGRAM, *argv]
    environment = os.environ.copy()
    processes, nodes = layout["processes"], layout["nodes"]
    if processes * nodes == 1:
        os.execve(sys.executable, [sys.executable, *command], environment)
    try:
        # A fault of the user is told here, once, rather than by each process in its own way.
        config = load_config(argv[0], argv[1], argv[2:])
        if not config.resume and layout["node_rank"] == 0:
            claim_folder(config.output_dir)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    # The processes of a host share its cores.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // processes)))
    if layout["seed"] is None:
        command.append(f"--seed={config.seed}")
    layout["output_dir"] = config.output_dir
    start = {"pytorch": torchrun, "tensorflow": tensorflow, "paddlepaddle": paddle}[argv[1]]
    return start(command, environment, layout)


def parse_layout(argv):
    """{processes, nodes, node_rank, host, port, ...} of the command line.  Raises UserError."""
    values = options.parse_flags(argv)
    layout = {
        "processes": values.processes or 1,
        "nodes": values.nodes or 1,
        "node_rank": values.node_rank or 0,
        "seed": values.seed,
        "device": values.device or "cpu",
        "output_dir": values.output_dir,
    }
    if layout["processes"] * layout["nodes"] > 1 and values.resume:
        # Every process reads the seed from the checkpoint.
        layout["seed"] = "resumed"
    if layout["nodes"] == 1:
        return layout | {"host": "127.0.0.1", "port": free_port()}
    if not values.master or not values.master.rpartition(":")[2].isdigit():
        raise UserError("--nodes: name the first host with --master=HOST:PORT.")
    if layout["node_rank"] >= layout["nodes"]:
        raise UserError(f"--node_rank={layout['node_rank']}: expected 0 to {layout['nodes'] - 1}.")
    if layout["seed"] is None:
        raise UserError("--nodes: give every host the same --seed.")
    if not values.output_dir:
        raise UserError("--nodes: give every host the same --output_dir, on a shared disk.")
    host, _, port = values.master.rpartition(":")
    return layout | {"host": host, "port": int(port)}


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


def torchrun(command, environment, layout):
    """PyTorch: torchrun gives each process its rank and restarts none."""
    launcher = [
        "-c", TORCHRUN,
        f"--nnodes={layout['nodes']}",
        f"--nproc_per_node={layout['processes']}",
        f"--node_rank={layout['node_rank']}",
        f"--master_addr={layout['host']}",
        f"--master_port={layout['port']}",
    ]  # fmt: skip
    os.execve(sys.executable, [sys.executable, *launcher, *command], environment)


def paddle(command, environment, layout):
    """PaddlePaddle: its launcher keeps each process's output in a file of log_dir, workerlog.RANK.

    It knows no exit code but 0 and 1, so an aborted run ends with 0 there and is told from its
    result here.  What it says itself goes to launcher.log, beside those files, of which the user
    is shown the result and the errors.
    """
    start = f"{time.strftime('%Y%m%dT%H%M%S')}-{layout['node_rank']}"
    log_dir = os.path.join(layout["output_dir"], "processes", start)
    launcher = [
        "-m", "paddle.distributed.launch",
        f"--nnodes={layout['nodes']}",
        f"--nproc_per_node={layout['processes']}",
        f"--rank={layout['node_rank']}",
        f"--log_dir={log_dir}",
    ]  # fmt: skip
    if layout["nodes"] > 1:
        launcher.append(f"--master={layout['host']}:{layout['port']}")
    if layout["device"] == "cpu":
        launcher.append("--backend=gloo")
    script = os.path.join(ROOT, *PROGRAM.split(".")) + ".py"  # it knows no -m
    os.makedirs(log_dir, exist_ok=True)
    with open(os.path.join(log_dir, "launcher.log"), "w") as log:
        child = subprocess.Popen(
            [sys.executable, *launcher, script, *command[2:]],
            env=environment | {"EXIT_CODE_OF_ABORTED": "0"},
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
    with open(os.path.join(layout["output_dir"], "result.json")) as opened:
        return 0 if json.load(opened)["status"] == "success" else 2


def tensorflow(command, environment, layout):
    """TensorFlow has no launcher: each process finds its place in TF_CONFIG.

    Worker R of host H listens on the master's port + R; with several hosts, TF_HOSTS names them.
    """
    hosts = [layout["host"]]
    if layout["nodes"] > 1:
        hosts = environment.get("TF_HOSTS", "").split(",")
        if len(hosts) != layout["nodes"]:
            print(f"error: TF_HOSTS: expected {layout['nodes']} hosts, by commas.", file=sys.stderr)
            return 1
    if layout["nodes"] == 1:
        workers = [f"127.0.0.1:{free_port()}" for _ in range(layout["processes"])]
    else:
        ports = range(layout["port"], layout["port"] + layout["processes"])
        workers = [f"{host}:{port}" for host in hosts for port in ports]
    children = []
    for local_rank in range(layout["processes"]):
        index = layout["node_rank"] * layout["processes"] + local_rank
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        own = environment | {"TF_CONFIG": json.dumps(place), "LOCAL_RANK": str(local_rank)}
        children.append(subprocess.Popen([sys.executable, *command], env=own))
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
    sys.exit(main(sys.argv[1:]))
