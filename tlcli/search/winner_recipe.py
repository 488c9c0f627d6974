"""The recipe of a winner: the user's with the settings that were found, and how they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlcli.data.starter_recipe import place_from
from tlcli.recipe.search import setting
from tlcli.search.tune import SearchOutcome
from tlcli.system.console import one_line
from tlcli.system.yamlfile import KeyPath, dump_yaml, parse_key, parse_yaml

#: The column at which comments begin.
_COLUMN = 40


def write_winner_text(outcome: SearchOutcome, path: Path) -> str:
    """The text of the recipe as the file `path`: settings that were searched say what they were."""
    recipe, settings = outcome.recipe, outcome.best.settings
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    for key in ("dir", "csv", "exclude", "labels"):
        if values["data"].get(key):
            values["data"][key] = place_from(path, Path(values["data"][key]))
    if (values["data"].get("split") or {}).get("file"):
        values["data"]["split"]["file"] = place_from(path, Path(values["data"]["split"]["file"]))
    if recipe.base.weights not in ("imagenet", "random"):
        values["base"]["weights"] = place_from(path, Path(recipe.base.weights))
    resolved = recipe.resolved()
    for name in settings:  # also where the winner has the default
        _fill(values, resolved, parse_key(name))
    text = dump_yaml(values)
    lines, places = text.splitlines(), parse_yaml(text, path).lines
    for name in settings:
        before = setting(outcome.plan.recipe, parse_key(name))
        after = setting(recipe, parse_key(name))
        same = "as before" if before == after else f"was {one_line(str(before))}"
        number = places[parse_key(name)] - 1
        lines[number] = f"{lines[number]:<{_COLUMN}}  # searched; {same}"
    return "\n".join([*_head(outcome), "", *lines, ""])


def _fill(values: Any, resolved: Any, key: KeyPath) -> None:
    """Have `values` hold a key of `resolved`; blocks on the way are added."""
    for part in key[:-1]:
        resolved = resolved[part]
        if isinstance(values, dict):
            if not isinstance(values.get(part), dict | list):
                values[part] = {}
            values = values[part]
        else:
            values = values[part]
    values[key[-1]] = resolved[key[-1]]


def _head(outcome: SearchOutcome) -> list[str]:
    """Where the recipe comes from, as comments."""
    best, plan = outcome.best, outcome.plan
    lines = [
        f"The winner of a search by `tlcli tune`: trial {best.number} of "
        f"{len(outcome.trials):,}, by {plan.objective} of the validation photos.",
        f"Study: {outcome.study.folder}, from {plan.recipe.path.name}.",
        f"Its val_loss {best.val_loss:.4f} and val_accuracy {best.val_accuracy:.4f} are those it "
        "was chosen by, and so are optimistic.",
    ]
    untrained = [stage.name for stage in plan.recipe.stages[len(plan.base.stages) :]]
    if untrained:
        lines.append(f"No trial has trained the stages after the head: {', '.join(untrained)}.")
    return [f"# {one_line(line)}" for line in lines]
