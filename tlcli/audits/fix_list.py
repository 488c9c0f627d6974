"""The table of suspects that a person fills in, and `data.labels` of a recipe names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.data.findings import relative_name
from tlcli.data.label_fixes import COLUMNS, FixList, read_fix_list
from tlcli.errors import DataError, Problem
from tlcli.system import files

if TYPE_CHECKING:
    from tlcli.audits.label_audit import LabelAudit


def expect_fix_list(path: Path) -> None:
    """Raise `DataError` where no table of labels can be written, before anything is spent."""
    _read(path)


def write_fix_list(audit: LabelAudit, path: Path) -> tuple[int, int]:
    """Add the suspects and their copies to a table of labels; nobody has decided about them yet.

    The lines of a table that exists already stay as they are, and so do the decisions in them.
    Returns how many lines are new, and how many there are. Raises `DataError` for a file that is no
    such table.
    """
    there = _read(path)
    listed = {fix.path for fix in there.fixes}
    new = [line for line in _lines(audit) if line["path"] not in listed]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=there.separator, lineterminator="\n")
    writer.writerow(there.columns)
    writer.writerows(there.cells)
    names = [column.strip().lower() for column in there.columns]
    writer.writerows([line.get(name, "") for name in names] for line in new)
    files.write_text(path, text.getvalue())
    return len(new), len(there.cells) + len(new)


def _lines(audit: LabelAudit) -> Iterator[dict[str, str]]:
    root = Path(audit.record.root)
    for suspect, copies in zip(audit.record.suspects, audit.copies, strict=True):
        for item in copies:
            cells = (relative_name(item.path, root), suspect.label, suspect.suggested, "")
            yield dict(zip(COLUMNS, cells, strict=True))


def _read(path: Path) -> FixList:
    """The table at `path`; an empty one where there is no file."""
    where = f"--fix-list {path}"
    if not path.parent.is_dir():
        message = "its folder does not exist"
        raise DataError(Problem(where, message, "make it, or name another"))
    if not path.exists():
        return FixList()
    try:
        there = read_fix_list(path)
    except DataError as error:
        message = "exists and is not a table of labels that tlcli has written"
        raise DataError(Problem(where, message, "name another file")) from error
    if errors := [problem for problem in there.problems if problem.severity == "error"]:
        raise DataError(errors)
    return there
