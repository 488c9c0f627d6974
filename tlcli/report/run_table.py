"""The table of runs that `tlcli runs` prints: what differs between them, and what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import Problem, RunError, suggestion
from tlcli.evaluation.intervals import wilson_interval
from tlcli.runs.overview import RunEntry, entry_as_json
from tlcli.runs.run_settings import differing_keys, short_text
from tlcli.system import console

#: Settings that get a column of their own, unless the user names others.
MOST_COLUMNS = 4

#: Letters of a value in the table, and of a note.
_VALUE, _NOTE = 24, 40


@dataclass(frozen=True)
class RunTable:
    """Runs side by side.

    Attributes:
        columns: settings that have a column.
        hidden: further settings that differ.
    """

    entries: tuple[RunEntry, ...]
    columns: tuple[str, ...]
    hidden: tuple[str, ...]

    def text(self) -> str:
        """As people read it."""
        rows = [self._row(entry) for entry in self.entries]
        headers = [
            "run", "created", "base", *self.columns, "val accuracy", "test accuracy", "time",
            "size", "", "note",
        ]  # fmt: skip
        empty = [
            place for place in (-2, -1) if all(not row[place] for row in rows)
        ]  # nobody has marks, or a note
        for place in sorted((len(headers) + place for place in empty), reverse=True):
            for cells in (headers, *rows):
                del cells[place]
        return console.table(headers, rows)

    def as_json(self) -> list[dict[str, Any]]:
        """What `tlcli runs --json` prints: of each run all settings that differ, too."""
        keys = (*self.columns, *self.hidden)
        return [
            {
                **entry_as_json(entry),
                "test_interval": list(interval) if (interval := interval_of_test(entry)) else None,
                "settings": {key: entry.settings.get(key) for key in keys},
            }
            for entry in self.entries
        ]

    def _row(self, entry: RunEntry) -> list[str]:
        seconds = entry.seconds
        return [
            entry.run.name,
            entry.record.created[:16].replace("T", " "),
            entry.record.base,
            *(_shortened(setting_text(entry, key), _VALUE) for key in self.columns),
            _state(entry),
            score_text(entry.test_accuracy, interval_of_test(entry)),
            "-" if seconds is None else console.duration(seconds),
            console.size(entry.bytes),
            entry.marks,
            _shortened(entry.note, _NOTE),
        ]


def make_table(entries: Sequence[RunEntry], columns: Sequence[str] = ()) -> RunTable:
    """The table of some runs.

    Without `columns`, the settings that differ between them have one each, `MOST_COLUMNS` at most.
    Raises `RunError` for a column that is no setting of these runs.
    """
    keys = differing_keys([entry.settings for entry in entries if entry.settings])
    keys = [key for key in keys if key != "base.name"]  # which every table has
    if not columns or not entries:
        return RunTable(tuple(entries), tuple(keys[:MOST_COLUMNS]), tuple(keys[MOST_COLUMNS:]))
    known = sorted({key for entry in entries for key in entry.settings})
    for column in columns:
        if column not in known:
            message = f"'{column}' is no setting of these runs"
            raise RunError(Problem(f"--columns {column}", message, suggestion(column, known)))
    hidden = tuple(key for key in keys if key not in columns)
    return RunTable(tuple(entries), tuple(columns), hidden)


def interval_of_test(entry: RunEntry) -> tuple[float, float] | None:
    """The interval of the accuracy on the test photos; None where it is not known."""
    score = entry.outcome.test
    if score is None or not score.n:
        return None
    return wilson_interval(round(score.accuracy * score.n), score.n)


def score_text(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """0.97, (0.95, 0.98) -> '0.9700 (0.950 to 0.980)'; '-' for None."""
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def setting_text(entry: RunEntry, key: str) -> str:
    """A setting of a run; '-' where it has none of this name."""
    return short_text(entry.settings[key]) if key in entry.settings else "-"


def _state(entry: RunEntry) -> str:
    """The validation accuracy of a run, or what is to be said in its place."""
    if entry.state in ("finished", "complete"):
        return score_text(entry.val_accuracy)
    return entry.state


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
