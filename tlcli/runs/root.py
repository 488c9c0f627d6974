"""The folder in which runs are looked for, and in which new ones are put."""

from __future__ import annotations

import os
from pathlib import Path

#: What the command line says, by `--runs-dir`.
_chosen: Path | None = None


def choose_runs_root(folder: Path | None) -> None:
    """Take this folder; with None, what the environment says."""
    global _chosen
    _chosen = folder


def runs_root() -> Path:
    """`--runs-dir`, else `TLCLI_RUNS`, else `runs` in the working folder."""
    return _chosen or Path(os.environ.get("TLCLI_RUNS") or "runs")


def is_root_chosen() -> bool:
    """Whether a command line names the folder, so that the next one has to as well."""
    return _chosen is not None
