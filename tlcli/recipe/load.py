"""A recipe from its YAML file and the overrides of the command line."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tlcli.errors import Problem, RecipeError, brief
from tlcli.recipe.defaults import fill_in
from tlcli.recipe.first_layer import resolve_first_layers
from tlcli.recipe.problems import base_of, cross_check, explain_errors
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.search import check_search
from tlcli.system import files
from tlcli.system.object_stores import store_address
from tlcli.system.yaml_loader import MAX_BYTES, MAX_VALUES
from tlcli.system.yamlfile import (
    Document,
    KeyPath,
    dump_yaml,
    format_key,
    is_within_bounds,
    parse_key,
    parse_value,
    parse_yaml,
    read_yaml,
)

#: Blocks that may be written as the value of one of their keys; `--set` may add others to it.
_SHORTHAND = {"optimizer": "name", "schedule": "name", "early_stopping": "patience", "loss": "name"}


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe at `path`, with overrides such as `stages.1.epochs=3` laid over it.

    Names of bases get their proper spelling, paths become absolute (those of the file relative to
    the file, those of overrides relative to the working folder), and what is left out gets its
    default. Raises `RecipeError` with every problem found.
    """
    return _load(read_yaml(path), overrides)


def recipe_from_values(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that the blocks of a mapping make, as `load_recipe` reads them from a file.

    Paths are relative to the working folder. Raises `RecipeError` with every problem found.
    """
    path = Path.cwd() / "recipe"
    # Written and read again, so that what is allowed in a file, and no more, is allowed here.
    document = parse_yaml(dump_yaml(_plain(values)), path)
    return _load(replace(document, is_file=False), overrides)


def _plain(value: Any) -> Any:
    """A value of Python as YAML has it: paths become text, tuples lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    hint = "allowed: text, numbers, true and false, None, paths, lists and mappings of these"
    raise RecipeError(Problem("recipe", f"{brief(repr(value))} cannot stand in a recipe", hint))


def _load(document: Document, overrides: Sequence[str]) -> Recipe:
    """The recipe of a document, with overrides laid over it."""
    path = document.path
    if not isinstance(document.value, dict):
        kind = "nothing" if document.value is None else type(document.value).__name__
        message = f"a recipe is a mapping of keys, found {kind}"
        hint = "it begins with `data:` and `base:`"
        raise RecipeError(Problem(document.where(()), message, hint))
    raw = copy.deepcopy(document.value)
    _absolute(raw, path.absolute().parent)
    document = _apply_overrides(document, raw, _parse_overrides(overrides))
    for name in [name for name in Recipe.model_fields if raw.get(name) is None]:
        raw.pop(name, None)  # a block whose lines are all commented out
    fill_in(raw, path.stem)
    row = base_of(raw)
    problems = [*resolve_first_layers(raw, row, document)] if row else []
    problems += cross_check(raw, document)
    try:
        recipe = Recipe.model_validate(raw, context=document)
        problems = problems or [*check_search(recipe, document)]
    except ValidationError as error:
        problems = [*explain_errors(error, Recipe, raw, document), *problems]
    if problems:
        raise RecipeError(dict.fromkeys(problems))
    # A run keeps it with every default, and must be able to read that.
    if not is_within_bounds(recipe.resolved()):
        message = f"with its defaults it has more than {MAX_VALUES:,} values or 1 MB"
        hint = "use fewer stages, class_weights or aliases"
        raise RecipeError(Problem(document.where(()), message, hint))
    return recipe


def _absolute(raw: dict[str, Any], folder: Path) -> None:
    """Make the paths of a raw recipe absolute, relative to `folder`."""
    known: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
        (("data",), "dir", ()),
        (("data",), "csv", ()),
        (("data",), "exclude", ()),
        (("data",), "labels", ()),
        (("data", "split"), "file", ()),
        (("base",), "weights", ("imagenet", "random")),
        ((), "start_from", ()),
    )
    for blocks, key, words in known:
        values: Any = raw
        for block in blocks:
            values = values.get(block) if isinstance(values, dict) else None
        if isinstance(values, dict) and isinstance(values.get(key), str) and values[key]:
            text = values[key]
            if text not in words and text.strip() and "\0" not in text and not store_address(text):
                home = os.path.expanduser(text)  # noqa: PTH111 - pathlib's raises on a wrong ~user
                values[key] = os.path.abspath(folder / home)  # noqa: PTH100


@dataclass(frozen=True)
class _Override:
    """One `--set`: the key and the value that it means, and the text that the user wrote."""

    key: KeyPath
    value: Any
    text: str


def _parse_overrides(texts: Sequence[str]) -> list[_Override]:
    """The overrides in the order in which they apply.

    Those of stages come last: the default stages, which they may change, follow from the base.
    """
    overrides = [_parse_override(text) for text in texts]
    return sorted(overrides, key=lambda override: override.key[0] == "stages")


def _parse_override(text: str) -> _Override:
    name, equals, written = text.partition("=")
    key = parse_key(name.strip())
    if not equals or "" in key:
        raise RecipeError(Problem(f"--set {text}", "must be key=value, as in seed=3"))
    try:
        return _Override(key, parse_value(written), text)
    except RecipeError as error:
        message = error.problems[0].message
        raise RecipeError(Problem(f"--set {text}", message)) from error


def _apply_overrides(
    document: Document, raw: dict[str, Any], overrides: Sequence[_Override]
) -> Document:
    """Lay overrides over the raw recipe; returns the document that knows where they apply."""
    origins: dict[KeyPath, str] = {}
    for override in overrides:
        key, block = override.key, override.key[0]
        if block == "stages" and len(key) > 1 and raw.get("stages") is None:
            fill_in(raw, document.path.stem)
        # Paths of an override are relative to the working folder, so they are made absolute apart.
        patch: dict[str, Any] = {}
        target = patch if block in ("data", "base", "start_from") else raw
        origins[_put(target, key, override.value, override.text)] = override.text
        _absolute(patch, Path.cwd())
        _merge(raw, patch)
    return document.overridden(origins)


def _merge(values: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _put(target: Any, key: KeyPath, value: Any, text: str) -> KeyPath:
    """Set `target[key[0]][key[1]]...` to `value`, making mappings on the way.

    Returns the key as it applies: what looks like an index may be a word in a mapping.
    """
    applied: KeyPath = ()
    for position, part in enumerate(key):
        last = position == len(key) - 1
        if isinstance(target, list) and isinstance(part, int):
            if part >= len(target):
                raise RecipeError(
                    Problem(
                        f"--set {text}", f"{format_key(key[:position])} has {len(target)} entries"
                    )
                )
        elif isinstance(target, dict):
            part = str(part)
            present = target.get(part)
            if not last and isinstance(present, str | int | float | None):
                named = part in _SHORTHAND and present is not None
                target[part] = {_SHORTHAND[part]: present} if named else {}
        else:
            raise RecipeError(
                Problem(f"--set {text}", f"there is no {format_key(key[: position + 1])}")
            )
        applied += (part,)
        if last:
            target[part] = value
        else:
            target = target[part]
    return applied


def find_recipe(folder: Path) -> Path:
    """The recipe that is meant where `--config` is left out.

    `recipe.yaml`, or the only YAML file of `folder` that holds a recipe; otherwise a `RecipeError`.
    """
    if (folder / "recipe.yaml").is_file():
        return folder / "recipe.yaml"
    paths = sorted(
        path
        for pattern in ("*.yaml", "*.yml")
        for path in folder.glob(pattern)
        if _looks_like_a_recipe(path)
    )
    if len(paths) == 1:
        return paths[0]
    if paths:
        names = ", ".join(path.name for path in paths)
        problem = Problem("--config", f"{len(paths)} recipes here: {names}", "name one of them")
    else:
        problem = Problem(
            "--config",
            "no recipe in this folder",
            "name one, or write one for your photos with `tlcli init DIR`",
        )
    raise RecipeError(problem)


def _looks_like_a_recipe(path: Path) -> bool:
    try:
        value = read_yaml(path).value
    except RecipeError:
        # A recipe with a mistake in it counts: the mistake should be reported, not passed over.
        with suppress(OSError), files.open_regular(path) as file:
            return re.search(rb"^base\s*:", file.read(MAX_BYTES) or b"", re.MULTILINE) is not None
        return False
    return isinstance(value, dict) and "base" in value
