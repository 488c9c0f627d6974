"""Folders with a finished run that several tests begin with, each as if it had trained it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Home:
    """Photos, a feature store and runs in one folder, which is put back as it was for each test.

    Runs hold absolute paths, so the folder stays where it is and its first state is kept beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._kept = folder / "home", folder / "kept"
        self.folder.mkdir()

    @contextmanager
    def filled(self) -> Iterator[Path]:
        """The empty folder, in which commands keep things; what they leave is the first state."""
        with pytest.MonkeyPatch.context() as patched:
            self._name(patched)
            yield self.folder
        shutil.copytree(self.folder, self._kept, symlinks=True)

    def restore(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder in its first state, for the rest of a test."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder, symlinks=True)
        self._name(monkeypatch)
        return self.folder

    def _name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TLCLI_CACHE", str(self.folder / "cache"))
        monkeypatch.setenv("TLCLI_RUNS", str(self.folder / "runs"))
