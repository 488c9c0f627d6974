"""The recipe with which training goes on from a run: its own, with fewer epochs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from tlcli.data.read_layout import read_layout
from tlcli.errors import TlcliError
from tlcli.recipe.load import load_recipe
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.model_file import read_card
from tlcli.system.yamlfile import KeyPath, parse_key

#: The share of a recipe's epochs that a network trains which starts from another run's: in stages
#: that tune the base, and in those of the head alone, which cost little.
TUNING_SHARE, HEAD_SHARE = 1 / 15, 1 / 3


def start_from(
    run: Run, config: Path | None, overrides: Sequence[str]
) -> tuple[Path, tuple[str, ...]]:
    """The recipe with which training goes on from a run, and the settings to lay over it.

    Without another one it is the run's own. One that does not start from a run yet is shortened:
    see `_shortened`. Raises what `load_recipe` raises.
    """
    path = config or run.file(directory.RECIPE)
    recipe = load_recipe(path, overrides)
    changes = [f"start_from={json.dumps(str(run.path.absolute()))}"]
    if recipe.start_from is None:
        named = {parse_key(text.partition("=")[0].strip()) for text in overrides}
        stages = _shortened(recipe, named, new_classes=_has_new_classes(run, recipe))
        changes.append(f"stages={json.dumps(stages)}")
    return path, (*overrides, *changes)


def _shortened(recipe: Recipe, named: Set[KeyPath], *, new_classes: bool) -> list[dict[str, Any]]:
    """The stages of a recipe for a network that is trained already: a share of their epochs.

    Those of the head alone are left out where it need not learn new classes: it fits the layers
    below as they are. What a user has `named` stays.
    """
    stages: list[dict[str, Any]] = recipe.resolved()["stages"]
    tunes = any(stage.freeze_until for stage in recipe.stages)
    kept = []
    for number, stage in enumerate(stages):
        of_head = recipe.stages[number].freeze_until is None
        if ("stages", number, "epochs") not in named:
            share = HEAD_SHARE if of_head else TUNING_SHARE
            stage["epochs"] = math.ceil(share * stage["epochs"])
        chosen = any(key[:2] == ("stages", number) for key in named)
        if chosen or new_classes or not (of_head and tunes):
            kept.append(stage)
    return kept


def _has_new_classes(run: Run, recipe: Recipe) -> bool:
    """Whether the photos have classes that a run does not know, as far as folders or table tell."""
    try:
        known = read_card(run.file(directory.MODEL))["classes"]
        return not set(read_layout(recipe.data).classes) <= set(known)
    except TlcliError:  # the preflight reports it, with all that is wrong
        return False
