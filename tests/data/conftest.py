"""Folders that several tests of data begin with."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Class folders with 8 files each, which are no photos and differ in their bytes."""
    for name in ("cats", "dogs"):
        for number in range(8):
            path = tmp_path / "data" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name} {number}".encode())
    return tmp_path / "data"
