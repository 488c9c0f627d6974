"""Scripts and benchmarks as modules: they belong to no package, so that tests load them by path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load_script(path: str, monkeypatch: pytest.MonkeyPatch | None = None) -> ModuleType:
    """The module of a file below the project's root, as in `scripts/boundaries.py`.

    With `monkeypatch` it is among the imported modules, where dataclasses look it up.
    """
    spec = importlib.util.spec_from_file_location(f"{Path(path).stem}_script", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if monkeypatch is not None:
        monkeypatch.setitem(sys.modules, spec.name, module)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend((ROOT / path).parent)  # as for a program: scripts beside it
        spec.loader.exec_module(module)
    return module
