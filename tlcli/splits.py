"""The photos of a run as it records them: `split.csv`, written and read back."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlcli import runs
from tlcli.errors import Problem, RunError, reason
from tlcli.runs import Run
from tlcli.system import files

_COLUMNS = ("path", "label", "split", "sha256")


@dataclass(frozen=True, slots=True)
class Row:
    """One photo of a run: `path` as written, relative to the data folder or absolute."""

    path: Path
    label: str
    split: str
    sha256: str


def read(run: Run) -> tuple[Row, ...]:
    """Every photo of a run, in the order of the file. Raises `RunError` where it is damaged."""
    path = run.file(runs.SPLIT)
    try:
        with files.open_text(path) as file:
            lines = csv.DictReader(file, strict=True)
            missing = [name for name in _COLUMNS if name not in (lines.fieldnames or ())]
            if missing:
                raise RunError(Problem(str(path), f"has no column {', '.join(missing)}"))
            return tuple(_row(line, path, lines.line_num) for line in lines)
    except FileNotFoundError:
        hint = "name a run that `tlcli finetune` has written"
        raise RunError(Problem(str(run.path), f"has no {runs.SPLIT}", hint)) from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error


def write(run: Run, rows: Iterable[Row]) -> None:
    """Record the photos of a run."""
    table = ((row.path, row.label, row.split, row.sha256) for row in rows)
    files.write_table(run.file(runs.SPLIT), _COLUMNS, table)


def _row(line: dict[str, str | None], path: Path, number: int) -> Row:
    values = [line[name] for name in _COLUMNS]
    if not all(values):
        raise RunError(Problem(f"{path}:{number}", "the line is not complete"))
    name, label, split, sha256 = map(str, values)
    label.encode()  # a folder may have a name that is no UTF-8, a class has not
    return Row(Path(name), label, split, sha256)
