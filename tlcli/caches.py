"""Where tlcli keeps what can be computed or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(given: Path | None = None) -> Path:
    """The home of what can be computed again: `given`, `TLCLI_CACHE`, or the system's place."""
    chosen = given or os.environ.get("TLCLI_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("tlcli"))


def features_folder(cache: Path) -> Path:
    """The feature store's folder in a cache."""
    return cache / "features"
