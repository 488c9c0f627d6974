"""Several finished runs in one folder that differ in settings and scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.runs import write_finished_run
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.system import files


class RunFolder:
    """`runs_root()` with copies of one run, each changed in settings and scores.

    Args:
        photos: where the photos of the runs are painted.
    """

    def __init__(self, photos: Path) -> None:
        self.root = directory.runs_root()
        self._first = write_finished_run(photos.parent / "first", photos, each=3)
        self._number = 0

    def add(
        self, name: str, settings: Mapping[str, Any] | None = None, *, val: float = 0.8,
        test: float | None = 0.8, **record: Any,
    ) -> Run:  # fmt: skip
        """A run with blocks of the recipe in the place of those that it has."""
        run = Run(self.root / name)
        shutil.copytree(self._first.path, run.path)
        self._number += 1
        created = f"2030-01-02T03:{self._number:02d}:05+00:00"
        files.write_json(run.file(directory.RECORD), {**run.record(), "created": created, **record})
        recipe = json.loads(run.file(directory.RECIPE).read_text())
        run.file(directory.RECIPE).write_text(json.dumps({**recipe, **(settings or {})}))
        outcome = run.read(directory.SUMMARY)
        outcome["stages"][-1]["val_accuracy"] = val
        outcome["test"] = None if test is None else {"accuracy": test, "loss": 0.3, "n": 100}
        files.write_json(run.file(directory.SUMMARY), outcome)
        return run
