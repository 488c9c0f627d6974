"""The settings of runs, as `--set` names them, and which of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import SHOWN, TlcliError
from tlcli.recipe.recipe import PLACES
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_recipe
from tlcli.system import console

#: Settings of a run by key, as in {'stages.0.learning_rate': 0.001}.
Settings = dict[str, Any]


@dataclass(frozen=True)
class SettingDifference:
    """A setting that two runs have with other values; None for one that a run has not."""

    key: str
    first: Any
    second: Any


def read_settings(run: Run) -> Settings:
    """All settings of a run that can change its result, defaults included.

    Raises a `TlcliError` for a recipe that is missing or damaged.
    """
    flat = flatten(read_recipe(run).resolved())
    return {key: value for key, value in flat.items() if not is_place(key)}


def known_settings(run: Run) -> Settings:
    """As `read_settings`; {} without a recipe, and with a warning for a damaged one."""
    if not run.file(directory.RECIPE).exists():
        return {}
    try:
        return read_settings(run)
    except TlcliError as error:
        console.warn(str(error.problems[0]))
        return {}


def flatten(value: Any, key: str = "") -> Settings:
    """{'a': {'b': [{'c': 1}]}} -> {'a.b.0.c': 1}; lists of plain values stay whole."""
    blocks: Any = ()
    if isinstance(value, dict):
        blocks = value.items()
    elif isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        blocks = enumerate(value)
    if not blocks:
        return {key: value}
    parts = [flatten(entry, f"{key}.{name}" if key else str(name)) for name, entry in blocks]
    return {name: entry for part in parts for name, entry in part.items()}


def is_place(key: str) -> bool:
    """Whether a setting, `data.columns.path`, only says where something lies; see `PLACES`."""
    parts = tuple(key.split("."))
    return any(parts[: len(place)] == place for place in PLACES)


def differing_keys(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values differ between those of some runs that have them, in the recipe's order."""
    keys = {key: None for settings in runs for key in settings}  # in order, each once
    return [
        key
        for key in keys
        if len({short_text(settings[key]) for settings in runs if key in settings}) > 1
    ]


def compare_settings(first: Settings, second: Settings) -> tuple[SettingDifference, ...]:
    """All settings that are not the same in two runs, in the order of the recipe."""
    keys = {key: None for settings in (first, second) for key in settings}
    return tuple(
        SettingDifference(key, first.get(key), second.get(key))
        for key in keys
        if first.get(key) != second.get(key)
    )


def differences_table(
    what: str, differences: Iterable[SettingDifference], runs: Sequence[str]
) -> str:
    """Two runs side by side, under a heading that says `what` differs."""
    rows = [(each.key, short_text(each.first), short_text(each.second)) for each in differences]
    return console.table((what, *runs), rows)


def short_text(value: Any) -> str:
    """A value as it is shown, `SHOWN` characters at most."""
    text = "not set" if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
