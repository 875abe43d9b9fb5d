"""The machine of a run: what it is, its caches, and what else it does meanwhile."""

import os
import platform
import socket

from common.errors import UserError

DROP_CACHES = "/proc/sys/vm/drop_caches"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
TICKS = os.sysconf("SC_CLK_TCK")


def system_description():
    """{processor, cores, memory_gib, operating_system, python} of this machine."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as opened:
            names = [line.partition(":")[2].strip() for line in opened if "model name" in line]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "operating_system": platform.platform(),
        "python": platform.python_version(),
    }


def host():
    """Text that the processes of one host share, and those of no other."""
    if os.path.exists(BOOT_ID):  # containers may have names of their own, or all the same
        with open(BOOT_ID) as opened:
            return opened.read().strip()
    return socket.gethostname()


def clear_caches():
    """Empties the system's caches of files.  Raises UserError where that is not permitted."""
    os.sync()
    try:
        with open(DROP_CACHES, "w") as opened:
            opened.write("3")
    except OSError as error:
        raise UserError(f"--clear_caches: {DROP_CACHES}: {error.strerror}. It needs root on the "
                        "host itself; without it the run is open, not closed.") from None


class Load:
    """How busy others keep the cores, from the start on."""

    def __init__(self):
        self.before = os.getloadavg()[0]     # processes that want to run, over the last minute
        self.busy = busy_seconds()
        self.started = os.times().elapsed

    def others(self, own_seconds):
        """The share of all cores that others used, 0 to 1.  own_seconds: of the run itself.

        None without /proc, and after less than a second: the kernel counts in hundredths.
        """
        elapsed = os.times().elapsed - self.started
        if self.busy is None or elapsed < 1.0:
            return None
        others = busy_seconds() - self.busy - own_seconds
        return min(1.0, max(0.0, others) / (elapsed * os.cpu_count()))


def busy_seconds():
    """CPU seconds of all processes since the machine started; None without /proc."""
    if not os.path.exists("/proc/stat"):
        return None
    with open("/proc/stat") as opened:
        user, nice, system, _, _, irq, softirq = map(int, opened.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def own_seconds():
    """CPU seconds of this process and all that descends from it, the ended ones included."""
    if not os.path.exists("/proc/self/stat"):
        return sum(os.times()[:4])
    parents, seconds = {}, {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat") as opened:
                    fields = opened.read().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            parents[int(name)] = int(fields[1])
            seconds[int(name)] = sum(map(int, fields[11:15])) / TICKS
    total = 0.0
    for pid in parents:
        ancestor = pid
        while ancestor not in (os.getpid(), 0, None):
            ancestor = parents.get(ancestor)
        total += seconds[pid] if ancestor == os.getpid() else 0.0
    return total
