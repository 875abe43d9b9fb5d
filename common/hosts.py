"""Several hosts meet before their launchers start, and learn of each other's end.

Host 0 listens at --master; the others knock there until it opens.  Once all have come, the port is
free again: the framework's launcher takes it.  The connections stay, and say how each host ends:
what a framework does when its peers are gone is to wait for ever, or to end with pages of its own.
A message is a line of JSON:

    a host to host 0     {"node_rank": R, "flags": {name: value}}
    host 0 to a host     {"start": true} or {"refused": why}
    both                 {"end": ""}, or {"end": what went wrong}
"""

import contextlib
import errno
import itertools
import json
import select
import socket
import sys
import time

from common.errors import UserError, printable

MOST = 1 << 16       # bytes of a message
PATIENCE = 5.0       # seconds for an answer
MANNERS = 1.0        # seconds for whoever knocks to say who it is: nobody else is let in meanwhile
ADVICE = "Go on with --resume and the same --output_dir, on each host."


class Hosts:
    """The hosts of a run, met.

        with Hosts(layout, flags) as hosts:   # waits
            ...                               # hosts.check() now and then
            hosts.end()

    address: this host's own, as the others reach it.  first: that of host 0, as this one does.
    """

    def __init__(self, layout, flags, family=socket.AF_UNSPEC):
        """Waits for all.  Raises UserError after layout.wait_seconds.

        flags: {name: value} of what all must have alike.  family: AF_INET for IPv4 alone.
        """
        self.layout = layout
        self.flags = json.loads(json.dumps(flags))  # as they arrive: lists, no tuples
        self.master = joined(layout.host, layout.port)
        self.deadline = time.monotonic() + layout.wait_seconds
        self.connections = {}                       # {node_rank: socket}
        self.over = False
        try:
            found = socket.getaddrinfo(layout.host, layout.port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            kind = "IPv4 address" if family == socket.AF_INET else "address"
            raise UserError(f"--master={self.master}: no {kind} of that host is known here."
                            ) from None  # fmt: skip
        try:
            whom = "the others" if layout.node_rank == 0 else "host 0"
            line = (f"host {layout.node_rank} of {layout.nodes} waits for {whom} at {self.master}, "
                    f"{layout.wait_seconds} s at most\n")
            print(line, end="", file=sys.stderr, flush=True)
            if layout.node_rank == 0:
                self._gather()
            else:
                self._knock([address for *_, address in found])
        except BaseException:
            self._close()
            raise
        connection = next(iter(self.connections.values()))
        self.address = connection.getsockname()[0].removeprefix("::ffff:")
        self.first = self.address if layout.node_rank == 0 else connection.getpeername()[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if not self.over:
            why = "it was interrupted." if kind is KeyboardInterrupt else error
            self.end(f"host {self.layout.node_rank} has ended: {why}")

    def check(self):
        """Raises UserError where another host has ended with a fault, or is gone."""
        readable, _, _ = select.select([*self.connections.values()], [], [], 0)
        for rank, connection in list(self.connections.items()):
            if connection not in readable:
                continue
            end = receive(connection).get("end")
            if end != "":
                raise UserError(printable(end or f"host {rank} is gone. {ADVICE}"))
            connection.close()
            del self.connections[rank]

    def end(self, why=""):
        """Tells the others that this host has ended: well, or what went wrong."""
        self.over = True
        for connection in self.connections.values():
            with contextlib.suppress(OSError):
                send(connection, {"end": why})
        self._close()

    def _close(self):
        for connection in self.connections.values():
            connection.close()

    def _left(self, fault):
        """Seconds until the deadline.  Raises UserError after it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise UserError(f"waited {self.layout.wait_seconds} s at {self.master}: {fault}. Start "
                            "each host with the same flags but --node_rank, or set "
                            "--wait_seconds.")  # fmt: skip
        return left

    def _gather(self):
        """Host 0: lets the others in until all are there."""
        missing = set(range(1, self.layout.nodes))
        with listening(self.layout.port) as door:
            while missing := missing - self.connections.keys():
                shown = ", ".join(map(str, sorted(missing)[:9])) + ", ..." * (len(missing) > 9)
                left = self._left(f"without host {shown}")
                ready, _, _ = select.select([door, *self.connections.values()], [], [],
                                            min(left, 1.0))  # fmt: skip
                for rank, connection in list(self.connections.items()):
                    if connection in ready:  # nothing is to be said yet: it has gone
                        connection.close()
                        del self.connections[rank]
                        missing.add(rank)
                if door in ready:
                    with contextlib.suppress(OSError):
                        self._let_in(door.accept()[0], missing)
        for connection in self.connections.values():
            with contextlib.suppress(OSError):  # `check` will tell
                send(connection, {"start": True})

    def _let_in(self, connection, missing):
        """Keeps the connection if it is a missing host's; else says why not, where it can hear."""
        keep_alive(connection)
        said = receive(connection, MANNERS)
        rank, flags = said.get("node_rank"), said.get("flags")
        if type(rank) is not int or not isinstance(flags, dict):
            connection.close()  # a stranger
            return
        odd = [n for n, value in self.flags.items() if flags.get(n) != value]
        if odd:
            why = f"{odd[0]} is {flags.get(odd[0])!r} here and {self.flags[odd[0]]!r} on host 0"
        elif rank not in missing:
            why = f"--node_rank={rank} is there already, or is none of {self.layout.nodes} hosts"
        else:
            self.connections[rank] = connection
            return
        send(connection, {"refused": why})
        connection.close()

    def _knock(self, addresses):
        """Another host: comes to host 0, at one of its addresses, and waits until it says start."""
        fault = "host 0 does not answer"
        for address in itertools.cycle(addresses):
            left = self._left(fault)
            try:
                connection = socket.create_connection(address[:2], min(left, PATIENCE))
            except OSError as error:
                fault = f"host 0 does not answer ({error.strerror or error})"
                time.sleep(min(0.2, left))
                continue
            if connection.getsockname() == connection.getpeername():  # it has met itself
                connection.close()
                continue
            self.connections = {0: connection}
            keep_alive(connection)
            with contextlib.suppress(OSError):
                send(connection, {"node_rank": self.layout.node_rank, "flags": self.flags})
            while not select.select([connection], [], [], min(1.0, left))[0]:
                left = self._left("host 0 waits for others still")
            said = receive(connection)
            if said.get("start"):
                return
            connection.close()
            if "refused" in said:
                raise UserError(f"--master={self.master}: {printable(said['refused'])}.")
            fault = "host 0 went before all had come, or something else answers there"
            time.sleep(min(0.2, left))


def joined(host, port):
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening(port):
    """A socket that listens at a port on all of this host's addresses.  Raises UserError."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        used = error.errno == errno.EADDRINUSE
        raise UserError(f"port {port}: {'is in use on this host' if used else error.strerror}. "
                        "Choose another.") from None  # fmt: skip


def keep_alive(connection):
    """Has the kernel find out, in two minutes or so, that the other end lost its power or line."""
    connection.settimeout(PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def send(connection, message):
    """Sends a dictionary.  Raises OSError."""
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection, seconds=PATIENCE):
    """The dictionary that the other end sends; {} where it is gone, or says something else."""
    text, until = b"", time.monotonic() + seconds
    message = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        while not text.endswith(b"\n") and len(text) < MOST and time.monotonic() < until:
            connection.settimeout(max(until - time.monotonic(), 1e-3))
            more = connection.recv(1)  # no byte of the message that follows
            if not more:
                break
            text += more
        message = json.loads(text)
    with contextlib.suppress(OSError):
        connection.settimeout(PATIENCE)
    return message if isinstance(message, dict) else {}
