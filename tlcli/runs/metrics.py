"""`metrics.jsonl`: a line for each epoch of a run, written and read here alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tlcli.errors import Problem, RunError, reason
from tlcli.runs.directory import METRICS, Run
from tlcli.runs.records import Epoch, validate_record
from tlcli.system import files


def append_metrics(run: Run, values: Mapping[str, Any]) -> None:
    """Add one line. It is not flushed to the disk: `write_metrics` does that at the end.

    Raises `ValueError` for a number that JSON cannot hold.
    """
    path = run.file(METRICS)
    with files.errors_about(path), path.open("a", encoding="utf-8") as file:
        file.write(_line(values))


def write_metrics(run: Run, epochs: Iterable[Epoch]) -> None:
    """Write the file anew, whole, from the epochs that count: a stop may have cut it short."""
    files.write_text(run.file(METRICS), "".join(_line(epoch.model_dump()) for epoch in epochs))


def read_metrics(run: Run) -> tuple[Epoch, ...]:
    """The epochs of a run, in the order in which they were trained.

    Raises `RunError` where the file is missing or damaged, with the line that does not fit.
    """
    path = run.file(METRICS)
    try:
        lines = tuple(files.read_json_lines(path))
    except FileNotFoundError:
        raise RunError(Problem(str(run.path), f"has no {METRICS}")) from None
    except (OSError, ValueError) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error
    return tuple(validate_record(path, value, Epoch, number) for number, value in lines)


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), allow_nan=False) + "\n"
