"""Whole commands, as users give them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click.testing
import pytest

ROOT = Path(__file__).parents[2]


def run_command(*arguments: object, **settings: Any) -> click.testing.Result:
    """Run a command line in this process.

    A bug is raised, as its traceback would show; what the user causes is in the result.
    """
    from tlcli.cli import main

    # Click before 8.2 puts stderr into stdout, unless it is asked not to.
    settable = inspect.signature(click.testing.CliRunner).parameters
    apart: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in settable else {}
    runner = click.testing.CliRunner(**apart)
    return runner.invoke(main, list(map(str, arguments)), catch_exceptions=False, **settings)


def finetune_in(folder: Path, recipe: str, *words: str) -> list[str]:
    """Train a recipe of this text into `run` in the folder; returns the lines on stderr.

    VGG16 has few filters: see `builders.networks.thin_vgg16`.
    """
    from builders.networks import thin_vgg16

    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    with thin_vgg16(), pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.delenv("TLCLI_INSTANT", raising=False)
        patched.setenv("TLCLI_CACHE", str(folder / "cache"))
        patched.setenv("TLCLI_RUNS", str(folder / "runs"))
        done = run_command("finetune", "--config", "recipe.yaml", "--out", "run", *words)
    assert done.exit_code == 0, done.stderr
    return done.stderr.splitlines()
