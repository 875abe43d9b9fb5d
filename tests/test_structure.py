"""What the tree promises: who imports what, what an application offers, and three twins of it."""

import ast
import dataclasses
import difflib
import importlib
import inspect
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from common import benchmark
from common.benchmark import Benchmark
from common.command import FRAMEWORKS
from common.options import FREE_FIELDS
from common.parity import compare, inputs
from tests.cells import APPLICATIONS, CELLS
from tests.conftest import ROOT

LIBRARIES = {"pytorch": "torch", "tensorflow": "tensorflow", "paddlepaddle": "paddle"}
FRAMEWORK_PACKAGES = {*LIBRARIES.values(), "keras"}


def checked_out(*patterns):
    """The repository's files, tracked or new, that match."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in done.stdout.splitlines()]
    return [path for path in paths if path.exists()]


COMMON = checked_out("common")
MODULES = {path.relative_to(ROOT).parts: path for path in
           checked_out("common/*.py", "kernels/*.py", *(f"{name}/*.py" for name in APPLICATIONS))}
NEUTRAL = {parts: path for parts, path in MODULES.items()
           if "frameworks" not in parts and not set(FRAMEWORKS) & set(parts)}


def test_importing_what_is_neutral_pulls_in_no_framework():
    """All modules in one process, which stops at the first look for a framework's package."""
    names = [".".join(parts).removesuffix(".py").removesuffix(".__init__") for parts in NEUTRAL]
    assert len(names) > 50
    code = (
        "import importlib, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {FRAMEWORK_PACKAGES}:\n"
        "            sys.exit(f'{module} imports {name}')\n"
        "sys.meta_path.insert(0, Watch())\n"
        "for module in sys.argv[1:]: importlib.import_module(module)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


def imported(path):
    """The names of the modules that a file imports, with those of `from package import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("parts", MODULES, ids="/".join)
def test_imports_run_one_way(parts):
    """framework folder -> application -> common; never sideways, and one framework alone."""
    owner = parts[0]
    own = {name for name in FRAMEWORKS if name in parts or parts[-1] == f"{name}.py"}
    allowed = {LIBRARIES[name] for name in own}
    for name in imported(MODULES[parts]):
        first, *rest = name.split(".")
        assert first not in set(APPLICATIONS) - {owner}, name
        assert first not in FRAMEWORK_PACKAGES - allowed, name
        if first in (owner, "common"):
            assert not {*rest[:2]} & (set(FRAMEWORKS) - own), name


def test_framework_folders_are_no_packages():
    """A package named tensorflow would hide the library wherever its parent is on sys.path."""
    for application, framework in CELLS:
        assert (ROOT / application / framework / "train.py").exists()
        assert not (ROOT / application / framework / "__init__.py").exists()
    assert not (ROOT / "common" / "frameworks" / "__init__.py").exists()


def test_tensorflow_lies_outside_the_repository(framework):
    name = framework.__name__.rpartition(".")[2]
    module = importlib.import_module(LIBRARIES[name])
    assert ROOT not in pathlib.Path(module.__file__).parents or ".venv" in module.__file__


# Of MLPerf's benchmarks and their data.  A library of such a name would stand here as an exception.
ELSEWHERES = ("resnet", "neumf", "mask r-?cnn", "mask_rcnn", "deepspeech", "deepspeech2", "minigo",
              "imagenet", "coco", "librispeech", "wmt", "movielens", "imdb")  # fmt: skip


def test_common_names_no_application_and_no_benchmark():
    names = [re.escape(facts.name) for facts in benchmark.benchmarks()]
    word = re.compile(rf"(?<![a-z0-9])({'|'.join([*APPLICATIONS, *names, *ELSEWHERES])})"
                      r"(?![a-z0-9])", re.IGNORECASE)
    assert word.search("what a Transformer_needs") and not word.search("transformers, transform")
    texts = [path for path in COMMON if path.suffix in (".py", ".sh", ".yaml", ".txt")]
    assert len(texts) > 40
    for path in texts:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not word.search(line), f"{path.relative_to(ROOT)}:{number}: {line}"


# What common/benchmark.py's docstring asks of each module: {file: [name or name(arguments)]}.
OFFERS = {
    file: re.findall(r"\w+(?:\([\w, ]*\))?", names)
    for file, names in re.findall(
        r"^ {4}(\w+\.py) +(.+(?:\n {5,}.+)*)$", benchmark.__doc__, re.MULTILINE
    )
}


@pytest.mark.parametrize("application", APPLICATIONS)
def test_an_application_offers_what_the_suite_asks_for(application):
    assert OFFERS.keys() == {"config.py", "data.py", "parameters.py", "parity.py", "files.py"}
    assert sum(map(len, OFFERS.values())) == 19
    for file, names in OFFERS.items():
        module = benchmark.module(application, file.removesuffix(".py"))
        for offered in names:
            name, parenthesis, arguments = offered.partition("(")
            found = getattr(module, name)
            if parenthesis:
                assert list(inspect.signature(found).parameters) == re.findall(r"\w+", arguments)
    if hasattr(benchmark.module(application, "config").Config, "dropout"):
        masks = benchmark.module(application, "parity").masks
        assert list(inspect.signature(masks).parameters) == ["config"]


TRAINER = {"__init__": "config, parameters", "gradients": "batch", "train_step": "batch, step",
           "predict": "batch", "evaluate": "batch", "state": "",
           "load_state": "state"}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS, ids="/".join)
def test_a_cell_offers_a_trainer_and_main(cell):
    source = ast.parse((ROOT / cell[0] / cell[1] / "train.py").read_text())
    found = {node.name: node for node in source.body if hasattr(node, "name")}
    assert ast.unparse(found["main"].args) == "config"
    methods = {node.name: ast.unparse(node.args) for node in found["Trainer"].body
               if isinstance(node, ast.FunctionDef)}
    for name, arguments in TRAINER.items():
        assert methods[name] == ", ".join(["self"] + [arguments] * bool(arguments)), name
    adapter = f"from common.frameworks import {cell[1]} as framework"
    assert adapter in map(ast.unparse, source.body)


NEEDED = [field.name for field in dataclasses.fields(Benchmark)
          if field.default is field.default_factory is dataclasses.MISSING]


@pytest.mark.parametrize("name", NEEDED)
def test_a_forgotten_fact_fails_by_name(name):
    facts = vars(benchmark.benchmark_of(APPLICATIONS[0]))
    assert Benchmark(**{n: facts[n] for n in NEEDED}).application == APPLICATIONS[0]
    with pytest.raises(TypeError, match=f"'{name}'"):
        Benchmark(**{n: facts[n] for n in NEEDED if n != name})


@pytest.mark.parametrize("application", APPLICATIONS)
def test_an_application_says_itself_of_its_quick_profile(application):
    facts = benchmark.benchmark_of(application)
    assert facts.application == application
    assert [other.name for other in benchmark.benchmarks()].count(facts.name) == 1
    assert facts.runs >= 3  # the fastest and the slowest are dropped
    config = dataclasses.replace(
        benchmark.module(application, "config").QUICK, application=application, seed=1
    )
    parity = benchmark.module(application, "parity")
    changed = dataclasses.replace(config, **parity.CHANGES.get("quick", {}))
    _, (batch,) = parity.training(changed, 1)
    assert facts.batch.keys() == batch.keys()
    specification = benchmark.module(application, "parameters").specification(config)
    config, _ = parity.training(config, 1)
    evaluations = parity.evaluations(config)
    assert len(evaluations) >= 1
    for parameters, batch in evaluations:
        assert facts.evaluation_batch.keys() == batch.keys()
        assert parameters.keys() == specification.keys()
    quality = facts.quality(config)
    assert quality.targets(config.target).keys() == set(quality.names)
    fields = {field.name for field in dataclasses.fields(config)}
    assert set(facts.free_fields) <= fields - set(FREE_FIELDS)

    values = facts.log_values(config, 1)
    for name in ("global_batch_size", "train_samples", "eval_samples",
                 "gradient_accumulation_steps"):
        assert isinstance(values[name], int) and values[name] > 0, name
    plain = {key: value[0] if isinstance(value, tuple) else value for key, value in values.items()}
    assert json.loads(json.dumps(plain)) == plain
    has_rules = (ROOT / application / "rules.yaml").exists()
    log = plain | {"submission_division": "closed"}
    assert has_rules == (facts.rule_set(log) is None)

    statistics = ["statistic"] * any(not one.trained for one in specification.values())
    groups = ["activation", "loss", "gradient", *facts.optimizer_sums, "parameter", *statistics,
              "evaluation"]  # fmt: skip
    order = [inputs.group(name) for name in inputs.forward_order(facts, config)]
    assert list(dict.fromkeys(order)) == groups
    assert facts.tolerances.keys() == {"fp32", "fp64"}
    groups.insert(groups.index("gradient") + 1, compare.SCALE)
    for tolerances in facts.tolerances.values():
        assert list(tolerances) == groups
        assert all(0.0 < tolerance < 1.0 for tolerance in tolerances.values())


# The twins: {name: the paths of PyTorch's, TensorFlow's and PaddlePaddle's}.
TWINS = {f"{application}/{file}": [ROOT / application / name / file for name in FRAMEWORKS]
         for application in APPLICATIONS for file in ("model.py", "train.py")}  # fmt: skip
TWINS["object_detection/regions.py"] = [ROOT / "object_detection" / name / "regions.py"
                                        for name in FRAMEWORKS]  # fmt: skip
TWINS["kernels/operations.py"] = [ROOT / "kernels" / name / "operations.py"
                                  for name in FRAMEWORKS]  # fmt: skip
TWINS["common/frameworks"] = [ROOT / "common" / "frameworks" / f"{n}.py" for n in FRAMEWORKS]

# TensorFlow alone has no autocast, so its networks ask what to cast to; and Keras's optimizers
# compute by other formulas than the other two frameworks', so the adapter has the kernels.
TENSORFLOWS_OWN = ("compute_dtype", "Momentum", "Adam")
# A framework's own name for what a module does when called.
SAME_NAME = {"__call__": "forward"}


def outline(path):
    """[(name, arguments, docstring)] of a file's classes and functions, in order."""
    found = []

    def visit(node, name, arguments):
        found.append((name, arguments, neutral(ast.get_docstring(node) or "")))
        if isinstance(node, ast.FunctionDef):
            return
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                own = f"{name}.{SAME_NAME.get(child.name, child.name)}".lstrip(".")
                visit(child, own, ast.unparse(getattr(child, "args", [])))

    visit(ast.parse(path.read_text()), "", "")
    if path.name == "tensorflow.py":
        found = [entry for entry in found if entry[0].partition(".")[0] not in TENSORFLOWS_OWN]
    return found


def neutral(docstring):
    """A docstring without the framework's name, and the axes of each layout in one order."""
    docstring = re.sub("PyTorch|TensorFlow|PaddlePaddle", "FRAMEWORK", docstring)
    return re.sub(
        r"\[([^]]*)\]", lambda found: f"[{', '.join(sorted(found[1].split(', ')))}]", docstring
    )


def is_private(name):
    return re.search(r"(^|\.)_[^_]", name)


@pytest.mark.parametrize("twins", TWINS)
def test_twins_have_the_same_outline(twins):
    """A leading underscore marks what one of the three may have alone."""
    outlines = [outline(path) for path in TWINS[twins]]
    everywhere = set.intersection(*({name for name, _, _ in one} for one in outlines))
    outlines = [[entry for entry in one if entry[0] in everywhere or not is_private(entry[0])]
                for one in outlines]
    assert outlines[0] == outlines[1]
    assert outlines[0] == outlines[2]
    assert len(outlines[0]) > 5


# The one whose data its network makes: its epoch has more phases.
OTHER_MAINS = ("reinforcement",)


def test_main_is_the_same_text_in_every_cell():
    texts = {}
    for application, framework in CELLS:
        source = (ROOT / application / framework / "train.py").read_text()
        main = next(n for n in ast.parse(source).body if getattr(n, "name", "") == "main")
        kind = application if application in OTHER_MAINS else "all others"
        texts.setdefault(kind, set()).add(ast.get_source_segment(source, main))
    assert all(len(found) == 1 for found in texts.values()), texts


# Share of equal lines, percent: what each pair had when this was last written; a change may raise a
# number, not lower it.  The best public twins, DQN in PyTorch and in JAX, have
# 69 to 78.
# PyTorch and TensorFlow, PyTorch and PaddlePaddle, TensorFlow and PaddlePaddle.
FLOORS = {
    "image_classification/model.py": (66, 79, 66),
    # PyTorch's fused optimizer decays by itself.
    "image_classification/train.py": (79, 83, 80),
    "object_detection/model.py": (65, 82, 64),
    # TensorFlow describes the batch, so that a graph is for all shapes.
    "object_detection/train.py": (65, 85, 64),
    # RoIAlign: a bag of rows, a sparse product, rows and a product.
    "object_detection/regions.py": (55, 60, 52),
    "recommendation/model.py": (75, 85, 75),
    "recommendation/train.py": (77, 84, 79),
    "reinforcement/model.py": (66, 82, 67),
    # PyTorch's fused optimizer decays by itself.
    "reinforcement/train.py": (81, 81, 80),
    "sentiment_analysis/model.py": (67, 79, 68),
    "sentiment_analysis/train.py": (79, 87, 79),
    # PyTorch writes the recurrent steps into place, TensorFlow scans, PaddlePaddle keeps lists; and
    # its convolution on the CPU is its own.
    "speech_recognition/model.py": (52, 67, 49),
    # PaddlePaddle's own norm of all gradients is too short in float32.
    "speech_recognition/train.py": (77, 78, 71),
    "translation/model.py": (74, 84, 72),
    "translation/train.py": (78, 84, 80),
    # TensorFlow has no recurrent layer or attention of its own on a CPU.
    "kernels/operations.py": (49, 64, 52),
    # PyTorch and PaddlePaddle send gradients in packs by hand; TensorFlow does so itself.
    "common/frameworks": (54, 69, 52),
}


def share(one, other):
    """Percent of the lines of two files that are equal."""
    one, other = (path.read_text().splitlines() for path in (one, other))
    blocks = difflib.SequenceMatcher(None, one, other, False).get_matching_blocks()
    return 200.0 * sum(block.size for block in blocks) / (len(one) + len(other))


def test_twins_share_most_lines(capsys):
    shares = {name: [share(*pair) for pair in itertools.combinations(paths, 2)]
              for name, paths in TWINS.items()}
    with capsys.disabled():
        print("\nequal lines, %: PyTorch-TensorFlow, PyTorch-PaddlePaddle, TensorFlow-PaddlePaddle")
        for name, found in shares.items():
            print(f"  {name:<32}" + "".join(f"{percent:6.1f}" for percent in found))
    assert FLOORS.keys() == shares.keys()
    fallen = {name: found for name, found in shares.items()
              if any(percent < floor for percent, floor in zip(found, FLOORS[name], strict=True))}
    assert not fallen


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_readmes_table_has_every_application(application):
    assert f"| [{application}]({application}/README.md): " in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "path",
    checked_out(*(f"{name}/*.sh" for name in APPLICATIONS)),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_scripts_are_thin_and_stop_at_faults(path):
    text = path.read_text()
    assert "set -euo pipefail" in text
    assert len(text.splitlines()) <= 20
    assert os.access(path, os.X_OK)


def test_every_cell_has_a_script():
    for application, framework in CELLS:
        assert (ROOT / application / framework / "run_and_time.sh").exists()
    for application in APPLICATIONS:
        assert (ROOT / application / "download_dataset.sh").exists()
        assert (ROOT / application / "verify_dataset.sh").exists()


def test_scripts_pass_shellcheck():
    scripts = checked_out("*.sh", ".ci/run")
    assert len(scripts) > 6
    tool = pathlib.Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([tool, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_dockerfiles_pass_hadolint():
    files = [ROOT / application / framework / "Dockerfile" for application, framework in CELLS]
    tool = pathlib.Path(sys.executable).parent / "hadolint"
    done = subprocess.run([tool, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_tree_tells_nothing_of_its_makers():
    """No machine's paths, and no package index but the public ones' own names."""
    paths = checked_out("*.py", "*.sh", "*.md", "*.txt", "*.toml", "*.yaml", "*Dockerfile")
    assert len(paths) > 100
    for path in paths:
        for word in ("/work" + "/", "/opt/" + "wheels", "find-" + "links"):
            assert word not in path.read_text(), f"{path}: {word}"


def test_tests_of_a_group_share_a_worker(request):
    """pytest-xdist goes by the group at the name's end; without, each worker makes all fixtures."""
    if not hasattr(request.config, "workerinput"):
        pytest.skip("no worker of pytest-xdist")
    assert request.node.nodeid.endswith("@tests/test_structure.py")
