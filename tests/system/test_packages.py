"""Versions of packages, whatever name they were installed under."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from tlcli.system.packages import installed_version


def test_a_version_is_that_of_the_package_or_of_one_like_it(monkeypatch: pytest.MonkeyPatch):
    assert installed_version("numpy") == np.__version__
    assert installed_version("no-such-package") is None

    def version(name: str) -> str:
        if name != "tensorflow-cpu":
            raise metadata.PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(metadata, "version", version)
    assert installed_version("tensorflow") == "2.21.0"
    assert installed_version("keras") is None
