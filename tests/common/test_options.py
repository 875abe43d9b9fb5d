"""From flags and from JSON to a config."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import benchmark, options
from common.errors import UserError
from common.options import FREE_FIELDS, RESERVED, Options, parse_field
from tests.cells import APPLICATIONS


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """A field of each type that a config has."""

    layers: int = 3
    images: int | None = 100
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)
    shares: tuple[float, ...] = (0.5,)


def parsed(*flags):
    profiles = {"quick": Config(), "reference": Config(profile="reference", layers=50, target=0.7)}
    return options.parse(profiles, options.parse_flags(flags))


def test_flags_and_fields():
    assert parsed() == Config()
    found = parsed("--profile=reference", "--seed=3", "--device=cuda", "--precision=bf16",
                   "--compile", "--workers=2", "--max_epochs=7", "--data_dir=d", "--output_dir=o",
                   "--set", "layers=4", "--set=images=None", "--set=sizes=(7,8)",
                   "--set=shares=0.25", "--set=rate=1e-3")  # fmt: skip
    assert found == Config(
        profile="reference", seed=3, device="cuda", precision="bf16", compile=True, workers=2,
        num_epochs=7, data_dir="d", output_dir="o", target=0.7, layers=4, images=None, sizes=(7, 8),
        shares=(0.25,), rate=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("flag", ["--target={}", "--set=target={}"])
def test_a_target_is_a_number_or_the_words_of_several(flag):
    assert parsed(flag.format("0.75")).target == 0.75
    assert parsed(flag.format("bbox=0.377,segm=0.339")).target == "bbox=0.377,segm=0.339"


@pytest.mark.parametrize("name", ["profile", "resume", "application", "framework"])
def test_what_the_command_says_otherwise_is_not_for_set(name):
    with pytest.raises(UserError, match=f"--set {name}: no such field") as caught:
        parsed(f"--set={name}=True")
    assert name not in str(caught.value).partition("Known: ")[2].rstrip(".").split(", ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sed=1"], "Unknown command line flag 'sed'"),
        (["--seed=-1"], "seed"),
        (["--seed=one"], "seed"),
        (["--device=tpu"], "cpu"),
        (["--max_epochs=0"], "max_epochs"),
        (["quick"], "'quick': not a flag"),
        (["--set=layers"], "--set layers: expected NAME=VALUE"),
        (["--set=layer=1"], "--set layer: no such field. Did you mean layers? Known: "),
        (["--set=layers=1.5"], "--set layers=1.5: expected int."),
        (["--set=compile=yes"], "--set compile=yes: expected bool."),
        (["--set=sizes=a,b"], "--set sizes=a,b: expected tuple"),
        (["--set=images=many"], "--set images=many: expected int | None."),
        (["--set=device=tpu"], "--set device=tpu: expected one of cpu, cuda."),
    ],
)
def test_a_fault_is_one_line(flags, words):
    with pytest.raises(UserError) as caught:
        parsed(*flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.integers() | st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers()),
)
def test_a_fields_text_gives_its_value(images, rate, sizes):
    for name, value in (("images", images), ("rate", rate), ("sizes", tuple(sizes))):
        assert parse_field(Config(), name, str(value)) == value


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("profile", ["QUICK", "REFERENCE"])
def test_a_config_comes_back_from_json(application, profile):
    config = getattr(benchmark.module(application, "config"), profile)
    text = json.dumps(dataclasses.asdict(config))
    assert options.from_json(type(config), json.loads(text)) == config


@pytest.mark.parametrize("change", [{"layer": 1}, {"rate": None}])
def test_a_field_too_many_or_missing_is_named(change):
    fields = {n: v for n, v in (dataclasses.asdict(Config()) | change).items() if v is not None}
    fields |= {"seed": 1, "images": 1}
    [name] = change
    with pytest.raises(UserError, match=f"config: {name}: expected application, "):
        options.from_json(Config, fields)


@pytest.mark.parametrize("names", [FREE_FIELDS, RESERVED])
def test_names_of_fields_are_those_of_fields(names):
    assert set(names) <= {field.name for field in dataclasses.fields(Options)}
