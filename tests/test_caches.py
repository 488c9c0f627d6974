"""Where things are kept that can be computed or fetched again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.system import files


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert files.cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("TLCLI_CACHE", "/elsewhere")
    assert files.cache_folder() == Path("/elsewhere")
    assert files.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv("TLCLI_CACHE")
    assert files.cache_folder().name == "tlcli"
    assert files.features_folder(tmp_path) == tmp_path / "features"
