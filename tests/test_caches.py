"""Where things are kept that can be computed or fetched again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli import caches


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert caches.cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("TLCLI_CACHE", "/elsewhere")
    assert caches.cache_folder() == Path("/elsewhere")
    assert caches.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv("TLCLI_CACHE")
    assert caches.cache_folder().name == "tlcli"
    assert caches.features_folder(tmp_path) == tmp_path / "features"
