"""Holds one implementation's dumps against the reference's, tensor by tensor, in forward order."""

from dataclasses import dataclass

import numpy as np

from common.errors import printable
from common.parity import inputs


@dataclass(frozen=True)
class Row:
    """One tensor's verdict.  reason: why it cannot be compared, or a hint; else empty."""

    dump: str
    name: str
    difference: float
    tolerance: float
    reason: str = ""

    @property
    def beyond(self):
        """Whether the difference is beyond the tolerance; a NaN is."""
        return not self.difference <= self.tolerance


def difference(expected, found):
    """Norm of the difference over the norm of what was expected; inf where one cannot say.

    The norm, not the largest element: where a sum next to zero rounds to the other side, a ReLU
    lets one element through or not, and that one element says nothing of the tensor.
    """
    if expected.shape != found.shape:
        return np.inf
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.linalg.norm((expected - found).ravel())
        scale = np.linalg.norm(expected.ravel())
    if not np.isfinite(gap) or not np.isfinite(scale):
        return np.inf
    return float(gap / scale) if scale else float(gap)


def row(dump, name, expected, found, tolerance):
    """The Row of one tensor.  found: None where it is missing."""
    if found is None:
        return Row(dump, name, np.inf, tolerance, "missing")
    gap = difference(expected, found)
    if gap <= tolerance:
        return Row(dump, name, gap, tolerance)
    reasons = []
    if expected.shape != found.shape:
        reasons.append(f"shape {list(found.shape)}, expected {list(expected.shape)}")
    odd = np.argwhere(~np.isfinite(found))
    if len(odd):
        reasons.append(f"{len(odd):,} elements are not finite, the first at {odd[0].tolist()}")
    if expected.ndim == 2 and difference(expected, found.T) <= tolerance:
        reasons.append("agrees if transposed")
    if (found.dtype.kind, found.dtype.itemsize) != (expected.dtype.kind, expected.dtype.itemsize):
        reasons.append(f"dtype {found.dtype}, expected {expected.dtype}")
    return Row(dump, name, gap, tolerance, "; ".join(reasons))


def rows(facts, folder, reference, other):
    """Yields a Row for each tensor, in forward order.  Raises UserError."""
    config = inputs.read_config(facts, folder)
    tolerances = facts.tolerances[config.precision]
    for dump, names in inputs.wanted(facts, config, inputs.dumps(folder)).items():
        expected = inputs.load(inputs.output_path(folder, reference, dump))
        found = inputs.load(inputs.output_path(folder, other, dump))
        for name in names:
            tolerance = tolerances[inputs.group(name)]
            yield row(dump, name, expected[name], found.get(name), tolerance)


def odd_tensors(facts, folder, other):
    """["dump tensor"] that an implementation wrote and nobody asked for.  Raises UserError."""
    found = []
    wanted = inputs.wanted(facts, inputs.read_config(facts, folder), inputs.dumps(folder))
    for dump, names in wanted.items():
        written = inputs.header(inputs.output_path(folder, other, dump))
        found += [f"{dump} {name}" for name in sorted(written.keys() - names.keys())]
    return found


def report(facts, folder, reference):
    """Prints a table of the largest differences of each recorded implementation; names the first
    tensor beyond.  Returns whether all agree.
    """
    config = inputs.read_config(facts, folder)
    agreed = True
    for other in inputs.recorded(folder):
        if other == reference:
            continue
        found = list(rows(facts, folder, reference, other))
        print(f"\n{printable(other)} against {reference}, {config.profile}, {config.precision}")
        print(f"  {'dump':<10} {'tensors':<13} {'count':>5} {'tolerance':>9} {'largest':>9}  worst")
        parts = {}
        for one in found:
            parts.setdefault((one.dump, inputs.group(one.name)), []).append(one)
        for (dump, group), part in parts.items():
            worst = max(part, key=lambda one: one.difference)
            mark = "  BEYOND" if worst.beyond else ""
            print(f"  {dump:<10} {group:<13} {len(part):>5} {worst.tolerance:>9.0e} "
                  f"{worst.difference:>9.1e}  {worst.name.partition('/')[2] or group}{mark}")
        for text in odd_tensors(facts, folder, other):
            print(f"  not asked for: {printable(text)}")
        beyond = next((one for one in found if one.beyond), None)
        if beyond:
            reason = f" ({beyond.reason})" * bool(beyond.reason)
            print(f"  DIFFERS first at {beyond.dump} {beyond.name}: {beyond.difference:.1e}, "
                  f"tolerance {beyond.tolerance:.0e}{reason}")
        else:
            print("  AGREES")
        agreed = agreed and not beyond
    return agreed
