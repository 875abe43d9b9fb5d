"""One kernel: its values are checked, then it is timed.  And the roof that it is held against."""

import math
import os
import re
from dataclasses import dataclass

import numpy as np

from common import timing
from common.errors import UserError, printable
from common.kernels import FORWARD, Gemm
from kernels import lists, values

# Of the root mean square of an array: of right kernels the largest numbers have gone astray by
# rounding this far at the most, in sums of up to 500,000; of wrong ones most have by 1 and more.
TOLERANCES = {"fp32": 2e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 2e-1}
ITEMS = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}  # bytes of a number
ROW_SECONDS = 2.0        # for a row's samples where no budget says otherwise
ROOF_SECONDS = 2.0       # for each of the two of the roof, unless a budget is short
ROOF_GEMM = {"cpu": 2048, "cuda": 8192}
TRIAD = {"cpu": 2**25, "cuda": 2**28}  # numbers of an array: no cache holds two of them
CHANGED = ("c", "weights", "first", "second", "gradients")  # in place: numpy keeps its own
WRONG = "wrong values"


@dataclass(frozen=True)
class Setting:
    """How a run measures."""

    operations: object   # the framework's module
    framework: object    # its adapter
    device: str
    precision: str
    cold: bool = False


def roof(setting, budget=None):
    """{"flops_per_second", "bytes_per_second"}: the fastest large product, the fastest triad.

    The triad is a = a + b: a third array would be read before it is written, which nobody counts,
    and a factor is a second pass in some frameworks.
    """
    seconds = min(ROOF_SECONDS, budget / 20) if budget else ROOF_SECONDS
    size, numbers = ROOF_GEMM[setting.device], TRIAD[setting.device]
    problem = Gemm(size, size, size)
    arrays = values.inputs(problem, FORWARD)
    tensors = setting.operations.put(arrays, setting.precision)
    run = setting.operations.make(problem, FORWARD, tensors, True)
    product = timing.sample(run, seconds, finish=setting.framework.synchronize)
    triad = timing.sample(setting.operations.triad(numbers), seconds,
                          finish=setting.framework.synchronize)
    return {"flops_per_second": problem.flops(FORWARD) / float(product.seconds.min()),
            "bytes_per_second": 3 * 4 * numbers / float(triad.seconds.min()),
            "gemm": size, "triad": numbers}


def estimate(row, roof, item):
    """Seconds that a row takes at the least, its check included: four runs and its inputs.

    A third of the roof is what most kernels reach; numpy draws a hundred million numbers a second.
    """
    flops, moved = (row.problem.flops(row.direction), row.problem.bytes(row.direction, item))
    once = max(flops / roof["flops_per_second"], moved / roof["bytes_per_second"])
    return 12.0 * once + 1e-8 * moved / item + 0.01


def measure(row, setting, budget):
    """{"seconds", ...} of a row, or {"seconds": None, "reason": text}."""
    reason = setting.operations.missing(row.problem, row.direction, setting.precision)
    reason = reason or too_large(row)
    if reason:
        return {"seconds": None, "reason": reason}
    try:
        found = _measure(row, setting, budget)
    except (UserError, AttributeError, KeyError, NameError):
        raise
    except Exception as error:
        # What frameworks raise has no common class.  The row has their own words: what they cannot
        # do in this precision or on this device.
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        return {"seconds": None, "reason": printable(first)[:200]}
    return found


def _measure(row, setting, budget):
    problem, direction = row.problem, row.direction
    by_channels = row.suite == lists.DEEPBENCH  # DeepBench's pictures lie so, the applications' not
    arrays = values.inputs(problem, direction)
    difference, run = check(problem, direction, arrays, setting, by_channels)
    if not difference <= TOLERANCES[setting.precision]:
        return {"seconds": None, "gap": difference if math.isfinite(difference) else None,
                "reason": f"{WRONG}: numpy's differ by {difference:.2g} of their size"}
    if run is None:
        tensors = setting.operations.put(arrays, setting.precision)
        run = setting.operations.make(problem, direction, tensors, by_channels)
    del arrays
    empty = setting.operations.triad(TRIAD[setting.device]) if setting.cold else None
    measured = timing.sample(run, budget, between=empty, finish=setting.framework.synchronize)
    return {"seconds": measured.median(), "interval": measured.interval(),
            "narrow": measured.narrow, "repeats": measured.repeats, "gap": difference,
            "samples": measured.seconds.tolist()}


def check(problem, direction, arrays, setting, by_channels):
    """(gap, run): how far the values of one run are off numpy's, of a part that numpy computes.

    run: to go on with; None where the check had a problem or inputs of its own.
    """
    checked, given = values.checked(problem), values.check_inputs(problem, direction, arrays)
    own = {n: [one.copy() for one in array] if isinstance(array, list) else array.copy()
           if n in CHANGED else array for n, array in given.items()}
    tensors = setting.operations.put(own, setting.precision)
    if setting.precision in ("bf16", "fp16"):  # numpy computes with the rounded numbers
        given = {n: setting.framework.get(tensor) for n, tensor in tensors.items()}
        given = {n: array.astype(np.float32) if array.dtype == np.float16 else array.copy()
                 for n, array in given.items()}
    run = setting.operations.make(checked, direction, tensors, by_channels)
    found = setting.operations.read(problem, run())
    small, own, pick = values.part(checked, direction, values.drawn(given, found))
    difference = values.gap(pick(values.without_draws(found)),
                            values.values(small, direction, own))
    same = checked is problem and (given is arrays or setting.precision in ("bf16", "fp16"))
    return difference, run if same and problem.kind != "recurrent" else None


def too_large(row):
    """Why a row's steps do not fit in memory; None where they do.

    What is made of steps, as DeepBench's recurrent layers are, keeps some ten arrays of each for
    the way back.
    """
    problem = row.problem
    if problem.kind != "recurrent" or problem.projects or row.direction == FORWARD:
        return None
    needed = 4 * 14 * problem.steps * problem.batch * problem.hidden / 2**30
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 2**30
    if needed < 0.8 * there:
        return None
    return f"needs about {needed:.0f} GiB of memory, {there:.0f} are free"


def megahertz():
    """The fastest core's clock at this moment; None where the system does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as opened:
            found = re.findall(r"cpu MHz\s*:\s*([\d.]+)", opened.read())
    except OSError:
        return None
    return max(map(float, found)) if found else None
