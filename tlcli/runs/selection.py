"""Which runs of a list are shown, and in which order: `--where` and `--sort`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from tlcli.errors import Problem, RunError, suggestion
from tlcli.runs.overview import RunEntry

#: What every run has beside its settings, and how it is read.
FIELDS: dict[str, Callable[[RunEntry], Any]] = {
    "run": lambda entry: entry.run.name,
    "created": lambda entry: entry.record.created,
    "base": lambda entry: entry.record.base,
    "state": lambda entry: entry.state,
    "stages": lambda entry: len(entry.outcome.stages),
    "val": lambda entry: entry.val_accuracy,
    "test": lambda entry: entry.test_accuracy,
    "time": lambda entry: entry.seconds,
    "size": lambda entry: entry.bytes,
    "note": lambda entry: entry.note,
}

#: Fields of which the highest value comes first.
_HIGHEST_FIRST = ("val", "test")

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip

_CONDITION = re.compile(r"(?P<key>[^!<>=]+?)\s*(?P<operator>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.S)


def select_entries(
    entries: Sequence[RunEntry],
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    reverse: bool = False,
) -> list[RunEntry]:
    """The runs that meet all conditions, in order.

    Args:
        where: conditions such as `base=VGG16`, `val>=0.95` or `stages.0.learning_rate<0.001`.
        sort: a field or a setting to order by: scores from the highest, all else from the lowest;
            runs without a value come last. By default the order of the entries is kept.

    Raises `RunError` for a field or setting that no run has, and for what is no condition.
    """
    if not entries:
        return []
    chosen = list(entries)
    for text in where:
        meets = _read_condition(text, entries)
        chosen = [entry for entry in chosen if meets(entry)]
    if sort is None:
        return chosen[::-1] if reverse else chosen
    value = _reader(sort, entries, f"--sort {sort}")
    known = [entry for entry in chosen if value(entry) is not None]
    known.sort(key=lambda entry: _order(value(entry)), reverse=(sort in _HIGHEST_FIRST) != reverse)
    return known + [entry for entry in chosen if value(entry) is None]


def _reader(key: str, entries: Sequence[RunEntry], where: str) -> Callable[[RunEntry], Any]:
    """How the value of a field or a setting is read from an entry."""
    if key in FIELDS:
        return FIELDS[key]
    settings = {name for entry in entries for name in entry.settings}
    if key not in settings:
        hint = suggestion(key, [*FIELDS, *sorted(settings)])
        raise RunError(Problem(where, f"'{key}' is no field and no setting of these runs", hint))
    return lambda entry: entry.settings.get(key)


def _read_condition(text: str, entries: Sequence[RunEntry]) -> Callable[[RunEntry], bool]:
    where = f"--where {text}"
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        hint = 'write it in quotes, as in "val>=0.95" or base=VGG16'
        raise RunError(Problem(where, "is no condition", hint))
    value = _reader(match["key"].strip(), entries, where)
    compare, wanted = _OPERATORS[match["operator"]], match["value"].strip()
    if match["operator"] in ("=", "!="):
        return lambda entry: compare(*_alike(value(entry), wanted))
    if (bound := _number(wanted)) is None:
        hint = "compare with a number, or ask for equality with ="
        raise RunError(Problem(where, f"'{wanted}' is no number", hint))

    def meets(entry: RunEntry) -> bool:
        number = _number(value(entry))
        return number is not None and compare(number, bound)

    return meets


def _alike(value: Any, text: str) -> tuple[Any, Any]:
    """A value and the text that it is compared with: as numbers where both are, else as text."""
    numbers = _number(value), _number(text)
    return (str(value), text) if None in numbers else numbers


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers first, by size; then all else, by its text."""
    number = _number(value) if not isinstance(value, str) else None
    return (1, 0.0, str(value)) if number is None else (0, number, "")
