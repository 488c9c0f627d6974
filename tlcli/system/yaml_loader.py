"""YAML text to nodes, within limits, as people read it; and what goes wrong on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tlcli.errors import Problem, RecipeError, reason

#: A recipe is a page of text. These bounds stop alias bombs, and data files named by mistake.
MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
MAX_DEPTH = 32
#: Characters of a key, as in YAML itself for one without `?`.
MAX_KEY = 1_024
BOUNDS = f"more than {MAX_VALUES:,} values or {MAX_DEPTH} levels"
TEXT = f"more than {MAX_BYTES:,} characters of text once its aliases are expanded"


class NotARecipeError(yaml.MarkedYAMLError):
    """YAML with more values, or of other kinds, than a recipe has."""


class Loader(yaml.SafeLoader):
    """YAML 1.1 as people read it: `no` is a word, `1e-5` a number, a date a string.

    It stops as soon as a bound is passed; PyYAML would need half a minute for a file of MAX_BYTES.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node of the text; raises where it passes a bound or has a tag."""
        self._nodes += 1
        self._depth += 1
        event = self.peek_event()  # type: ignore[no-untyped-call]
        # Keys are nodes too, so there are twice as many nodes as values. The root is a node with an
        # empty key, so nodes are one level deeper than keys are long.
        if self._nodes > 2 * MAX_VALUES or self._depth > MAX_DEPTH + 1:
            raise NotARecipeError(problem=BOUNDS, problem_mark=event.start_mark)
        # A tag could turn any text into any type: a number of a million digits, a set, bytes.
        if getattr(event, "tag", None) is not None:
            problem = f"has a tag, '{_tag_text(event.tag)}'"
            raise NotARecipeError(problem=problem, problem_mark=event.start_mark, note=_NO_TAGS)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_NO_TAGS = "leave it out; what looks like a number is one, and text may be quoted"


def _tag_text(tag: str) -> str:
    """A tag as users write it, cut to a length that still identifies it."""
    return tag.replace("tag:yaml.org,2002:", "!!")[:40]


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag
        not in (
            "tag:yaml.org,2002:timestamp",
            "tag:yaml.org,2002:bool",
            "tag:yaml.org,2002:float",
            "tag:yaml.org,2002:int",
            "tag:yaml.org,2002:merge",
            "tag:yaml.org,2002:value",
        )
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# No octal 010 and no sexagesimal 1:30.
INT = "tag:yaml.org,2002:int"
Loader.add_implicit_resolver(INT, re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$")
Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def compose_yaml(text: str, path: Path) -> yaml.Node | None:
    """The nodes of YAML text that came from `path`, which know where they stand in it."""
    with open_loader(text, path) as loader:
        node: yaml.Node | None = loader.get_single_node()
        return node


@contextmanager
def open_loader(text: str, path: Path) -> Iterator[Loader]:
    """A loader of text that came from `path`; its errors become `RecipeError`."""
    loader = None
    try:
        loader = Loader(text)
        yield loader
    except NotARecipeError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        where, hint = f"{path.name}:{line}", error.note or ""
        raise RecipeError(Problem(where, str(error.problem), hint)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        details = " ".join(filter(None, (error.context, error.problem)))
        raise RecipeError(Problem(f"{path.name}:{line}", f"not valid YAML: {details}")) from error
    except yaml.YAMLError as error:
        raise RecipeError(Problem(path.name, f"not valid YAML: {reason(error)}")) from error
    finally:
        if loader is not None:
            loader.dispose()
