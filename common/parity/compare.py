"""Holds one implementation's dumps against the reference's, tensor by tensor, in forward order,
and its optimizer's steps against their formula.
"""

from dataclasses import dataclass

import numpy as np

from common import benchmark
from common.errors import printable
from common.parity import inputs

# In bf16 a tensor may be as many times as far from the record in fp64 as the reference's own, and
# in any case as far as rounding it takes it.
TIMES, ROUNDED = 4.0, 2.0**-8
# There, of classes or sentences that the reference decides in bf16 as in fp64, the share that may
# be decided otherwise: of another framework's up to 0.4, for ties fall either way; by a fault all.
DECIDED = 0.75
# Of what a step or an evaluation decides, the share that may be decided otherwise: in fp64 nothing,
# else what a rounding may turn.
FLIPPED, FLIPPED_FP64 = 0.1, 1e-12
CLOSE = 0.1  # a tensor with a larger tolerance is named in the verdict
# Of a sum, and of an update, to what the optimizer's formula makes of the port's own gradients; the
# second in fp64.
FORMULA, FORMULA_FP64 = 1e-4, 1e-6
HELD = {"F16": np.float16, "F32": np.float32}
SILENT = np.errstate(all="ignore")  # what overflows is judged, and numpy need not speak of it
SCALE = "gradient_scale"  # the row that tells of the length of all gradients of a step


@dataclass(frozen=True)
class Row:
    """One tensor's verdict.  reason: why it cannot be compared, or a hint; of decisions, how many
    differ; else empty.
    """

    dump: str
    name: str
    difference: float
    tolerance: float
    reason: str = ""

    @property
    def beyond(self):
        """Whether the difference is beyond the tolerance; a NaN is."""
        return not self.difference <= self.tolerance


@SILENT
def difference(expected, found):
    """Norm of the difference over the norm of what was expected; inf where one cannot say.

    The norm, not the largest element: where a sum next to zero rounds to the other side, a ReLU
    lets one element through or not, and that one element says nothing of the tensor.
    """
    if expected.shape != found.shape:
        return np.inf
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    gap = np.linalg.norm((expected - found).ravel())
    scale = np.linalg.norm(expected.ravel())
    if not np.isfinite(gap) or not np.isfinite(scale):
        return np.inf
    return float(gap / scale) if scale else float(gap)


def share_apart(expected, found):
    """The share of examples, in the first axis, that differ; inf where one cannot say."""
    if expected.shape != found.shape:
        return np.inf
    return float(1.0 - same(expected, found).mean()) if len(expected) else 0.0


def same(one, other):
    """bool [B]: of two tensors of integers, which examples agree in all."""
    return (one == other).reshape(len(one), -1).all(axis=1)


def flips(expected, found):
    """How many decisions are others than expected, of how many.  int [B, ...], -1: none.

    Of a picture's places, which are all different, it tells which are missing or too many: the
    order is none of the decision.
    """
    count = total = 0
    for one, other in zip(expected.reshape(len(expected), -1), found.reshape(len(found), -1)):
        own = one[one >= 0]
        if len(np.unique(own)) == len(own):
            missing = len(np.setdiff1d(own, other))
            count += max(missing, (other >= 0).sum() - len(own) + missing)
            total += len(own)
        else:
            count += (one != other).sum()
            total += one.size
    return int(count), int(total)


def decision_row(dump, name, expected, found, tolerance):
    """The Row of what was decided: the share that is decided otherwise.  found: None: missing."""
    if found is None:
        return Row(dump, name, np.inf, tolerance, "missing")
    if expected.shape != found.shape or found.dtype.kind != "i":
        return row(dump, name, expected, found, -1.0)
    count, total = flips(expected, found)
    return Row(dump, name, count / max(total, 1), tolerance, f"{count:,} of {total:,}")


def row(dump, name, expected, found, tolerance, dtype=None, measure=difference):
    """The Row of one tensor.  found: None where it is missing.  dtype: None: as expected's."""
    if found is None:
        return Row(dump, name, np.inf, tolerance, "missing")
    gap = measure(expected, found)
    if gap <= tolerance:
        return Row(dump, name, gap, tolerance)
    dtype = np.dtype(dtype or expected.dtype)
    reasons = []
    if expected.shape != found.shape:
        reasons.append(f"shape {list(found.shape)}, expected {list(expected.shape)}")
    for whose, array in ("", found), (" of the reference", expected):
        odd = np.argwhere(~np.isfinite(array))
        if len(odd):
            reasons.append(f"{len(odd):,} elements{whose} are not finite, the first at "
                           f"{odd[0].tolist()}")
    if expected.ndim == 2 and difference(expected, found.T) <= tolerance:
        reasons.append("agrees if transposed")
    if (found.dtype.kind, found.dtype.itemsize) != (dtype.kind, dtype.itemsize):
        reasons.append(f"dtype {found.dtype}, expected {dtype}")
    return Row(dump, name, gap, tolerance, "; ".join(reasons))


def rows(facts, folder, reference, other):
    """Yields a Row for each tensor, in forward order.  Raises UserError.

    Behind a step's gradients one row tells of their length, and one of each sum and each trained
    parameter whether the optimizer made it from them.
    """
    config = inputs.read_config(facts, folder)
    for dump, allowed in tolerances(facts, folder, reference).items():
        pairs = dict(tensors(facts, config, folder, reference, other, dump))
        last = [name for name in pairs if inputs.group(name) == "gradient"][-1:]
        for name, (expected, found) in pairs.items():
            if inputs.decides(name):
                yield decision_row(dump, name, expected, found, allowed[name])
                continue
            any_type = config.precision == "bf16" and found is not None
            dtype = found.dtype if any_type else None
            measure = share_apart if decided(config, expected) else difference
            yield row(dump, name, expected, found, allowed[name], dtype, measure)
            if [name] == last:
                yield Row(dump, SCALE, gradient_scale(pairs), allowed[SCALE])
                for one, apart in scales(pairs).items():
                    if one in allowed:
                        yield Row(dump, one, apart, allowed[one])
                words = dtypes(folder, other, dump)
                yield from optimizer_rows(facts, config, folder, words, dump, pairs)


def tolerances(facts, folder, reference):
    """{dump: {tensor name or SCALE: largest difference}}.  Raises UserError.

    The application's, for each group; in bf16 by how far the reference itself is from its record in
    fp64, no number of ours but DECIDED.
    """
    config = inputs.read_config(facts, folder)
    asked = inputs.wanted(facts, config, inputs.dumps(folder))
    if config.precision != "bf16":
        own = facts.tolerances[config.precision]
        flipped = FLIPPED_FP64 if config.precision == "fp64" else FLIPPED
        return {dump: {name: flipped if inputs.decides(name) else own[inputs.group(name)]
                       for name in (*names, SCALE)}
                for dump, names in asked.items()}  # fmt: skip
    gaps = {}
    for dump in asked:
        pairs = dict(tensors(facts, config, folder, reference, reference, dump))
        gaps[dump] = {name: difference(*pair) for name, pair in pairs.items()}
        for name, (expected, _) in pairs.items():
            if decided(config, expected) or inputs.decides(name):
                gaps[dump][name] = DECIDED / TIMES if len(expected) else np.inf
        gaps[dump] |= scales(pairs) | {SCALE: gradient_scale(pairs)}
    # The farthest of all steps: by chance a tensor of one step may lie near.
    steps = [own for dump, own in gaps.items() if not dump.startswith("evaluation")]
    farthest = {name: max(own.get(name, 0.0) for own in steps) for own in steps for name in own}
    lengths = {name: gap for name, gap in farthest.items() if name.startswith(f"{SCALE}/")}
    for name, gap in lengths.items():  # by chance a length agrees though the tensor does not
        distance = farthest[name.replace(SCALE, "gradient", 1)]
        farthest[name] = max(gap, np.median([*lengths.values()]), distance / TIMES)
    return {dump: {name: min(inputs.ANYTHING, max(ROUNDED, TIMES * farthest.get(name, gap)))
                   for name, gap in own.items()}
            for dump, own in gaps.items()}  # fmt: skip


def decided(config, expected):
    """Whether a tensor holds what an evaluation in bf16 decides, in integers."""
    return config.precision == "bf16" and expected.dtype.kind == "i"


def tensors(facts, config, folder, reference, other, dump):
    """Yields (name, (expected, found)) of a dump: of an activation what is somewhere, of what is
    decided in bf16 the examples that the reference decides there as in fp64.

    found: None where it is missing.  Raises UserError.
    """
    points = benchmark.module(facts.application, "parameters").points(config)
    expected = inputs.load(inputs.expected_path(config, folder, reference, dump))
    found = inputs.load(inputs.output_path(folder, other, dump))
    batch = inputs.load(batch_path(folder, dump)) if dump.startswith("step") else {}
    for name in inputs.wanted(facts, config, [dump])[dump]:
        pair = expected[name], found.get(name)
        point = points.get(name.removeprefix("activation/"))
        if point and point.places:
            here = batch[point.places] != 0
            if np.shape(pair[0]) == np.shape(pair[1]) and pair[0].shape[:2] == here.shape:
                pair = tuple(array[here] for array in pair)
        if decided(config, pair[0]) and not inputs.decides(name):
            own = inputs.load(inputs.output_path(folder, reference, dump))[name]
            if np.shape(own) == np.shape(pair[0]) == np.shape(pair[1]):
                here = same(own, pair[0])
                pair = tuple(array[here] for array in pair)
        yield name, pair


def dtypes(folder, other, dump):
    """{tensor name: the type that it was written in, in the words of safetensors}."""
    found = inputs.header(inputs.output_path(folder, other, dump))
    return {name: dtype for name, (dtype, _) in found.items()}


def batch_path(folder, dump):
    """The input that holds a step's batch."""
    return inputs.input_path(folder, dump.replace("step", "batch"))


def gradient_scale(pairs):
    """How much longer or shorter the gradients are than expected: the median of their `scales`.

    A flipped ReLU moves a few tensors, a wrong factor all of them.
    """
    return float(np.median([*scales(pairs).values()] or [0.0]))


@SILENT
def scales(pairs):
    """{gradient_scale/NAME: how much longer or shorter a gradient is than expected},
    |<found, expected> / <expected, expected> - 1|: of rounding less than the distance.
    """
    shares = {}
    for name, (expected, found) in pairs.items():
        if inputs.group(name) != "gradient" or not sound(expected, found):
            continue
        expected, found = (np.asarray(array, np.float64).ravel() for array in (expected, found))
        if expected @ expected > 0:
            share = abs(found @ expected / (expected @ expected) - 1.0)
            shares[name.replace("gradient", SCALE, 1)] = float(share)
    return shares


def sound(expected, found):
    """Whether there is something to reckon with; what is not, is said of the tensor itself."""
    return found is not None and found.shape == expected.shape and np.isfinite(found).all()


@SILENT
def optimizer_rows(facts, config, folder, words, dump, pairs):
    """Rows that hold sums and trained parameters after a step against the optimizer's
    formula: a sum's difference over the sum, a parameter's over the update.  words: its dtypes.

    The formula is given the implementation's own gradients, and the state before the step in the
    type that the implementation keeps it in.  So the result is known to a rounding of each number,
    whatever the arithmetic of the forward and backward pass.
    """
    groups = ("parameter", *facts.optimizer_sums)
    own = {name: pair for name, pair in pairs.items()
           if inputs.group(name) in (*groups, "gradient")}  # fmt: skip
    if inputs.given_masks(config) or not all(sound(*pair) for pair in own.values()):
        return []
    step = int(dump.removeprefix("step_"))
    before = state_before(facts, folder, step)
    kept = {name: rounded(before[name], words[name]) for name in own if name in before}
    gradients = {name.removeprefix("gradient/"): np.asarray(found, np.float64)
                 for name, (_, found) in own.items() if inputs.group(name) == "gradient"}
    parity = benchmark.module(facts.application, "parity")
    batch = inputs.load(batch_path(folder, dump))
    tolerance = FORMULA_FP64 if config.precision == "fp64" else FORMULA
    after = parity.optimizer_step(config, step, inputs.nested(kept), gradients, batch)
    sums = [name for name in own if inputs.group(name) in facts.optimizer_sums]
    relative = max((float(spacing(1.0, words[name])) for name in sums), default=0.0)
    verdicts = []
    for group in (*facts.optimizer_sums, "parameter"):
        for one, expected in after[group].items():
            name = f"{group}/{one}"
            found = np.asarray(own[name][1], np.float64)
            largest = np.maximum(abs(found), abs(kept[name]))
            allowed = spacing(largest, words[name])
            change = expected - kept[name] if group == "parameter" else expected
            if group == "parameter":  # made from sums that are rounded already
                allowed = allowed + relative * abs(change)
            beyond = np.maximum(abs(found - expected) - allowed, 0.0)
            gap, scale = np.linalg.norm(beyond), np.linalg.norm(change)
            # Where nothing may change, as at a rate of 0, any change is one too many.
            apart = gap / scale if 0.0 < scale < np.inf else np.inf if gap or scale else 0.0
            verdicts.append(Row(dump, f"optimizer/{name}", float(apart), tolerance))
    return verdicts


def state_before(facts, folder, step):
    """{name: array} of the state that a step starts from: given, or the initial one."""
    if step:
        return inputs.load(inputs.input_path(folder, f"state_{step:04d}"))
    parameters = inputs.load(inputs.input_path(folder, "parameters"))
    return {f"{group}/{name}": array if group == "parameter" else np.zeros_like(array)
            for group in ("parameter", *facts.optimizer_sums)
            for name, array in parameters.items()}  # fmt: skip


def rounded(array, word):
    """float64 array of the numbers that a type of safetensors keeps of an array."""
    if word == "BF16":
        bits = np.asarray(array, np.float32).view(np.uint32)
        bits = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000  # to the nearest, ties to even
        array = bits.view(np.float32)
    elif word in HELD:
        array = np.asarray(array, HELD[word])
    return np.asarray(array, np.float64)


def spacing(array, word):
    """How far apart the numbers of a type lie there."""
    if word == "BF16":
        return np.spacing(np.asarray(array, np.float32)) * 2.0**16
    return np.spacing(np.asarray(array, HELD.get(word, np.float64)))


def odd_tensors(facts, folder, other):
    """["dump tensor"] that an implementation wrote and nobody asked for.  Raises UserError."""
    found = []
    wanted = inputs.wanted(facts, inputs.read_config(facts, folder), inputs.dumps(folder))
    for dump, names in wanted.items():
        written = inputs.header(inputs.output_path(folder, other, dump))
        found += [f"{dump} {name}" for name in sorted(written.keys() - names.keys())]
    return found


def report(facts, folder, reference, verdicts=None):
    """Prints a table of the largest differences of each recorded implementation; names the first
    tensor beyond.  Returns whether all agree.  verdicts: a list that gets each one's `verdict`.
    """
    config = inputs.read_config(facts, folder)
    agreed = True
    for other in inputs.recorded(folder):
        if other == reference:
            continue
        found = list(rows(facts, folder, reference, other))
        print(f"\n{printable(other)} against {reference}, {printable(config.profile)}, "
              f"{config.precision}")
        print(f"  {'dump':<15} {'tensors':<14} {'count':>5} {'tolerance':>9} {'largest':>9}  worst")
        parts = {}
        for one in found:
            parts.setdefault((one.dump, inputs.heading(one.name)), []).append(one)
        for (dump, group), part in parts.items():
            worst = max(part, key=lambda one: (one.beyond, one.difference))
            mark = f": {worst.reason}" if group == "decision" else ""
            mark += "  BEYOND" if worst.beyond else ""
            print(f"  {dump:<15} {group:<14} {len(part):>5} {worst.tolerance:>9.0e} "
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
        for group, names in loose(found).items():
            print(f"  not judged to within {CLOSE}: of {group} {', '.join(names)}")
        agreed = agreed and not beyond
        if verdicts is not None:
            verdicts.append(verdict(config, reference, other, found))
    return agreed


def verdict(config, reference, name, found):
    """What is kept of a comparison, for common/report.py: JSON's values alone.

    found: the Rows.  first: the first tensor beyond its tolerance, or null.  worst: by group of
    tensors, the largest difference over its tolerance; null where one cannot say.
    """
    beyond = next((one for one in found if one.beyond), None)
    worst = {}
    for one in found:
        group = inputs.group(one.name)
        share = np.inf if one.beyond else 0.0
        if 0.0 < one.tolerance < np.inf and np.isfinite(one.difference):
            share = one.difference / one.tolerance
        worst[group] = max(worst.get(group, 0.0), share)
    return {
        "application": config.application,
        "reference": reference,
        "name": name,
        "profile": config.profile,
        "precision": config.precision,
        "tensors": len(found),
        "agrees": beyond is None,
        "first": beyond and f"{beyond.dump} {beyond.name}",
        "worst": {group: float(share) if np.isfinite(share) else None
                  for group, share in worst.items()},
    }


def loose(found):
    """{group: [tensor]} of Rows with a tolerance that a fault may hide in; ["all"] of it."""
    names = {}
    for one in found:
        if inputs.decides(one.name):
            continue  # how many differ is said of each
        own = names.setdefault(inputs.group(one.name), {})
        name = one.name.partition("/")[2] or one.name
        own[name] = own.get(name, False) or one.tolerance > CLOSE
    return {group: ["all"] if all(own.values()) else [name for name in own if own[name]]
            for group, own in names.items() if any(own.values())}  # fmt: skip
