"""One small run for all tests of servers, and servers over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tlcli.runs.directory import Run
from tlcli.serving.app import Server
from tlcli.serving.guards import Access
from tlcli.serving.limits import Limits
from tlcli.serving.metrics import ServerMetrics
from tlcli.serving.models import ModelTable
from tlcli.serving.served_model import Shared


@pytest.fixture(scope="session")
def trained(instant_run: tuple[Run, Path]) -> tuple[Run, Path]:
    """A finished run with its instant file, and the folder of its photos."""
    return instant_run


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
