"""Who may import whom, and which commands may not wait for TensorFlow."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from builders.scripts import load_script

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"

#: Lines of a module and of a function at most, and how long most functions are.
MODULE_LINES, FUNCTION_LINES, USUAL_LINES = 300, 60, 25


graph = load_script("scripts/import_graph.py")
MODULES: list[str] = graph.modules()
KNOWN = frozenset(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_packages_below(module: str):
    upward = {
        name
        for name in graph.imported_modules(module, KNOWN)
        if graph.package_of(name) != graph.package_of(module)
        and graph.rank(name) > graph.rank(module)
    }
    assert not upward, f"{module} imports {sorted(upward)}"


@pytest.mark.parametrize("package", graph.PACKAGES)
def test_no_circle_inside_a_package(package: str):
    members = {name for name in MODULES if graph.package_of(name) == package}
    left = {name: members & {*graph.imported_modules(name, KNOWN)} for name in members}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"a circle among {sorted(left)}"


def test_packages_import_nothing_by_themselves():
    """So that no package pulls TensorFlow in before it is needed."""
    for module in MODULES:
        if module.endswith(".__init__"):
            assert not [*graph.imports(module)], module


def test_no_import_is_relative():
    for module in MODULES:
        assert not [name for name in graph.imports(module) if name.startswith(".")], module


@pytest.mark.parametrize(
    ("package", "other"), [("training", "evaluation"), ("evaluation", "training")]
)
def test_training_and_evaluation_do_not_know_each_other(package: str, other: str):
    for module in MODULES:
        if graph.package_of(module) == package:
            packages = map(graph.package_of, graph.imported_modules(module, KNOWN))
            assert other not in packages, module


@pytest.mark.parametrize(
    ("packages", "only"),
    [({"tensorflow", "keras"}, "networks.framework"), ({"tqdm"}, "system.console")],
)
def test_one_module_imports_it(packages: set[str], only: str):
    users = [
        module
        for module in MODULES
        if packages & {name.partition(".")[0] for name in graph.imports(module)}
    ]
    assert users == [only]


def test_the_page_shows_the_graph_as_it_is():
    text = PAGE.read_text("utf-8")
    assert graph.table(graph.graph()) in text, "run: python scripts/import_graph.py --write"


@cache
def _trees() -> tuple[tuple[Path, str, ast.Module], ...]:
    paths = sorted(graph.PACKAGE.rglob("*.py"))
    return tuple((path, text := path.read_text("utf-8"), ast.parse(text)) for path in paths)


def test_modules_and_functions_are_short():
    lengths = []
    for path, text, tree in _trees():
        assert len(text.splitlines()) <= MODULE_LINES, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= FUNCTION_LINES, f"{path}: {node.name}"
                lengths.append(lines)
    assert sum(lines <= USUAL_LINES for lines in lengths) >= 0.9 * len(lengths)


def test_a_class_name_stands_once():
    homes: dict[str, list[str]] = {}
    for path, _, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path.name)
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


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
    "serve": ["serve", "--help"],
}

#: Runs one command after the other, and prints how each ended and what is imported by then.
PROBE = """
import json, sys
from click.testing import CliRunner
from tlcli.cli import main
for name, words in json.loads(sys.argv[1]).items():
    done = CliRunner().invoke(main, words)
    heavy = {"tensorflow", "keras", "sklearn", "h5py"} & set(sys.modules)
    print(json.dumps([name, done.exit_code, bool(done.output), sorted(heavy)]))
"""


def test_light_commands_do_not_import_tensorflow(photos, write_recipe):
    path = write_recipe(f"data: {{dir: {photos}}}\nbase: {{name: VGG16, weights: random}}\n")
    known = {"RECIPE": str(path), "PHOTOS": str(photos)}
    commands = {name: [known.get(word, word) for word in words] for name, words in LIGHT.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert results == [[name, 0, True, []] for name in LIGHT]
