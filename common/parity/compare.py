"""Holds one implementation's dumps against the reference's, tensor by tensor, in forward order."""

from dataclasses import dataclass

import numpy as np

from common.errors import UserError, printable
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
    def group(self):
        """activation, loss, gradient, ..."""
        return self.name.partition("/")[0]

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
    expected, found = inputs.scalars(expected), inputs.scalars(found)
    with np.errstate(invalid="ignore"):  # inf - inf
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
    reason = ""
    if expected.shape != found.shape:
        reason = f"shape {list(found.shape)}, expected {list(expected.shape)}"
    elif not np.isfinite(inputs.scalars(found)).all():
        places = np.argwhere(~np.isfinite(inputs.scalars(found)))
        reason = f"{len(places):,} elements are not finite, the first at {places[0].tolist()}"
    if expected.ndim == 2 and difference(expected, found.T) <= tolerance:
        reason = f"{reason}; " * bool(reason) + "agrees if transposed"
    if not reason and found.dtype.kind != expected.dtype.kind:
        reason = f"dtype {found.dtype}, expected {expected.dtype}"
    return Row(dump, name, gap, tolerance, reason)


def compare(facts, config, precision, folder, reference, other):
    """([Row] in forward order, [tensor that nobody asked for]).  Raises UserError."""
    if precision not in facts.tolerances:
        raise UserError(f"--precision={precision}: {facts.application} states no tolerances for "
                        f"it, but for {', '.join(facts.tolerances)}.")
    tolerances = facts.tolerances[precision]
    rows, odd = [], []
    for dump in inputs.dumps(folder):
        expected = inputs.load(inputs.output_path(folder, reference, dump))
        found = inputs.load(inputs.output_path(folder, other, dump))
        for name in inputs.forward_order(facts, config):
            if name in expected:  # not every dump holds everything
                group = name.partition("/")[0]
                rows.append(row(dump, name, expected[name], found.get(name), tolerances[group]))
        odd += [f"{dump} {name}" for name in sorted(found.keys() - expected.keys())]
    return rows, odd


def report(facts, config, precision, folder, reference, others):
    """Prints a table of the largest differences; names the first beyond.  Returns all agree."""
    agreed = True
    for other in others:
        rows, odd = compare(facts, config, precision, folder, reference, other)
        print(f"\n{other} against {reference}, {config.profile}, {precision}")
        print(f"  {'dump':<10} {'tensors':<13} {'count':>5} {'tolerance':>9} {'largest':>9}  worst")
        for dump in inputs.dumps(folder):
            groups = dict.fromkeys(row.group for row in rows if row.dump == dump)
            for group in groups:
                part = [row for row in rows if row.dump == dump and row.group == group]
                worst = max(part, key=lambda row: row.difference)
                mark = "  BEYOND" if worst.beyond else ""
                print(f"  {dump:<10} {group:<13} {len(part):>5} {worst.tolerance:>9.0e} "
                      f"{worst.difference:>9.1e}  {worst.name.partition('/')[2] or group}{mark}")
        for name in odd:
            print(f"  not asked for: {printable(name)}")
        beyond = next((row for row in rows if row.beyond), None)
        if beyond:
            agreed = False
            reason = f" ({beyond.reason})" * bool(beyond.reason)
            print(f"  DIFFERS first at {beyond.dump} {beyond.name}: {beyond.difference:.1e}, "
                  f"tolerance {beyond.tolerance:.0e}{reason}")
        else:
            print("  AGREES")
    return agreed
