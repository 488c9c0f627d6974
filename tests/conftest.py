"""Shared fixtures: small real things that stand in for big ones."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import filelock
import pytest
from builders.browsers import CHROMIUM
from builders.commands import finetune_in, run_command
from builders.photos import paint_classes, paint_splits

from tlcli.data import dataset
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import console


def pytest_configure(config: pytest.Config) -> None:
    """Keras and matplotlib write files of their own as soon as they are imported; and a shell has
    Ctrl-C ignored for what it starts in the background, as the tests would have with it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tempfile.TemporaryDirectory(prefix="tlcli-tests-")
    os.environ.update(KERAS_HOME=f"{folder.name}/keras", MPLCONFIGDIR=f"{folder.name}/matplotlib")
    # On every machine the same; tests of another precision ask for it.
    os.environ["TLCLI_PRECISION"] = "float32"
    config.add_cleanup(folder.cleanup)


@pytest.fixture(autouse=True)
def clean_environ(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """No setting from outside, and nothing written outside of temporary folders."""
    for name in [name for name in os.environ if name.startswith("TLCLI_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("TLCLI_CACHE", str(home / "cache"))
    monkeypatch.setenv("TLCLI_RUNS", str(home / "runs"))
    # Converting takes seconds; the tests of what it gives ask for it.
    monkeypatch.setenv("TLCLI_INSTANT", "0")
    monkeypatch.setenv("TLCLI_PRECISION", "float32")
    monkeypatch.setenv("KERAS_HOME", str(home / "keras"))
    (home / "here").mkdir()
    monkeypatch.chdir(home / "here")
    console.configure(quiet=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; see `builders.browsers`."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def instant_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A finished run with its instant file, not to be changed, and the folder of its photos.

    It is trained once, for all processes of the tests, on a VGG16 with few filters: what builds its
    base again needs `thin_vgg16`.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "instant-run"
    with filelock.FileLock(root / "instant-run.lock"):
        if not (folder / "run" / directory.INSTANT).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            photos = paint_splits(folder / "photos", train=6, val=3, test=3)
            lines = finetune_in(folder, INSTANT_RECIPE.format(photos))
            last = "making instant.tflite, from which `tlcli predict` answers at once"
            assert last in lines
    return Run(folder / "run"), folder / "photos"


@pytest.fixture
def thin_vgg16() -> Iterator[None]:
    """For tests to which the size of the network does not matter: see `networks.thin_vgg16`."""
    from builders import networks

    with networks.thin_vgg16():
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """39 photos of three classes in train, val and test folders: 8, 3 and 2 of each class."""
    return paint_splits(tmp_path / "photos")


@pytest.fixture
def plain_photos(tmp_path: Path) -> Path:
    """36 photos of three classes in class folders: by default 8, 2 and 2 of each in the splits."""
    folder = tmp_path / "plain"
    paint_classes(folder, 12, 300)
    return folder


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Write YAML text as a file in the temporary folder: `write_recipe(text, "name.yaml")`."""

    def write(text: str | bytes, name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


#: The recipe of `instant_run`.
INSTANT_RECIPE = """
data: {{dir: '{}'}}
base: {{name: VGG16, weights: random, image_size: 32}}
augment: {{horizontal_flip: true, views: 1}}
stages: [{{name: head, epochs: 5, learning_rate: 0.05}}]
unknown_rate: 0
"""

#: A recipe over `photos` that trains nothing large.
SMALL = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
stages: [{name: head}, {name: fine-tune, freeze_until: block4_pool}]
"""


@pytest.fixture
def parts(photos: Path, write_recipe: Callable[..., Path]) -> Callable[..., Any]:
    """Recipe and index of `SMALL`, as they are after some overrides: `parts("seed=3")`."""

    def load(*overrides: str) -> tuple[Recipe, dataset.Index]:
        path = write_recipe(SMALL.replace("PHOTOS", str(photos)), "small.yaml")
        chosen = load_recipe(path, overrides)
        return chosen, dataset.read_index(chosen.data)

    return load


#: A recipe in five lines; what a test adds begins on line 6.
PLANNED = "data:\n  dir: {photos}\nbase:\n  {{name: VGG16, weights: random, image_size: 64}}\n"
PLANNED += "head: {{hidden: [256]}}\n"


@pytest.fixture
def load(photos: Path, write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    """The recipe `PLANNED` with more lines and overrides: `load("stages: ...", "seed=3")`."""

    def load(more: str = "", *overrides: str) -> Recipe:
        return load_recipe(write_recipe(PLANNED.format(photos=photos) + more, "r.yaml"), overrides)

    return load


@pytest.fixture
def cli() -> Callable[..., click.testing.Result]:
    """`builders.commands.run_command`: `cli("check", "--config", path).stdout`."""
    return run_command


#: A recipe over `photos` that a whole command can run on in a moment.
CONFIG = """\
data:
  dir: {}
base:
  {{name: VGG16, weights: random, image_size: 48}}
stages:
  - {{name: head}}
  - {{name: fine-tune, freeze_until: block4_pool, learning_rate: 1.0e-5}}
"""


@pytest.fixture
def config(photos: Path, write_recipe: Callable[..., Path]) -> Path:
    """The recipe `CONFIG` as a file, r.yaml."""
    return write_recipe(CONFIG.format(photos), "r.yaml")
