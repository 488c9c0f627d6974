"""Optuna, which comes with an extra and is imported where a search begins."""

from __future__ import annotations

import importlib.util

from tlcli.errors import Problem, TlcliError


def require_optuna() -> None:
    """Raise `TlcliError` where Optuna is not installed, with the command that installs it."""
    if importlib.util.find_spec("optuna") is None:
        hint = "install it with pip install 'tlcli[search]'"
        raise TlcliError(Problem("tlcli tune", "needs Optuna, which is not installed", hint))
