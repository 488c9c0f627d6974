"""The `search` block of a recipe: the settings that `tlcli tune` varies, and their values.

    search:
      head.hidden: [[], [128], [256, 64]]              # one of these
      head.dropout: {uniform: [0, 0.6]}                # any number between two
      stages.0.learning_rate: {log: [1e-4, 1e-2]}      # the same, even on a logarithmic scale
      stages.0.epochs: {int: [10, 40]}                 # a whole number

A run does not depend on the block, which is therefore no part of its fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import ValidationError

from tlcli.errors import Problem, RecipeError, brief, nearest
from tlcli.networks.bases import BASES
from tlcli.recipe.block import Block
from tlcli.recipe.first_layer import BOUNDARY, NAME, resolve_first_layers
from tlcli.recipe.problems import cross_check, explain_errors
from tlcli.recipe.recipe import Recipe
from tlcli.recipe.settings import Head
from tlcli.recipe.stage_settings import Stage
from tlcli.system.yamlfile import Document, KeyPath, format_key, parse_key

Scale = Literal["log", "uniform", "int"]
SCALES: tuple[str, ...] = get_args(Scale)

#: Settings of a stage that say nothing about how it trains, or by what trials are compared.
_NOT_SEARCHED = ("name", "monitor")

#: Settings outside of `head` and `stages` that can be searched: those that leave the pixels alone.
_OTHERS = ("batch_size", "base.freeze_until", "base.batch_norm", "augment.views", "augment.mixup")

_FORMS = "a list of values, or {log: [a, b]}, {uniform: [a, b]} or {int: [a, b]}"


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that must be allowed."""
        return self.values

    def __str__(self) -> str:
        return ", ".join(map(brief, self.values))


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`: even on a logarithmic or a plain scale, or a whole one."""

    scale: Scale
    low: float
    high: float

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that must be allowed: both ends and one between them, which is not whole."""
        if self.scale == "int":
            return (int(self.low), int(self.high))
        return (self.low, self.high, self.low + 0.3719 * (self.high - self.low))

    def __str__(self) -> str:
        scale = {"log": " (logarithmic)", "uniform": "", "int": " (whole numbers)"}[self.scale]
        return f"{self.low:g} to {self.high:g}{scale}"


@dataclass(frozen=True)
class Dimension:
    """One setting of a search: its key as `--set` takes it, and what it may be."""

    name: str
    domain: Choices | Between

    @property
    def key(self) -> KeyPath:
        """The place of the setting in the recipe."""
        return parse_key(self.name)


def read_space(recipe: Recipe) -> tuple[Dimension, ...]:
    """The space that a loaded recipe declares, or the default one."""
    if recipe.search is None:
        return default_space(recipe)
    return tuple(
        Dimension(name, _parse_domain(value)) for name, value, _ in _entries(recipe.search)
    )


def default_space(recipe: Recipe) -> tuple[Dimension, ...]:
    """What is worth asking where a recipe does not say: the head, and the rate it is trained at."""
    rate = recipe.stages[0].learning_rate
    return (
        Dimension("head.hidden", Choices(([], [64], [256], [512]))),
        Dimension("head.dropout", Between("uniform", 0.0, 0.7)),
        Dimension("head.l2", Between("log", 1e-6, 1e-2)),
        Dimension("stages.0.learning_rate", Between("log", rate / 10, min(rate * 10, 10.0))),
    )


def list_keys(recipe: Recipe) -> list[str]:
    """The keys that a space may have, in the order of the recipe."""
    keys = [f"head.{name}" for name in Head.model_fields]
    for number in range(len(recipe.stages)):
        for name, field in Stage.model_fields.items():
            if name not in _NOT_SEARCHED:
                keys.append(f"stages.{number}.{name}")
                block = next((k for k in _types(field.annotation) if issubclass(k, Block)), None)
                keys += [f"stages.{number}.{name}.{part}" for part in _fields(block)]
    return [*keys, *_OTHERS]


def _types(annotation: Any) -> Iterator[type]:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type):
            yield kind


def _fields(block: type[Block] | None) -> list[str]:
    return list(block.model_fields) if block else []


def with_settings(recipe: Recipe, values: Mapping[KeyPath, Any]) -> Recipe:
    """The recipe with other values for some settings, and without its space.

    Raises `RecipeError` where it does not allow them.
    """
    raw = recipe.resolved()
    raw.pop("search", None)
    for key, value in values.items():
        _put(raw, key, value)
        # Without stages of its own, the recipe has this boundary in the last of the default ones.
        if key == ("base", "freeze_until") and not recipe.has_key("stages"):
            raw["stages"][-1]["freeze_until"] = value
    overrides = {key: f"{format_key(key)}={brief(value)}" for key, value in values.items()}
    changes = recipe.document.overridden({**recipe.document.overrides, **overrides})
    problems = [*resolve_first_layers(raw, BASES[recipe.base.name], changes)]
    problems += cross_check(raw, changes)
    try:
        changed = Recipe.model_validate(raw, context=recipe.document)
    except ValidationError as error:
        problems = [*explain_errors(error, Recipe, raw, changes), *problems]
    if problems:
        raise RecipeError(dict.fromkeys(problems))
    return changed


def _put(raw: Any, key: KeyPath, value: Any) -> None:
    for part in key[:-1]:
        if isinstance(raw, dict) and raw.get(part) is None:
            raw[part] = {}
        raw = raw[part]
    raw[key[-1]] = value
    for name, other in ((NAME, BOUNDARY), (BOUNDARY, NAME)):
        if key[-1] == name:  # each takes the place of the other
            raw.pop(other, None)


def setting(recipe: Recipe, key: KeyPath) -> Any:
    """The value of a setting as plain data; None where its block is left out."""
    value: Any = recipe.resolved()
    for part in key:
        known = isinstance(value, list) or (isinstance(value, dict) and part in value)
        value = value[part] if known else None
    return value


def check_search(recipe: Recipe, document: Document) -> Iterator[Problem]:
    """What is wrong with the space of a recipe that is right in everything else."""
    if recipe.search is None:
        return
    allowed = list_keys(recipe)
    seen = set()
    for name, value, place in _entries(recipe.search):
        where = document.where(("search", *place))
        if name in seen:
            yield Problem(where, f"{name} is given twice", "give it once")
        elif name not in allowed:
            yield _unknown_key(where, name, allowed)
        elif name == "base.freeze_until" and recipe.has_key("stages"):
            hint = "search stages.1.freeze_until, or whichever stage it is"
            yield Problem(where, "has no effect, since the recipe lists its stages", hint)
        else:
            yield from _check_domain(recipe, name, value, where)
        seen.add(name)


def _unknown_key(where: str, name: str, allowed: list[str]) -> Problem:
    if name == "seed":
        return Problem(where, "a seed is not searched: it would be a search for luck", "leave out")
    if name.startswith("augment.") or name.startswith(("data.", "base.", "precision", "features.")):
        message = "cannot be searched: other pixels or activations need the trunk once more each"
        return Problem(where, message, "compare runs with --set, or bases with `tlcli advise`")
    guess = nearest(name, allowed)
    listed = "head.*, stages.N.*, batch_size and others; docs/choosing.md lists them"
    hint = f"did you mean '{guess}'? (allowed: {listed})" if guess else f"allowed: {listed}"
    return Problem(where, f"'{name}' is not a setting that can be searched", hint)


def _check_domain(recipe: Recipe, name: str, value: Any, where: str) -> Iterator[Problem]:
    try:
        domain = _parse_domain(value)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        yield Problem(where, message, hint or f"give {_FORMS}")
        return
    key = parse_key(name)
    for example in domain.examples:
        try:
            with_settings(recipe, {key: example})
        except RecipeError as error:
            problem = error.problems[0]
            message = problem.message
            if not message.startswith("found "):
                message = f"found {brief(example)}; {message}"
            if isinstance(domain, Between) and "whole number" in problem.hint:
                yield Problem(where, f"{name} is a whole number", "use {int: [a, b]}")
            else:
                yield Problem(where, message, problem.hint)
            return


def _entries(
    block: Mapping[str, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Each setting: its key, what it may be, and its place in the block, which may be nested."""
    for name, value in block.items():
        here = (*place, name)
        if isinstance(value, Mapping) and value and not set(value) <= set(SCALES):
            yield from _entries(value, here)
        else:
            yield ".".join(map(str, parse_key(".".join(here)))), value, here


def _parse_domain(value: Any) -> Choices | Between:
    """The domain that a recipe writes; `ValueError` with what is wrong, and a hint after '; '."""
    if isinstance(value, list | tuple):
        distinct: list[Any] = []
        for entry in value:
            if not any(type(entry) is type(other) and entry == other for other in distinct):
                distinct.append(entry)
        if len(distinct) < 2:
            shown = brief(list(value))
            raise ValueError(f"found {shown}: one value is no choice; name two or more")
        return Choices(tuple(distinct))
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= set(SCALES):
        raise ValueError(f"found {brief(value)}")
    ((scale, pair),) = value.items()
    numbers = isinstance(pair, list | tuple) and [type(entry) for entry in pair]
    if not numbers or len(numbers) != 2 or not set(numbers) <= {int, float}:
        raise ValueError(f"found {brief(value)}; must be {{{scale}: [a, b]}} with two numbers")
    if scale == "int" and float in numbers:
        raise ValueError(f"found {brief(value)}; both must be whole numbers")
    low, high = pair
    if low == high:
        raise ValueError(f"found {brief(value)}: one value is no choice; widen it")
    if low > high or (scale == "log" and low <= 0):
        least = "0 < a < b" if scale == "log" else "a < b"
        raise ValueError(f"found {brief(value)}; must be [a, b] with {least}")
    return Between(scale, low, high)
