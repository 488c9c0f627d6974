"""Who may import whom, and which commands may not wait for TensorFlow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tlcli"

#: From the ground up: a package imports only those before it.
PACKAGES = (
    "system",
    "networks",
    "pretrained",
    "recipe",
    "images",
    "data",
    "features",
    "runs",
    "training",
    "evaluation",
    "explain",
    "report",
    "commands",
)
#: Modules that belong to no package, below and above all of them.
BELOW, ABOVE = ("_version", "errors", "__init__"), ("cli", "__main__")


def name_of(path: Path) -> str:
    """'tlcli/data/audit.py' -> 'data.audit', and 'tlcli/data/__init__.py' -> 'data.__init__'."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = sorted(map(name_of, PACKAGE.rglob("*.py")))


def rank(module: str) -> int:
    """A number that grows with the rank of a module's package."""
    order = (*BELOW, *PACKAGES, *ABOVE)
    return order.index(module.partition(".")[0])


def imports(module: str, *, typing: bool = True) -> Iterator[str]:
    """The full names that a module imports, inside functions too, and those that only type
    checkers see unless `typing` is false."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    pending: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing:
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending += ast.iter_child_nodes(node)


def imported_modules(module: str) -> set[str]:
    """The modules of tlcli that a module imports."""
    modules = set()
    for name in imports(module):
        package, _, rest = name.partition(".")
        if package != "tlcli":
            continue
        parts = rest.split(".")
        ends = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        modules.add(next((end for end in ends if end in MODULES), "__init__"))
    return modules


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_packages_below(module: str):
    package = module.partition(".")[0]
    upward = {
        name
        for name in imported_modules(module)
        if name.partition(".")[0] != package and rank(name) > rank(module)
    }
    assert not upward, f"{module} imports {sorted(upward)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_inside_a_package(package: str):
    members = [name for name in MODULES if name.startswith(f"{package}.")]
    left = {name: imported_modules(name) & set(members) for name in members}
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:
            del left[name]
    assert not left, f"a circle among {sorted(left)}"


def test_no_init_imports_anything():
    """So that no package pulls TensorFlow in by itself."""
    for module in MODULES:
        if module.endswith(".__init__"):
            assert not [*imports(module)], module


def test_training_and_evaluation_do_not_know_each_other():
    for package, other in (("training", "evaluation"), ("evaluation", "training")):
        for module in MODULES:
            if module.startswith(f"{package}."):
                names = imported_modules(module)
                assert not [name for name in names if name.startswith(f"{other}.")], module


@pytest.mark.parametrize(
    ("packages", "only"),
    [({"tensorflow", "keras"}, "framework"), ({"tqdm"}, "console")],
)
def test_one_module_imports_it(packages: set[str], only: str):
    users = [
        module.rpartition(".")[2]
        for module in MODULES
        if packages & {name.partition(".")[0] for name in imports(module)}
    ]
    assert users == [only]


PROBE = """
import atexit, sys
def look():
    heavy = {"tensorflow", "keras", "sklearn", "h5py"} & set(sys.modules)
    print("HEAVY", sorted(heavy), file=sys.stderr)
atexit.register(look)
from tlcli.cli import main
main()
"""

LIGHT = {
    "help": ["--help"],
    "bases": ["bases"],
    "boundaries": ["bases", "resnet50"],
    "check": ["check", "--config", "RECIPE"],
    "dry run": ["finetune", "--dry-run", "--config", "RECIPE"],
    "runs": ["runs"],
    "schema": ["schema"],
    "cache": ["cache"],
    "init": ["init", "PHOTOS"],
    "sample": ["sample", "--help"],
    "weights": ["weights", "list"],
    "doctor": ["doctor", "--help"],
    "preview": ["preview", "--config", "RECIPE"],
    "report": ["report", "--help"],
}


@pytest.mark.parametrize("words", LIGHT.values(), ids=LIGHT.keys())
def test_light_commands_do_not_import_tensorflow(words, photos, write_recipe):
    path = write_recipe(f"data: {{dir: {photos}}}\nbase: {{name: VGG16, weights: random}}\n")
    known = {"RECIPE": str(path), "PHOTOS": str(photos)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *(known.get(word, word) for word in words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"
    assert done.stdout
