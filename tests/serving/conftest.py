"""One small run for all tests of servers, and servers over it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from builders.photos import paint_classes
from starlette.testclient import TestClient

from tlcli.runs.directory import INSTANT, Run
from tlcli.serving.app import Server
from tlcli.serving.guards import Access
from tlcli.serving.limits import Limits
from tlcli.serving.metrics import ServerMetrics
from tlcli.serving.models import ModelTable
from tlcli.serving.served_model import Shared

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A finished run with its instant file, and the folder of its photos."""
    folder = tmp_path_factory.mktemp("serving")
    photos = folder / "photos"
    for split, number, seed in (("train", 6, 0), ("val", 3, 100), ("test", 3, 200)):
        paint_classes(photos / split, number, first_seed=seed)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"data: {{dir: {photos}}}\n"
        "base: {name: VGG16, weights: random, image_size: 32}\n"
        "stages: [{name: head, epochs: 5, learning_rate: 0.05}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tlcli", "finetune", "--config", str(recipe), "--out", "run"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TLCLI_CACHE": str(folder / "cache"),
             "TLCLI_RUNS": str(folder / "runs"), "TLCLI_INSTANT": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = Run(folder / "run")
    assert run.file(INSTANT).is_file(), done.stderr
    return run, photos


@pytest.fixture
def test_photos(trained: tuple[Run, Path]) -> list[Path]:
    """The test photos of the run."""
    return sorted((trained[1] / "test").rglob("*.png"))


class Serving(TestClient):
    """A client of a server in this process, with the models of that server."""

    models: ModelTable


@pytest.fixture
def serving(trained: tuple[Run, Path]) -> Iterator[Callable[..., Serving]]:
    """Start a server of some models, by default of the one run under the name `pets`."""
    with ExitStack() as stack:

        def start(
            sources: Any = None, *, limits: Limits | None = None, access: Access | None = None,
            connections: Callable[[], int] = lambda: 0,
        ) -> Serving:  # fmt: skip
            shared = Shared.create(limits or Limits(), ServerMetrics())
            models = ModelTable(sources or [("pets", str(trained[0].path))], shared)
            client = Serving(Server(models, access or Access(), connections).app)
            client.models = models
            return stack.enter_context(client)

        yield start
