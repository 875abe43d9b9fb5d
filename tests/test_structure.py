"""What DESIGN promises of the tree: who imports what, and three twins for each application."""

import ast
import dataclasses
import difflib
import importlib
import itertools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FRAMEWORKS = ("pytorch", "tensorflow", "paddlepaddle")
LIBRARIES = {"torch", "tensorflow", "paddle", "keras"}
APPLICATIONS = sorted(path.parent.name for path in ROOT.glob("*/config.py"))
SCRIPTS = [*ROOT.glob("*/download_dataset.sh"), *ROOT.glob("*/*/run_and_time.sh")]
# What a class inherits and how a module is called are the framework's own.
SAME_NAME = {"__call__": "forward", "call": "forward"}
# What only one framework needs of a layer, and the README's table of differences explains.
ONLY_HERE = {"in_float64", "move", "rows_matmul"}


def neutral_modules():
    files = [path for path in ROOT.glob("common/**/*.py") if "frameworks" not in path.parts]
    for application in APPLICATIONS:
        files += ROOT.glob(f"{application}/*.py")
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(files)]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("module", neutral_modules())
def test_neutral_modules_import_no_framework(module):
    code = f"import sys, {module}; print(*sorted({LIBRARIES} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("module", neutral_modules())
def test_imports_run_one_way(module):
    """common knows no application; applications do not know each other or their own frameworks."""
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    owner = module.split(".")[0]
    forbidden = set(APPLICATIONS) - {owner}
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            parts = name.split(".")
            assert parts[0] not in forbidden | LIBRARIES, name
            assert not (parts[0] == owner != "common" and parts[1:2] and parts[1] in FRAMEWORKS)
            assert not (owner == "common" and parts[:2] == ["common", "frameworks"]), name


def test_framework_folders_are_no_packages():
    """A package named tensorflow would hide the library wherever its parent is on sys.path."""
    for application in APPLICATIONS:
        for framework in FRAMEWORKS:
            assert not (ROOT / application / framework / "__init__.py").exists()


def test_tensorflow_lies_outside_the_repository(framework):
    library = {"pytorch": "torch", "tensorflow": "tensorflow", "paddlepaddle": "paddle"}
    name = framework.__name__.rpartition(".")[2]
    module = importlib.import_module(library[name])
    assert ROOT not in pathlib.Path(module.__file__).parents or ".venv" in module.__file__


def outline(path):
    """[(name, arguments, docstring)] of a file's classes and functions, in order."""
    found = [("", "", ast.get_docstring(ast.parse(path.read_text())))]

    def visit(nodes, prefix):
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                found.append((prefix + node.name, "", ast.get_docstring(node)))
                visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef) and node.name not in ONLY_HERE:
                name = SAME_NAME.get(node.name, node.name)
                found.append((prefix + name, ast.unparse(node.args), ast.get_docstring(node)))

    visit(ast.parse(path.read_text()).body, "")
    return found


def neutral(text):
    """A docstring without the names and layouts that a framework forces."""
    if text is None:
        return None
    for word in ("PyTorch", "TensorFlow", "PaddlePaddle"):
        text = text.replace(word, "FRAMEWORK")
    layouts = {
        "[B, H, W, C]": "[B, C, H, W]",
        "[B, H, W, 3]": "[B, 3, H, W]",
        "[B, H / stride, W / stride, out]": "[B, out, H / stride, W / stride]",
        "[B, H / stride, W / stride, width * expansion]":
            "[B, width * expansion, H / stride, W / stride]",
        "[before + T + after, E]": "[E, before + T + after]",
        "[B, T, H, D / H]": "[B, H, T, D / H]",
        "[B K, P, H, D / H]": "[B K, H, P, D / H]",
    }
    for here, canonical in layouts.items():
        text = text.replace(here, canonical)
    return text


@pytest.mark.parametrize("file", ["model.py", "train.py"])
@pytest.mark.parametrize("application", APPLICATIONS)
def test_twins_have_the_same_outline(application, file):
    outlines = [
        [(name, arguments, neutral(text)) for name, arguments, text in
         outline(ROOT / application / framework / file)]
        for framework in FRAMEWORKS
    ]
    assert outlines[0] == outlines[1]
    assert outlines[0] == outlines[2]


@pytest.mark.parametrize("application", APPLICATIONS)
def test_main_is_the_same_text(application):
    texts = set()
    for framework in FRAMEWORKS:
        source = (ROOT / application / framework / "train.py").read_text()
        main = next(n for n in ast.parse(source).body if getattr(n, "name", "") == "main")
        texts.add(ast.get_source_segment(source, main))
    assert len(texts) == 1


@pytest.mark.parametrize("file", ["model.py", "train.py"])
@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("pair", list(itertools.combinations(FRAMEWORKS, 2)), ids="-".join)
def test_twins_share_most_lines(application, file, pair, capsys):
    """The best public twins reach 70 to 78 %."""
    one, two = ((ROOT / application / f / file).read_text().splitlines() for f in pair)
    same = sum(b.size for b in difflib.SequenceMatcher(None, one, two, False).get_matching_blocks())
    share = 2 * same / (len(one) + len(two))
    with capsys.disabled():
        print(f"\n{application}/{{{pair[0]},{pair[1]}}}/{file}: {share:.0%} of lines in common")
    assert share > 0.6


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_readmes_table_has_every_application(application):
    assert f"| [{application}]({application}/README.md): " in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_page_on_parity_names_every_batch_and_sum(application):
    names = (f"{application}.{name}" for name in ("config", "data", "parameters"))
    config, data, parameters = (importlib.import_module(name) for name in names)
    _, (batch,) = data.parity_batches(dataclasses.replace(config.QUICK, seed=1), 1)
    page = (ROOT / "docs" / "parity.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"   | {application} |"))
    for name in (*batch, *parameters.OPTIMIZER_SUMS):
        assert f"`{name}`" in row


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_are_thin_and_stop_at_faults(path):
    text = path.read_text()
    assert "set -euo pipefail" in text
    assert len(text.splitlines()) <= 20


def test_scripts_pass_shellcheck():
    scripts = [str(path) for path in [*ROOT.glob("**/*.sh"), ROOT / ".ci" / "run"]
               if ".venv" not in path.parts]
    assert len(scripts) > 6
    tool = pathlib.Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([tool, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("application", APPLICATIONS)
def test_dockerfiles_pass_hadolint(application):
    files = [str(ROOT / application / framework / "Dockerfile") for framework in FRAMEWORKS]
    tool = pathlib.Path(sys.executable).parent / "hadolint"
    done = subprocess.run([tool, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_tree_tells_nothing_of_its_makers():
    """No machine's paths, and no package index but the public ones' own names."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in tracked.stdout.split()]
    for path in files:
        if path.suffix in (".py", ".sh", ".md", ".txt", ".toml", ".yaml") and path.exists():
            for word in ("/work" + "/", "/opt/" + "wheels", "find-" + "links"):
                assert word not in path.read_text(), f"{path}: {word}"
