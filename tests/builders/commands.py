"""Whole commands in processes of their own, as users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def finetune_in(folder: Path, recipe: str, *words: str) -> list[str]:
    """Train a recipe of this text into `run` in the folder; returns the lines on stderr."""
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    command = ["finetune", "--config", "recipe.yaml", "--out", "run", *words]
    done = subprocess.run(
        [sys.executable, "-m", "tlcli", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TLCLI_CACHE": str(folder / "cache"),
             "TLCLI_RUNS": str(folder / "runs")},
        capture_output=True,
        text=True,
        timeout=900,  # of a machine that does much else
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()
