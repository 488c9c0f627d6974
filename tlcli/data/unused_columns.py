"""Columns of a table that are not read, and what may be lost by that: a split, or groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tlcli.data.column_meanings import count_splits, likely_use, shared_values
from tlcli.data.splits import is_yes_or_no, split_values
from tlcli.data.table_columns import ColumnNames, TableColumns, TableLine, recipe_line
from tlcli.errors import Problem
from tlcli.system.console import counted

# Ignored columns, and values of one, that a message names; and the most values that a column has
# which is named like a split.
_MAX_SHOWN, _MAX_VALUES, _FEW = 5, 3, 20


def find_unused_columns(
    table: Path, columns: TableColumns, names: ColumnNames, lines: Sequence[TableLine]
) -> Iterator[Problem]:
    """What the columns that are not read hold, and what true and false mean in one that is.

    An error for a split, in place of which tlcli would make another; a warning for groups.
    """
    if names.is_fixed:  # every line is evaluated, whatever split and group it has
        return
    yield from _flag_meanings(table, columns, lines)
    read = {use: columns.values(place, lines) for use, place in columns.positions.items()}
    used = names.in_table(columns.names)
    plain = []
    for place, name in enumerate(columns.names):
        if not name or place in columns.positions.values():
            continue
        values = columns.values(place, lines)
        problem = None
        if "split" in read:
            problem = _contradiction(name, values, columns, read["split"])
        elif used["split"]:
            problem = _split_problem(name, values)
        if not problem and used["group"] and "group" not in read:
            problem = _group_problem(name, values, read, columns)
        if problem:
            yield Problem(f"{table}:1", problem.message, problem.hint, problem.severity)
        else:
            plain.append(f"'{name}'")
    if plain:
        what = f"ignored {counted(len(plain), 'column')}: {', '.join(plain[:_MAX_SHOWN])}"
        what += ", ..." if len(plain) > _MAX_SHOWN else ""
        yield Problem(f"{table}:1", what, severity="note")


def _flag_meanings(
    table: Path, columns: TableColumns, lines: Sequence[TableLine]
) -> Iterator[Problem]:
    """What true and false mean in the split column, if it holds them."""
    if "split" not in columns.positions or not columns.names:
        return
    place = columns.positions["split"]
    flags = {value for value in columns.values(place, lines) if is_yes_or_no(value.lower())}
    if meanings := [f"{flag} is {columns.splits[flag.lower()]}" for flag in sorted(flags)
                    if flag.lower() in columns.splits]:  # fmt: skip
        what = f"in the column '{columns.names[place]}', {', '.join(meanings)}"
        yield Problem(f"{table}:1", what, severity="note")


def _split_problem(name: str, values: Sequence[str]) -> Problem | None:
    """A column that looks like a split, in a table from which none is read."""
    if counts := count_splits(name, values):
        shown = ", ".join(f"{split} {number:,}" for split, number in counts.items())
        what = f"the column '{name}' looks like a split ({shown}), but tlcli would make its own"
        hint = f"to use it, set {recipe_line(split=name)} in the recipe; to ignore it, "
        return Problem("", what, hint + recipe_line(split=None))
    different = {value for value in values if value}
    if likely_use(name, ["split"]) and 1 < len(different) <= _FEW:
        shown = ", ".join(f"'{value}'" for value in sorted(different)[:_MAX_VALUES])
        shown += ", ..." if len(different) > _MAX_VALUES else ""
        what = f"the column '{name}' is named like a split, but is ignored, since tlcli does not "
        what += f"know its values ({shown})"
        hint = f"to use it, write train, val or test there and set {recipe_line(split=name)} in "
        hint += f"the recipe; if it is none, {recipe_line(split=None)}"
        return Problem("", what, hint, "warning")
    return None


def _contradiction(
    name: str, values: Sequence[str], columns: TableColumns, splits: Sequence[str]
) -> Problem | None:
    """A second column of splits, with photos held out that the first one trains on."""
    if not count_splits(name, values):
        return None
    meanings = split_values(name)
    held_out = sum(
        meanings.get(value.lower(), "train") != "train"
        and columns.splits.get(split.lower()) == "train"
        for value, split in zip(values, splits, strict=True)
    )
    if not held_out:
        return None
    used = columns.names[columns.positions["split"]]
    what = f"the column '{name}' holds out {counted(held_out, 'photo')} that '{used}' has in train"
    return Problem("", what, "make one column of both, with train, val and test", "warning")


def _group_problem(
    name: str, values: Sequence[str], read: Mapping[str, Sequence[str]], columns: TableColumns
) -> Problem | None:
    """A column that looks like a group, in a table from which none is read."""
    shared = shared_values(name, values, read["label"])
    if "split" in read:
        shared &= _torn(values, [columns.splits.get(word.lower(), "") for word in read["split"]])
    if not shared:
        return None
    first = next(value for value in values if value in shared)
    what = f"the column '{name}' looks like a group, but is ignored: {len(shared):,} of its "
    what += "values, such as "
    if "split" in read:
        what += f"'{first}', {'is' if len(shared) == 1 else 'are'} in more than one split"
    else:
        what += f"'{first}', {'has' if len(shared) == 1 else 'have'} several photos, which may "
        what += "come into different splits"
    hint = f"if they belong together, set {recipe_line(group=name)} in the recipe; if not, "
    return Problem("", what, hint + recipe_line(group=None), "warning")


def _torn(values: Sequence[str], splits: Sequence[str]) -> set[str]:
    """The values that are in more than one split."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for value, split in zip(values, splits, strict=True):
        splits_of[value].add(split)
    return {value for value, several in splits_of.items() if value and len(several) > 1}
