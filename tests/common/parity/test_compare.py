"""One tensor against another by hand: how far apart, and why it cannot be compared."""

import dataclasses

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from common import benchmark, optimizers
from common.parity import compare, inputs
from common.parity.compare import FORMULA, ROUNDED, SCALE, TIMES, difference, rounded, row, spacing
from tests.common.parity import numbers
from tests.common.parity.test_inputs import written

EXPECTED = np.array([[3.0, 0.0], [4.0, 0.0]])  # of norm 5
NOT_FINITE = np.array([[3.0, np.nan], [4.0, np.inf]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("expected", "found", "gap"),
    [
        (EXPECTED, EXPECTED, 0.0),
        (EXPECTED, EXPECTED + [[0.0, 0.5], [0.0, 0.0]], 0.1),
        (EXPECTED, np.zeros((2, 2)), 1.0),
        (np.zeros(2), np.array([0.3, 0.4]), 0.5),  # nothing to divide by
        (np.zeros(2), np.zeros(2), 0.0),
        (np.float32(2.0), np.float64(1.0), 0.5),  # a scalar
        (EXPECTED, EXPECTED[0], np.inf),
        (EXPECTED, NOT_FINITE, np.inf),
        (NOT_FINITE, NOT_FINITE, np.inf),  # equal, and yet nothing is proved
        (EXPECTED, np.full((2, 2), 1e200), np.inf),  # its square is not finite
        (np.array([True, False]), np.array([True, True]), 1.0),
        (np.zeros((0, 3)), np.zeros((0, 3)), 0.0),
    ],
)
def test_difference(expected, found, gap):
    assert difference(np.asarray(expected), np.asarray(found)) == pytest.approx(gap)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "missing"),
        (EXPECTED[:1], "shape [1, 2], expected [2, 2]"),
        (NOT_FINITE, "2 elements are not finite, the first at [0, 1]"),
        (EXPECTED.T, "agrees if transposed"),
        (np.array([[3, 0], [5, 0]]), "dtype int64, expected float64"),
        (2.0 * EXPECTED, ""),
    ],
)
def test_reasons(found, reason):
    verdict = row("step_0000", "gradient/stem.weight", EXPECTED, found, 0.01)
    assert verdict.beyond
    assert verdict.reason == reason
    assert (verdict.dump, verdict.name) == ("step_0000", "gradient/stem.weight")


def test_a_reference_that_is_not_finite_is_said():
    verdict = row("step_0000", "loss", NOT_FINITE, EXPECTED, 1e300)
    assert verdict.beyond
    assert verdict.reason == "2 elements of the reference are not finite, the first at [0, 1]"


def test_a_tensor_of_another_shape_that_is_the_transposed_one():
    wide = np.array([[3.0, 0.0, 4.0]])
    assert row("initial", "x", wide, wide.T, 0.1).reason == (
        "shape [3, 1], expected [1, 3]; agrees if transposed"
    )


def test_within_the_tolerance_there_is_no_reason():
    near = row("initial", "loss", EXPECTED, EXPECTED + [[0.0, 0.5], [0.0, 0.0]], 0.1000001)
    assert not near.beyond
    assert not near.reason
    assert row("initial", "loss", EXPECTED, np.array([[3, 0], [4, 0]]), 0.0).reason == ""


# Rounding to BF16.

@pytest.mark.parametrize(("number", "kept"), [
    (1.0, 1.0),
    (1.0 + 2.0**-7, 1.0 + 2.0**-7),              # 8 bits: kept as it is
    (1.0 + 2.0**-8, 1.0),                        # a tie: to the even one below
    (1.0 + 3 * 2.0**-8, 1.0 + 2.0**-6),          # a tie: to the even one above
    (1.0 + 2.0**-8 + 2.0**-20, 1.0 + 2.0**-7),   # beyond the tie
    (-1.0 - 3 * 2.0**-8, -1.0 - 2.0**-6),
    (2.0**-133, 2.0**-133),                      # the least above 0
    (2.0**-135, 0.0),
    (3.3895314e38, 3.3895314e38),                # the largest
    (3.4e38, np.inf),
    (-np.inf, -np.inf),
    (0.0, 0.0),
])  # fmt: skip
def test_rounding_to_bf16_by_hand(number, kept):
    assert rounded(np.array(number), "BF16") == pytest.approx(kept, rel=1e-8)
    assert rounded(np.array([[number]]), "BF16").shape == (1, 1)


FLOATS = st.floats(width=32, allow_nan=False, allow_subnormal=True)


@hypothesis.given(hnp.arrays(np.float32, 64, elements=FLOATS))
def test_no_number_of_bf16_is_nearer(array):
    """To the nearest, and of two that are as near to the one whose last bit is 0."""
    found = rounded(array, "BF16").astype(np.float32)
    upper = found.view(np.uint32)
    assert not (upper & 0xFFFF).any()
    ordinary = np.isfinite(found)
    exact, found, upper = (x[ordinary] for x in (array.astype(np.float64), found, upper))
    gap = abs(found.astype(np.float64) - exact)
    with np.errstate(over="ignore"):
        for other in (upper + 0x10000, upper - 0x10000 * (upper & 0x7FFFFFFF > 0)):
            neighbour = np.ascontiguousarray(other, np.uint32).view(np.float32).astype(np.float64)
            farther = abs(neighbour - exact)
            sound = np.isfinite(neighbour)
            assert (gap <= farther)[sound].all()
            tie = sound & (gap == farther) & (gap > 0)
            assert not (upper[tie] & 0x10000).any()


@hypothesis.given(hnp.arrays(np.float32, 64, elements=FLOATS))
def test_a_tensor_of_bf16_is_read_as_it_was_written(array):
    kept = rounded(array, "BF16").astype(np.float32)
    upper = (kept.view(np.uint32) >> 16).astype(np.uint16)
    part = {"data": upper.tobytes(), "shape": [8, 8], "dtype": "BF16"}
    np.testing.assert_array_equal(inputs.widened(part), kept.reshape(8, 8))


@pytest.mark.parametrize("word", ["BF16", "F16", "F32", "F64"])
def test_the_spacing_is_the_next_number(word):
    """Half a spacing more is the next number; a quarter is none."""
    for number in (1.0, 3.0, 2.0**-10, 100.0):
        number = rounded(np.array(number), word)
        gap = float(spacing(number, word))
        assert rounded(number + gap, word) == number + gap > number
        if word != "F64":
            assert rounded(number + 0.25 * gap, word) == number


# What an optimizer made of its own gradients.

APPLICATION = {"momentum": "image_classification", "adam": "recommendation"}
WEIGHT = {"momentum": "classifier.weight", "adam": "mlp.0.weight"}


def prepared(kind):
    """(Benchmark, config) of an application whose optimizer is of that kind."""
    application = APPLICATION[kind]
    config = benchmark.module(application, "config").QUICK
    config = dataclasses.replace(config, application=application, seed=1)
    if kind == "momentum":
        config = dataclasses.replace(config, num_train_images=1000, num_eval_images=8)
    return benchmark.benchmark_of(application), config


def drawn(kind, word, seed, step, scale, share):
    """({group: array}, gradient) before a step, as numbers of the type keep them, in float32.

    scale: of gradient and sums.  share: of the weight that a step moves.
    """
    _, config = prepared(kind)
    rng = np.random.default_rng(seed)
    rate = benchmark.module(config.application, "config").learning_rate(config, step)
    g, v, m, w = rng.standard_normal((4, 8, 8))
    before = {"momentum": {"parameter": w * rate * scale / share, "velocity": v * scale},
              "adam": {"parameter": w * rate / share, "first_moment": 0.1 * m * scale,
                       "second_moment": 0.1 * v * v * scale * scale}}[kind]
    kept = {group: rounded(array, word).astype(np.float32) for group, array in before.items()}
    return kept, (g * scale).astype(np.float32)


def stepped(kind, word, step, before, g, **fault):
    """{group: array} after a step in float32, kept in a type.  fault: {number: another}."""
    _, config = prepared(kind)
    rate = benchmark.module(config.application, "config").learning_rate(config, step)
    number = {"rate": rate} | dataclasses.asdict(config) | {"t": step + 1, "inside": False} | fault
    f = {name: np.float32(value) for name, value in number.items() if isinstance(value, float)}

    def kept(array):
        assert array.dtype == np.float32
        return rounded(array, word).astype(np.float32)

    w, one = before["parameter"], np.float32(1.0)
    if kind == "momentum":
        v = kept(f["momentum"] * before["velocity"] + (g + f["weight_decay"] * w))
        return {"parameter": kept(w - f["rate"] * v), "velocity": v}
    beta1, beta2 = f["adam_beta1"], f["adam_beta2"]
    m = kept(beta1 * before["first_moment"] + (one - beta1) * g)
    v = kept(beta2 * before["second_moment"] + (one - beta2) * g * g)
    t = number["t"]
    root, epsilon = v / (one - beta2**t), f["adam_epsilon"]
    root = np.sqrt(root + epsilon) if number["inside"] else np.sqrt(root) + epsilon
    return {"parameter": kept(w - f["rate"] * (m / (one - beta1**t)) / root),
            "first_moment": m, "second_moment": v}


def verdicts(kind, word, step, before, g, after):
    """{group: difference} of the optimizer's rows for what an implementation wrote of a weight."""
    facts, config = prepared(kind)
    name = WEIGHT[kind]
    pairs = {f"gradient/{name}": (g, g)}
    pairs |= {f"{group}/{name}": (array, array) for group, array in after.items()}
    given = {f"{group}/{name}": array for group, array in before.items()}
    words = dict.fromkeys(pairs, word)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "state_before", lambda facts, folder, step: given)
        patch.setattr(inputs, "load", lambda path: {})
        rows = list(compare.optimizer_rows(facts, config, "", words, f"step_{step:04d}", pairs))
    assert [row.name for row in rows] == [
        f"optimizer/{group}/{name}" for group in (*facts.optimizer_sums, "parameter")
    ]
    assert {row.tolerance for row in rows} == {FORMULA}
    return {row.name.split("/")[1]: row.difference for row in rows}


SEEDS, STEPS = st.integers(0, 2**32 - 1), st.integers(0, 30)
KINDS = pytest.mark.parametrize("kind", ["momentum", "adam"])


@KINDS
@pytest.mark.parametrize("word", ["F32", "BF16"])
@hypothesis.settings(max_examples=50)
@hypothesis.given(seed=SEEDS, step=STEPS, scale=st.floats(-4, 2), share=st.floats(-4, 0))
def test_a_sound_step_is_as_its_formula_says(kind, word, seed, step, scale, share):
    before, g = drawn(kind, word, seed, step, 10.0**scale, 10.0**share)
    found = verdicts(kind, word, step, before, g, stepped(kind, word, step, before, g))
    assert max(found.values()) <= FORMULA


# {fault: (kind, the row that tells, share of the weight that a step moves, what is wrong)}.
# In bf16 a weight moves by a spacing or not at all: a fault shows where its step is larger.
FAULTS = {
    "no decay": ("momentum", "velocity", 1e-5, {"weight_decay": 0.0}),
    "rate": ("momentum", "parameter", 0.3, {"rate": 0.12}),
    "momentum": ("momentum", "velocity", 0.3, {"momentum": 0.8}),
    "rate of Adam": ("adam", "parameter", 0.3, {"rate": 0.0024}),
    "beta1": ("adam", "first_moment", 0.3, {"adam_beta1": 0.8}),
    "beta2": ("adam", "second_moment", 0.3, {"adam_beta2": 0.99}),
    "bias correction": ("adam", "parameter", 0.3, {"t": 10_000}),
    "the next step's bias correction": ("adam", "parameter", 0.3, {"t": 5}),
    "epsilon inside the root": ("adam", "parameter", 0.3, {"inside": True}),
}


@pytest.mark.parametrize("word", ["F32", "BF16"])
@pytest.mark.parametrize("name", FAULTS)
@hypothesis.settings(max_examples=20)
@hypothesis.given(seed=SEEDS)
def test_a_wrong_step_is_beyond(name, word, seed):
    kind, group, share, fault = FAULTS[name]
    scale = 1e-4 if "epsilon" in name else 1.0
    before, g = drawn(kind, word, seed, 3, scale, share)
    right = stepped(kind, word, 3, before, g)
    wrong = stepped(kind, word, 3, before, g, **fault)
    assert max(verdicts(kind, word, 3, before, g, right).values()) <= FORMULA
    assert verdicts(kind, word, 3, before, g, wrong)[group] > 10 * FORMULA


@KINDS
@pytest.mark.parametrize("word", ["F32", "BF16"])
@hypothesis.settings(max_examples=20)
@hypothesis.given(seed=SEEDS)
def test_a_forgotten_update_is_beyond(kind, word, seed):
    """Of the weight, or of one sum: as it was before the step."""
    before, g = drawn(kind, word, seed, 3, 1.0, 0.3)
    right = stepped(kind, word, 3, before, g)
    for group in before:
        wrong = right | {group: before[group]}
        assert verdicts(kind, word, 3, before, g, wrong)[group] > 10 * FORMULA


def test_a_formula_by_hand():
    """Two steps of each, of one number."""
    w, v = optimizers.momentum(1.0, 0.5, 2.0, 0.1, 0.9)
    assert (w, v) == (pytest.approx(0.755), pytest.approx(2.45))
    w, m, v = optimizers.adam(1.0, 0.0, 0.0, 2.0, 0.1, 0.9, 0.99, 0.0, 0)
    assert (w, m, v) == (pytest.approx(0.9), pytest.approx(0.2), pytest.approx(0.04))
    # t = 2: m = 0.18 + 0.4, over 0.19; v = 0.0396 + 0.16, over 0.0199.
    w, m, v = optimizers.adam(w, m, v, 4.0, 0.1, 0.9, 0.99, 0.0, 1)
    assert (m, v) == (pytest.approx(0.58), pytest.approx(0.1996))
    assert w == pytest.approx(0.9 - 0.1 * (0.58 / 0.19) / np.sqrt(0.1996 / 0.0199))
    w, _, _ = optimizers.adam(1.0, 0.58, 0.1996, 0.0, 0.1, 1.0, 1.0, 1.0)
    assert w == pytest.approx(1.0 - 0.058 / (np.sqrt(0.1996) + 1.0))  # no bias correction


# The length of the gradients.

def scale_of(**factors):
    """gradient_scale of three tensors that were found so many times as long."""
    rng = np.random.default_rng(1)
    expected = {name: rng.standard_normal(5) for name in "abc"}
    return compare.gradient_scale({
        f"gradient/{name}": (array, array * factors.get(name, 1.0))
        for name, array in expected.items()
    } | {"activation/a": (np.ones(2), np.zeros(2))})  # fmt: skip


def test_the_gradients_scale():
    assert scale_of() == pytest.approx(0.0, abs=1e-15)
    assert scale_of(a=3.0) == pytest.approx(0.0, abs=1e-15)  # one tensor is no scale
    assert scale_of(a=1.1, b=1.1, c=1.1) == pytest.approx(0.1)
    assert scale_of(a=0.9, b=1.2) == pytest.approx(0.1)
    assert scale_of(a=np.nan, b=1.2, c=1.0) == pytest.approx(0.1)  # said of the tensor itself
    assert compare.gradient_scale({"gradient/a": (np.zeros(2), np.ones(2))}) == 0.0
    assert compare.gradient_scale({"gradient/a": (np.ones(2), None)}) == 0.0


# Places, tolerances in bf16: on records of numbers.

@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    """A record of translation, with a copy of the reference."""
    folder = tmp_path_factory.mktemp("places")
    facts = written(folder, "translation", batch_tokens=64, max_length=16, hidden_size=8,
                    filter_size=8, num_heads=1, num_layers=1, vocabulary_size=16)
    numbers.lead(facts, folder)
    numbers.dump(facts, folder, "other")
    return facts, folder


@pytest.mark.parametrize(("somewhere", "value", "told"), [
    (False, np.nan, False), (False, 1e3, False), (True, np.nan, True), (True, 1e3, True),
])  # fmt: skip
def test_an_activation_counts_where_a_piece_is(somewhere, value, told, translated):
    facts, folder = translated
    path = inputs.output_path(folder, "other", "step_0000")
    right = inputs.load(path)
    targets = inputs.load(inputs.input_path(folder, "batch_0000"))["targets"]
    tensors = {name: array.copy() for name, array in right.items()}
    row, place = np.argwhere((targets != 0) == somewhere)[0]
    tensors["activation/decoded"][row, place, 1] = value
    inputs.save_tensors(path, tensors)
    try:
        found = [row.name for row in compare.rows(facts, str(folder), "reference", "other")
                 if row.beyond]
    finally:
        inputs.save_tensors(path, right)
    assert found == ["activation/decoded"] * told


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A record in bf16, with a copy of the reference."""
    folder = tmp_path_factory.mktemp("half")
    facts = written(folder, precision="bf16", mf_size=2, mlp_sizes=(4, 2, 2))
    numbers.lead(facts, folder)
    numbers.dump(facts, folder, "other")
    return facts, folder


def test_tolerances_in_bf16_are_the_references_own_distance(half):
    """Four times the farthest of all steps, and no less than rounding once."""
    facts, folder = half
    found = compare.tolerances(facts, str(folder), "reference")
    assert list(found) == ["initial", "step_0000", "step_0001", "evaluation_0000"]
    gaps = {}
    for dump in ("step_0000", "step_0001"):
        exact, own = (inputs.load(folder / part / f"{dump}.safetensors")
                      for part in ("exact", "outputs/reference"))
        for name, array in exact.items():
            gaps.setdefault(name, []).append(difference(array, own[name]))
    for name, own in gaps.items():
        expected = max(ROUNDED, TIMES * max(own))
        assert found["step_0000"][name] == found["step_0001"][name] == pytest.approx(expected)
    assert found["step_0000"]["activation/logits"] > ROUNDED  # or nothing was rounded here
    assert found["step_0000"]["loss"] == ROUNDED
    assert ROUNDED <= found["step_0001"][SCALE] < 0.05


@pytest.mark.parametrize(("name", "factor", "told"), [
    ("activation/logits", 1.001, False), ("activation/logits", 1.03, True),
    ("gradient/mlp.1.weight", 1.03, True), ("evaluation/scores", 1.03, True),
    ("loss", 1.003, False), ("loss", 1.005, True),
])  # fmt: skip
def test_in_bf16_any_type_is_taken_and_the_distance_counts(name, factor, told, half):
    facts, folder = half
    dump = "evaluation_0000" if name.startswith("evaluation") else "step_0001"
    path = inputs.output_path(folder, "other", dump)
    right = inputs.load(path)
    wrong = np.asarray(right[name] * factor, np.float32)
    inputs.save_tensors(path, right | {name: wrong})
    try:
        rows = list(compare.rows(facts, str(folder), "reference", "other"))
    finally:
        inputs.save_tensors(path, right)
    own = [row for row in rows if (row.dump, row.name) == (dump, name)]
    assert [row.beyond for row in own] == [told]
    assert own[0].reason == ""


@pytest.mark.parametrize(("name", "factor", "told"), [
    ("mlp.1.weight", 1.05, "gradient_scale/mlp.1.weight"), ("mlp.1.weight", 1.002, None),
    ("mlp.1.bias", 0.9, "gradient_scale/mlp.1.bias"),
])  # fmt: skip
def test_in_bf16_the_length_of_each_gradient_counts(name, factor, told, half, monkeypatch):
    """Where its distance says nothing."""
    facts, folder = half
    tolerances = compare.tolerances(facts, str(folder), "reference")
    wide = {dump: {tensor: 0.5 if inputs.group(tensor) == "gradient" else tolerance
                   for tensor, tolerance in own.items()} for dump, own in tolerances.items()}
    monkeypatch.setattr(compare, "tolerances", lambda *given: wide)
    path = inputs.output_path(folder, "other", "step_0001")
    right = inputs.load(path)
    longer = np.asarray(right[f"gradient/{name}"] * factor, np.float32)
    inputs.save_tensors(path, right | {f"gradient/{name}": longer})
    try:
        rows = list(compare.rows(facts, str(folder), "reference", "other"))
    finally:
        inputs.save_tensors(path, right)
    found = [row.name for row in rows if row.beyond and inputs.group(row.name) != "optimizer"]
    assert found == [told] * bool(told)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A record in bf16 where classes are decided, 0 to 3, with a copy of the reference."""
    folder = tmp_path_factory.mktemp("classified")
    facts = written(folder, "sentiment_analysis", precision="bf16", embedding_size=2, num_filters=2)
    numbers.lead(facts, folder)
    numbers.dump(facts, folder, "other")
    return facts, folder


@pytest.mark.parametrize(("reference", "classes", "apart"), [
    ([0, 1, 2, 3], [0, 1, 2, 3], 0.0),
    ([0, 1, 2, 3], [0, 1, 2, 0], 0.25),
    ([0, 1, 2, 3], [1, 2, 3, 4], 1.0),
    ([0, 1, 2, 0], [0, 1, 2, 9], 0.0),  # a tie, as the reference shows
    ([0, 1, 2, 0], [1, 0, 2, 3], 2 / 3),
    ([1, 2, 3, 0], [0, 0, 0, 0], 0.0),  # all of them
    ([0, 1, 2, 3], [[0, 1, 2, 3]], np.inf),
    ([0, 1, 2, 3], [0, 1, 2], np.inf),
])  # fmt: skip
def test_in_bf16_a_class_counts_where_the_reference_decides_alike(
    reference, classes, apart, classified
):
    facts, folder = classified
    dump, name = "evaluation_0001", "evaluation/classes"
    paths = [inputs.output_path(folder, one, dump) for one in ("reference", "other")]
    right = [inputs.load(path) for path in paths]
    for path, tensors, array in zip(paths, right, (reference, classes)):
        inputs.save_tensors(path, tensors | {name: np.array(array)})
    try:
        rows = list(compare.rows(facts, str(folder), "reference", "other"))
    finally:
        for path, tensors in zip(paths, right):
            inputs.save_tensors(path, tensors)
    (own,) = [row for row in rows if (row.dump, row.name) == (dump, name)]
    assert own.difference == pytest.approx(apart)
    assert own.beyond == (apart > 0.75)
    assert own.tolerance == (0.75 if 0 in (np.array(reference) - np.arange(4)) else inputs.ANYTHING)


def test_the_table_shows_what_is_beyond_though_another_tensor_is_farther(half, capsys):
    """In bf16 each tensor has a tolerance of its own."""
    facts, folder = half
    far = {"reference": ("gradient/mlp.1.weight", 1.1), "other": ("gradient/output.bias", 1.05)}
    rights = {}
    for one, (name, factor) in far.items():
        path = inputs.output_path(folder, one, "step_0001")
        rights[path] = inputs.load(path)
        wrong = np.asarray(rights[path][name] * factor, np.float32)
        inputs.save_tensors(path, rights[path] | {name: wrong})
    own = inputs.load(inputs.output_path(folder, "other", "step_0001"))
    farther = np.asarray(own["gradient/mlp.1.weight"] * 1.15, np.float32)
    inputs.save_tensors(inputs.output_path(folder, "other", "step_0001"),
                        own | {"gradient/mlp.1.weight": farther})
    try:
        assert not compare.report(facts, str(folder), "reference")
    finally:
        for path, right in rights.items():
            inputs.save_tensors(path, right)
    shown = capsys.readouterr().out
    assert "DIFFERS first at step_0001 gradient/output.bias: 5.0e-02" in shown
    (line,) = [line for line in shown.splitlines() if line.split()[:2] == ["step_0001", "gradient"]]
    assert line.endswith("5.0e-02  output.bias  BEYOND")


def test_what_is_not_judged_is_named(half, capsys):
    facts, folder = half
    assert compare.report(facts, str(folder), "reference")
    assert "not judged" not in capsys.readouterr().out
    path = inputs.output_path(folder, "reference", "step_0001")
    right = inputs.load(path)
    far = {f"gradient/{name}": 1.1 * right[f"gradient/{name}"]
           for name in ("mlp.1.weight", "output.bias")}
    inputs.save_tensors(path, right | far)
    try:
        assert compare.report(facts, str(folder), "reference")
    finally:
        inputs.save_tensors(path, right)
    shown = capsys.readouterr().out
    assert ("  AGREES\n  not judged to within 0.1: of gradient mlp.1.weight, output.bias\n"
            "  not judged to within 0.1: of gradient_scale mlp.1.weight, output.bias\n") in shown
    found = [compare.Row("step_0000", f"velocity/{name}", 0.0, 0.3) for name in "ab"]
    found += [compare.Row("step_0001", f"velocity/{name}", 0.0, 0.05) for name in "ab"]
    found += [compare.Row("step_0001", "gradient_scale", 0.0, 0.3)]
    assert compare.loose(found) == {"velocity": ["all"], "gradient_scale": ["all"]}


def test_bf16_rounds_as_the_framework_does(framework):
    name = framework.__name__.rpartition(".")[2]
    array = np.random.default_rng(1).standard_normal(10_000, np.float32)
    array[:100] = 1.0 + np.arange(100) * np.float32(2.0**-9)  # ties
    if name == "tensorflow":
        import tensorflow as tf

        found = tf.cast(tf.cast(array, tf.bfloat16), tf.float32).numpy()
    elif name == "pytorch":
        import torch

        found = torch.from_numpy(array).bfloat16().float().numpy()
    else:
        import paddle

        found = paddle.to_tensor(array).astype("bfloat16").astype("float32").numpy()
    np.testing.assert_array_equal(rounded(array, "BF16"), found)
