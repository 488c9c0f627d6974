"""`tlcli runs page`: one HTML file about all runs of a folder, which needs no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcli._version import __version__
from tlcli.errors import Problem, RunError
from tlcli.evaluation import colours
from tlcli.report.html import render_page
from tlcli.report.report import check_page
from tlcli.report.run_table import interval_of_test, setting_text
from tlcli.report.svg import Frame, Scale, Tick, line_path, scale_over
from tlcli.runs import directory
from tlcli.runs.metrics import read_metrics
from tlcli.runs.overview import RunEntry, read_entries
from tlcli.runs.records import Epoch
from tlcli.runs.run_settings import differing_keys
from tlcli.system import console, files

#: The page, in the folder of the runs.
PAGE = "runs.html"

#: Runs on a page at most, the newest; and settings that get a column and an axis.
MOST_RUNS, MOST_SETTINGS = 200, 8

#: Different values of a setting that are marked on its axis; of more, the ends.
_MOST_MARKS = 6

_CURVES = Frame(width=640, height=320, left=52, right=630, top=14, bottom=282)
_PARALLEL = Frame(width=960, height=340, left=60, right=900, top=44, bottom=318)


@dataclass(frozen=True)
class RunLine:
    """The line of a run in a chart: the run's number on the page, its style, path and name."""

    number: int
    kind: str
    path: str
    label: str


@dataclass(frozen=True)
class CurvesChart:
    """The validation accuracy of all runs over their epochs.

    Attributes:
        measure: what is drawn.
        description: what there is to see, for those who do not see it.
    """

    frame: Frame
    measure: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[RunLine, ...]


@dataclass(frozen=True)
class ParallelAxis:
    """An axis of the chart of settings: where it stands, its name, and its values."""

    at: float
    name: str
    marks: tuple[Tick, ...]


@dataclass(frozen=True)
class ParallelChart:
    """A line for each run through its settings to its score."""

    frame: Frame
    axes: tuple[ParallelAxis, ...]
    lines: tuple[RunLine, ...]


@dataclass(frozen=True)
class PageRow:
    """A run in the table of the page; `settings` are in the order of the columns."""

    number: int
    entry: RunEntry
    settings: tuple[str, ...]
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class WrittenPage:
    """A page that was written: its file, and how many runs it shows of how many there are."""

    path: Path
    shown: int
    runs: int

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"page": str(self.path), "runs": self.runs, "shown": self.shown}


def write_page(
    folder: Path | None = None, *, out: Path | None = None, force: bool = False
) -> WrittenPage:
    """Write the page of the runs of a folder; by default of this one, into that folder.

    Raises `RunError` where there are no runs, or where a file is in the way.
    """
    entries = read_entries(folder)
    root = folder or directory.runs_root()
    if not entries:
        raise RunError(Problem(str(root), "no runs here", "train one with `tlcli finetune`"))
    path = out or root / PAGE
    check_page(path, named=out is not None, force=force)
    shown = entries[-MOST_RUNS:]
    if len(shown) < len(entries):
        console.note(f"the page shows the newest {MOST_RUNS} of {len(entries):,} runs")
    files.write_text(path, page_html(shown, root))
    return WrittenPage(path, len(shown), len(entries))


def page_html(entries: Sequence[RunEntry], root: Path) -> str:
    """The page about some runs as text."""
    keys = [
        key
        for key in differing_keys([entry.settings for entry in entries if entry.settings])
        if key != "base.name"
    ]
    columns = keys[:MOST_SETTINGS]
    rows = [
        PageRow(
            number, entry, tuple(setting_text(entry, key) for key in columns),
            interval_of_test(entry),
        )
        for number, entry in enumerate(entries)
    ]  # fmt: skip
    values = {
        "folder": os.path.relpath(root),
        "rows": rows[::-1],
        "columns": columns,
        "hidden": keys[MOST_SETTINGS:],
        "curves": curves_chart(entries),
        "parallel": parallel_chart(entries, columns),
        "notes": any(entry.note for entry in entries),
        "today": datetime.now(UTC).date().isoformat(),
        "version": __version__,
    }
    palette = {"blue": colours.BLUE, "orange": colours.ORANGE, **colours.SERIES}
    return render_page(
        "runs.html",
        values,
        styles=("report.css", "runs.css"),
        scripts=("runs.js", "sort.js"),
        colours=palette,
    )


def curves_chart(entries: Sequence[RunEntry]) -> CurvesChart | None:
    """The accuracy of the runs over their epochs; None where no epoch is recorded.

    It is that of the validation photos, or where no run has any, of the training photos.
    """
    epochs = {number: _epochs(entry) for number, entry in enumerate(entries)}
    validated = any(epoch.val_accuracy is not None for run in epochs.values() for epoch in run)
    series = {
        number: [
            float(value)
            for epoch in run
            if (value := epoch.val_accuracy if validated else epoch.accuracy) is not None
        ]
        for number, run in epochs.items()
    }
    series = {number: values for number, values in series.items() if values}
    if not series:
        return None
    across = Scale(1, max(map(len, series.values())), _CURVES.left + 4, _CURVES.right - 4)
    down = scale_over(
        [value for values in series.values() for value in values],
        _CURVES.bottom, _CURVES.top, share=True,
    )  # fmt: skip
    lines = []
    for number, values in series.items():
        points = [(across(epoch), down(value)) for epoch, value in enumerate(values, 1)]
        label = f"{entries[number].run.name}: {values[-1]:.4f} after {len(values)} epochs"
        lines.append(RunLine(number, _kind(entries[number]), line_path(points), label))
    measure = "validation accuracy" if validated else "training accuracy"
    ticks = tuple(tick for tick in across.ticks(8) if float(tick.text).is_integer())
    description = f"{measure} of {console.counted(len(lines), 'run')} over their epochs"
    return CurvesChart(_CURVES, measure, description, ticks, down.ticks(5), _in_front(lines))


def parallel_chart(entries: Sequence[RunEntry], columns: Sequence[str]) -> ParallelChart | None:
    """Lines through the settings that differ to the score; None where there is nothing to see."""
    scored = [n for n, entry in enumerate(entries) if entry.val_accuracy is not None]
    if len(scored) < 2 or not columns:
        return None
    values: list[tuple[str, list[Any]]] = [
        (key, [entries[number].settings.get(key) for number in scored]) for key in columns
    ]
    values.append(("val accuracy", [entries[number].val_accuracy for number in scored]))
    places = Scale(0, len(values) - 1, _PARALLEL.left, _PARALLEL.right)
    axes, heights = [], []
    for place, (name, of_runs) in enumerate(values):
        height, marks = _axis(of_runs)
        axes.append(ParallelAxis(places(place), name, marks))
        heights.append([height[_text(value)] for value in of_runs])
    lines = [
        RunLine(
            number, _kind(entries[number]),
            line_path([(axis.at, at[position]) for axis, at in zip(axes, heights, strict=True)]),
            entries[number].run.name,
        )
        for position, number in enumerate(scored)
    ]  # fmt: skip
    return ParallelChart(_PARALLEL, tuple(axes), _in_front(lines))


def _axis(values: Sequence[Any]) -> tuple[dict[str, float], tuple[Tick, ...]]:
    """Where each value lies on an axis, by its text, and which of them are marked."""
    numbers = [value for value in values if _is_number(value)]
    if len(numbers) == len(values):
        low, high = min(numbers), max(numbers)
        wide = low > 0 and high / low >= 10
        scale = Scale(low, high, _PARALLEL.bottom, _PARALLEL.top, log=wide)
        ordered = sorted(set(numbers))
        heights = {_text(value): scale(value) for value in ordered}
    else:
        ordered = sorted({_text(value) for value in values})
        steps = Scale(0, len(ordered) - 1, _PARALLEL.bottom, _PARALLEL.top)
        heights = {text: steps(step) for step, text in enumerate(ordered)}
    marked = ordered if len(ordered) <= _MOST_MARKS else [ordered[0], ordered[-1]]
    return heights, tuple(Tick(heights[_text(value)], _text(value)) for value in marked)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _epochs(entry: RunEntry) -> tuple[Epoch, ...]:
    """The epochs of a run so far; none where they are not recorded or damaged."""
    if not entry.run.file(directory.METRICS).exists():
        return ()
    try:
        return read_metrics(entry.run)
    except RunError as error:
        console.warn(str(error))
        return ()


def _kind(entry: RunEntry) -> str:
    return "best" if entry.best else "latest" if entry.latest else "other"


def _in_front(lines: Sequence[RunLine]) -> tuple[RunLine, ...]:
    """Lines in the order in which they are drawn: the marked ones last."""
    return tuple(sorted(lines, key=lambda line: ("other", "latest", "best").index(line.kind)))
