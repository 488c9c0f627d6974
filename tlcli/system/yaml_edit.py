"""Change one value of a YAML text and leave every other character as it is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tlcli.errors import RecipeError
from tlcli.system.yaml_loader import compose_yaml
from tlcli.system.yamlfile import KeyPath, dump_yaml, parse_yaml


def set_value(text: str, key: KeyPath, value: Any) -> str | None:
    """The text with a scalar at `key`, in the place of the old one or after its first sibling.

    Comments, order, quotes and line ends stay. None where that cannot be done for certain: the
    mapping around `key` is not in the text, the value is a whole block, or an alias or an anchor
    would carry the change to other places.
    """
    path = Path("text")
    try:
        node, document = compose_yaml(text, path), parse_yaml(text, path)
        holder = node and _inside(node, key[:-1])
        if not isinstance(holder, yaml.MappingNode):
            return None
        edited = _edited(text, holder, str(key[-1]), dump_yaml(value).split("\n")[0])
        if edited is None:
            return None
        wished = copy.deepcopy(document.value)
        _assign(wished, key, value)
        # Whatever aliases and odd layouts do: what is read back must be what was meant.
        return edited if parse_yaml(edited, path).value == wished else None
    except RecipeError:
        return None


def _inside(node: yaml.Node, key: KeyPath) -> yaml.Node | None:
    """The node at `key` below `node`."""
    for part in key:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                return None
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode) and isinstance(part, str):
            values = [value for name, value in node.value if name.value == part]
            if not values:
                return None
            node = values[0]
        else:
            return None
    return node


def _edited(text: str, holder: yaml.MappingNode, name: str, written: str) -> str | None:
    for key, value in holder.value:
        if key.value == name:
            start: int = value.start_mark.index
            end: int = value.end_mark.index
            is_own = isinstance(value, yaml.ScalarNode) and start >= key.end_mark.index
            if not is_own or text[start : start + 1] == "&":
                return None
            gap = " " if start == end and text[start - 1 : start] == ":" else ""  # an empty value
            return text[:start] + gap + written + text[end:]
    return _inserted(text, holder, f"{name}: {written}")


def _inserted(text: str, holder: yaml.MappingNode, line: str) -> str | None:
    """The text with one more line, or entry, after the first scalar of a mapping."""
    for key, value in holder.value:
        end: int = value.end_mark.index
        on_line = value.end_mark.line == key.start_mark.line
        if not isinstance(value, yaml.ScalarNode) or not on_line or end < key.end_mark.index:
            continue
        if holder.flow_style:
            return f"{text[:end]}, {line}{text[end:]}"
        stop = text.find("\n", end)
        stop = len(text) if stop < 0 else stop
        new_line = "\r\n" if text[stop - 1 : stop] == "\r" else "\n"
        stop -= new_line == "\r\n"
        column: int = key.start_mark.column
        return text[:stop] + new_line + " " * column + line + text[stop:]
    return None


def _assign(target: Any, key: KeyPath, value: Any) -> None:
    for part in key[:-1]:
        target = target[part]
    target[key[-1]] = value
