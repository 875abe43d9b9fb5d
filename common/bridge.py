"""Kernels' times as a report shows them: a roofline, and the bridge from kernels to a whole step.

Who times kernels writes kernels.json, one object for each framework, precision and machine:

    framework   pytorch, tensorflow or paddlepaddle
    precision   of the arithmetic, as fp32
    device      cpu, cuda, ...
    versions, system, commit, load
                as in a run's result.json
    roof        {"flops_per_second", "bytes_per_second"}: the machine's own, measured in the same
                run by a large product of matrices and by a triad over large arrays
    kernels     [{"suite", "kind", "problem", "direction", "count", "seconds", "flops", "bytes"}]
    steps       [{"suite", "batch", "seconds"}]

Of a kernel: suite, an application or another list of problems, as deepbench; kind, as gemm;
problem, its sizes in words; direction, as forward; count, how often one step of that application
runs it, 0 where no step does; seconds, the median of one run, null where the framework has no such
kernel or its values were wrong, and then "reason" says why; flops, those that it needs, and bytes,
those that it reads and writes at the least: 0 where that has no meaning.
Of a step: suite, the application; batch, in words, what the kernels' sizes are of; seconds, the
median of one training step.  Further keys are free.
"""

from common.errors import is_finite

TEXTS = ("suite", "kind", "problem", "direction")
MAX_KERNELS = 5000  # shown of one file
MAX_STEPS = 200
MAX_PARTS = 7       # kinds with a colour of their own; the others are put together
OTHER, OUTSIDE = "other kernels", "outside its kernels"


def fault(content):
    """What kernels.json lacks, or holds that is none of it; None of a good one."""
    if not isinstance(content, dict):
        return "the object"
    for name in ("framework", "precision", "device"):
        if not isinstance(content.get(name), str):
            return name
    roof = content.get("roof")
    if not isinstance(roof, dict) or not all(
        _above_zero(roof.get(name)) for name in ("flops_per_second", "bytes_per_second")
    ):
        return "roof"
    lists = {"kernels": _odd_kernel, "steps": _odd_step}
    for name, odd in lists.items():
        entries = content.get(name)
        if not isinstance(entries, list) or any(map(odd, entries)):
            return name
    for name, most in (("kernels", MAX_KERNELS), ("steps", MAX_STEPS)):
        if len(content[name]) > most:
            return f"{name}, more than {most:,},"
    return None


def _above_zero(value):
    return is_finite(value) and 1e-30 < value < 1e30  # of quotients too


def _odd_kernel(one):
    return not (
        isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in TEXTS)
        and (one.get("seconds") is None or _above_zero(one["seconds"]))
        and all(one.get(name) == 0 or _above_zero(one.get(name))
                for name in ("count", "flops", "bytes"))
    )


def _odd_step(one):
    return not (isinstance(one, dict) and isinstance(one.get("suite"), str)
                and isinstance(one.get("batch"), str) and _above_zero(one.get("seconds")))


def roof_at(roof, intensity):
    """FLOP per second that a machine can reach at an intensity, FLOP per byte."""
    return min(roof["flops_per_second"], intensity * roof["bytes_per_second"])


def points(content):
    """[kernel with intensity, speed and share] of what was timed and has all its numbers.

    speed: FLOP per second.  share: of its roof.
    """
    found = []
    for one in content["kernels"]:
        if one["seconds"] is not None and one["flops"] and one["bytes"]:
            intensity, speed = one["flops"] / one["bytes"], one["flops"] / one["seconds"]
            share = speed / roof_at(content["roof"], intensity)
            found.append(one | {"intensity": intensity, "speed": speed, "share": share})
    return found


def roof_line(content):
    """[{intensity, speed}]: the roof over all kernels, from the left to the right."""
    roof = content["roof"]
    ridge = roof["flops_per_second"] / roof["bytes_per_second"]
    found = [one["intensity"] for one in points(content)]
    ends = [min([ridge, *found]) / 2, ridge, max([ridge, *found]) * 2]
    return [{"intensity": x, "speed": roof_at(roof, x)} for x in ends]


def steps(content):
    """[(step, {kind: seconds}, missing)]: what the kernels of each step take, the longest first.

    missing: how many of its kernels have no time.
    """
    found = []
    for step in content["steps"]:
        kinds, missing = {}, 0
        for one in content["kernels"]:
            if one["suite"] == step["suite"] and one["count"]:
                if one["seconds"] is None:
                    missing += 1
                else:
                    seconds = one["seconds"] * one["count"]
                    kinds[one["kind"]] = kinds.get(one["kind"], 0.0) + seconds
        ordered = dict(sorted(kinds.items(), key=lambda entry: -entry[1]))
        found.append((step, ordered, missing))
    return found


def shares(found):
    """(parts, [{row, part, order, share, seconds}]) of `steps`: a bar for each, the largest first.

    Where the kernels take longer than the step, nothing is outside them.
    """
    totals = {}
    for step, kinds, _ in found:
        for kind, seconds in kinds.items():
            totals[kind] = totals.get(kind, 0.0) + seconds / step["seconds"]
    large = sorted(totals, key=totals.get, reverse=True)[:MAX_PARTS - 1]
    bars = []
    for step, kinds, _ in found:
        own = {kind: kinds.get(kind, 0.0) for kind in large}
        own[OTHER] = sum(seconds for kind, seconds in kinds.items() if kind not in large)
        own[OUTSIDE] = max(0.0, step["seconds"] - sum(kinds.values()))
        bars += [{"row": step["suite"], "part": part, "order": order, "seconds": seconds,
                  "share": seconds / step["seconds"]}
                 for order, (part, seconds) in enumerate(own.items())]
    used = {bar["part"] for bar in bars if bar["seconds"]}
    return [part for part in [*large, OTHER, OUTSIDE] if part in used], [
        bar for bar in bars if bar["part"] in used]
