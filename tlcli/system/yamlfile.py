"""Read YAML as plain values with the line of each key, within limits; write values as YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tlcli.errors import Problem, RecipeError, reason
from tlcli.system import files
from tlcli.system.yaml_loader import (
    BOUNDS,
    FLOAT,
    INT,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_KEY,
    MAX_VALUES,
    TEXT,
    Loader,
    open_loader,
)

#: The place of a value: mapping keys and list indexes from the root, as in ("stages", 1, "epochs").
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A YAML file, or values that were made in Python.

    Attributes:
        path: of the file.
        value: of the whole document.
        lines: the line, from 1, of each key.
        overrides: the keys that `--set` has replaced, as the user wrote them.
        is_file: whether lines mean something to the user.
    """

    path: Path
    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)
    is_file: bool = True

    def overridden(self, overrides: Mapping[KeyPath, str]) -> Document:
        """The same document with a note of the keys that `--set` has replaced."""
        return replace(self, overrides=overrides)

    def has_key(self, key: KeyPath) -> bool:
        """Whether the file or `--set` has `key` or a key inside it."""
        return key in self.lines or any(other[: len(key)] == key for other in self.overrides)

    def where(self, key: KeyPath) -> str:
        """`file:line: key`, with the line of the nearest enclosing key that is in the file.

        A key that `--set` has replaced, or a part of it, is named by that option instead.
        """
        for end in range(len(key), 0, -1):
            if key[:end] in self.overrides:
                return f"--set {self.overrides[key[:end]]}"
        for other, text in self.overrides.items():
            if key and other[: len(key)] == key:
                return f"--set {text}"
        if not self.is_file:
            return format_key(key) or self.path.name
        for end in range(len(key), -1, -1):
            line = self.lines.get(key[:end])
            if line is not None:
                break
        else:
            line = 1
        return ": ".join(filter(None, (f"{self.path.name}:{line}", format_key(key))))


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or `Loader` would read as something other than text."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Between single quotes PyYAML writes U+0085 as a line end, which reads back as a space.
    style = '"' if "\x85" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def format_key(key: KeyPath) -> str:
    """("stages", 1, "epochs") -> 'stages[1].epochs'."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_key(text: str) -> KeyPath:
    """'stages.1.epochs' or 'stages[1].epochs' -> ("stages", 1, "epochs")."""
    parts = text.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if re.fullmatch("[0-9]{1,9}", part) else part for part in parts)


def read_yaml(path: Path) -> Document:
    """Read a YAML file; raises `RecipeError` for every failure, with the line if there is one."""
    try:
        with files.open_regular(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError(
            Problem(str(path), "no such file", "`tlcli init DIR` writes a starter recipe")
        ) from None
    except OSError as error:
        raise RecipeError(Problem(str(path), f"cannot be read: {reason(error)}")) from error
    if len(raw) > MAX_BYTES:
        raise RecipeError(Problem(str(path), "larger than 1 MB", "this is not a recipe"))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RecipeError(Problem(f"{path.name}:{line}", "not UTF-8 text")) from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Document:
    """Parse YAML text that came from `path`."""
    with open_loader(text, path) as loader:
        node = loader.get_single_node()
        if node is None:
            return Document(path, None)
        reader = _DocumentReader(path.name, loader)
        return Document(path, reader.construct(node, ()), reader.lines)


def parse_value(text: str) -> Any:
    """The value of `--set key=TEXT`, read as YAML: 3, 1e-5, true, [256], {name: sgd}."""
    return parse_yaml(text, Path("--set")).value


def quote_scalar(text: str) -> str:
    """Text as a YAML scalar, in quotes if it needs them."""
    return dump_yaml(text).removesuffix("\n").removesuffix("\n...")


def dump_yaml(value: Any) -> str:
    """Plain values as YAML text, from which `read_yaml` gets the same values."""
    dumped: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000
    )
    return dumped


def is_within_bounds(value: Any) -> bool:
    """Whether `read_yaml` would accept these values, written by `dump_yaml`."""
    return _count(value) <= MAX_VALUES and len(dump_yaml(value).encode()) <= MAX_BYTES


def _count(value: Any) -> int:
    entries = value.values() if isinstance(value, dict) else value
    return 1 + sum(map(_count, entries)) if isinstance(value, dict | list) else 1


class _DocumentReader:
    """Turns nodes into values and counts values and characters.

    Attributes:
        lines: the line, from 1, of each key so far.
    """

    def __init__(self, file_name: str, loader: Loader) -> None:
        self._file_name, self._loader = file_name, loader
        self.lines: dict[KeyPath, int] = {}
        self._values = self._characters = 0

    def construct(self, node: yaml.Node, key: KeyPath) -> Any:
        self._values += 1
        # Aliases are expanded here, so nested aliases that would grow without end stop here.
        if self._values > MAX_VALUES or len(key) > MAX_DEPTH:
            raise self._fail(node, BOUNDS)
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.construct(item, (*key, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._fail(name_node, "a key must be a word")
            name: str = self._text(name_node)
            if len(name) > MAX_KEY:
                raise self._fail(name_node, f"a key has more than {MAX_KEY:,} characters")
            if name in mapping:
                raise self._fail(name_node, f"the key '{name}' is given twice")
            self.lines[(*key, name)] = name_node.start_mark.line + 1
            mapping[name] = self.construct(value_node, (*key, name))
        return mapping

    def _scalar(self, node: yaml.Node) -> Any:
        text = self._text(node)
        # The length first: Python refuses numbers with thousands of digits, or needs very long.
        if node.tag == INT and (len(text) > 60 or abs(int(text.replace("_", ""))) >= 2**63):
            shown = text if len(text) <= 60 else text[:57] + "..."
            raise self._fail(node, f"{shown} is too large a number; quote it if it is text")
        return self._loader.construct_object(node)

    def _text(self, node: yaml.Node) -> str:
        """The text of a scalar; its characters count again wherever an alias repeats it."""
        self._characters += len(node.value)
        if self._characters > MAX_BYTES:
            raise self._fail(node, TEXT)
        text: str = node.value
        return text

    def _fail(self, node: yaml.Node, message: str) -> RecipeError:
        line = node.start_mark.line + 1
        return RecipeError(Problem(f"{self._file_name}:{line}", message))
