"""Whole commands in processes of their own, as users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: `python -m tlcli` with few filters in VGG16: see `builders.networks.thin_vgg16`.
WITH_THIN_VGG16 = """
from builders.networks import thin_vgg16
from tlcli.cli import main
with thin_vgg16():
    main()
"""


def finetune_in(folder: Path, recipe: str, *words: str, thin: bool = False) -> list[str]:
    """Train a recipe of this text into `run` in the folder; returns the lines on stderr.

    With `thin`, VGG16 has few filters.
    """
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    command = ["finetune", "--config", "recipe.yaml", "--out", "run", *words]
    done = subprocess.run(
        [sys.executable, *(["-c", WITH_THIN_VGG16] if thin else ["-m", "tlcli"]), *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
             "TLCLI_CACHE": str(folder / "cache"),
             "TLCLI_RUNS": str(folder / "runs")},
        capture_output=True,
        text=True,
        timeout=900,  # of a machine that does much else
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()
