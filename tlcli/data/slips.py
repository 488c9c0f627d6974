"""Lines of a table that are wrong: a problem each for the first few of a kind, and one for more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tlcli.errors import Problem, Severity
from tlcli.system.console import counted

#: Lines of one kind of slip that are shown one by one.
_MAX_SHOWN = 5


class Slip(NamedTuple):
    """A line that gives no row. Slips of one `kind` are grouped."""

    kind: str
    line: int
    message: str
    hint: str
    severity: Severity = "error"

    def as_problem(self, table: Path) -> Problem:
        """The problem, with the place of the line."""
        return Problem(f"{table}:{self.line}", self.message, self.hint, self.severity)


def slip_problems(table: Path, slips: Iterable[Slip]) -> Iterator[Problem]:
    """The slips, the first few of each kind, and how many more there are."""
    by_kind: dict[str, list[Slip]] = defaultdict(list)
    for slip in slips:
        by_kind[slip.kind].append(slip)
    for alike in by_kind.values():
        yield from (slip.as_problem(table) for slip in alike[:_MAX_SHOWN])
        if more := alike[_MAX_SHOWN:]:
            last = more[-1]
            what = f"{counted(len(more), 'more line')} like that, up to line {last.line}"
            yield Problem(str(table), what, last.hint, last.severity)
