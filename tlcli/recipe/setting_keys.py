"""The keys of a recipe as `--set` names them, with the values that some of them allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlcli.recipe.recipe import recipe_schema

_Schema = Mapping[str, Any]


def setting_keys(stages: int = 2) -> dict[str, tuple[str, ...]]:
    """Every key of a recipe with so many stages, each with its allowed values; () for any."""
    schema = recipe_schema()
    return dict(_keys(schema, schema, "", stages))


def _keys(
    schema: _Schema, block: _Schema, prefix: str, stages: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, part in block.get("properties", {}).items():
        key = f"{prefix}{name}"
        kinds = [*_alternatives(schema, part)]
        inner = [kind for kind in kinds if "properties" in kind]
        items = [item for kind in kinds for item in _blocks_of_list(schema, kind)]
        for item in items:
            for number in range(stages):
                yield from _keys(schema, item, f"{key}.{number}.", stages)
        for kind in inner:
            yield from _keys(schema, kind, f"{key}.", stages)
        if len(inner) + len(items) < len(kinds) and not items:
            yield key, tuple(value for kind in kinds for value in _values(kind))


def _alternatives(schema: _Schema, part: _Schema) -> Iterator[_Schema]:
    """What may stand at a place: the schema there, or each of several, references followed."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    if "anyOf" in part:
        for choice in part["anyOf"]:
            yield from _alternatives(schema, choice)
    elif part.get("type") != "null":
        yield part


def _blocks_of_list(schema: _Schema, part: _Schema) -> Iterator[_Schema]:
    if isinstance(part.get("items"), Mapping):
        yield from (kind for kind in _alternatives(schema, part["items"]) if "properties" in kind)


def _values(part: _Schema) -> tuple[str, ...]:
    if part.get("type") == "boolean":
        return ("true", "false")
    values = part.get("enum", [part["const"]] if "const" in part else [])
    return tuple(map(str, values))
