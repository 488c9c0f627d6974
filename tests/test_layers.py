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

#: A module imports only from lines above its own.
LAYERS = """
    _version
    __init__ console draws errors framework settings
    augment_settings bases caches colour faults files folders geometry gradients interrupts
    intervals lettering mixing runfiles threads
    briefs findings pngs randaugment tiffs yamlfile
    colours endings headers tables
    passed_over
    augment checkpoints digests drawing images layout locks predicted recipe_problems shards sheet
    exclusion likeness runs sources store_index tensors uses
    audit_cache calibration curves dataset evaluation_text onnxfile outputs plots recipe splits
    recipes
    download identity leaks metrics photos sample split store tta weight_forms
    addresses claims forward heatmap inventory room weight_files
    weight_cache
    fetch
    weights
    init labelled listing page preview shelf survey thumbnails
    charts doctor evidence
    account audit matrix plan verdict
    check diagrams estimate exhibits features optimize saving
    contents feeds trunks
    steps
    stage
    predict stages
    probabilities train
    evaluate extract reproduce subject
    activations compare filters gradcam imagenet
    explain
    report
    command
    cache_cli evaluate_cli explain_cli preview_cli report_cli runs_cli weights_cli
    cli
    __main__
"""

RANKS = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def imports(module: str, *, typing: bool = False) -> Iterator[str]:
    """The full names that a module imports, inside functions too; with `typing` also those that
    only type checkers see."""
    pending: list[ast.AST] = [ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))]
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


def siblings(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for name in imports(module):
        package, _, rest = name.partition(".")
        if package == "tlcli":
            first = rest.split(".")[0]
            found.add(first if first in MODULES else "__init__")
    return found


def test_every_module_has_a_rank():
    assert sorted(RANKS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str):
    upward = {name for name in siblings(module) if RANKS[name] >= RANKS[module]}
    assert not upward, f"{module} imports {upward}"


def test_train_and_predict_do_not_know_each_other():
    for module, other in (("train", "predict"), ("predict", "train")):
        seen, pending = set(), {module}
        while pending:
            seen |= pending
            pending = {name for one in pending for name in siblings(one)} - seen
        assert other not in seen


@pytest.mark.parametrize(
    ("packages", "only"),
    [({"tensorflow", "keras"}, "framework"), ({"tqdm"}, "console")],
)
def test_one_module_imports_it(packages: set[str], only: str):
    users = [
        module
        for module in MODULES
        if packages & {name.partition(".")[0] for name in imports(module, typing=True)}
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
