"""A probe as people read it: the table, the charts, the JSON; and where it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlcli.evaluation.colours import BLUE, ORANGE
from tlcli.runs.create import result_folder
from tlcli.runs.probe_record import (
    ACCURACY_CHARTS,
    LEARNING_CHARTS,
    PROBE,
    PROBES,
    SIGNIFICANCE,
    ProbedBoundary,
    ProbeRecord,
    write_probe,
)
from tlcli.search.strategies import describe_slope, is_foreign
from tlcli.system import console, files


def probe_folder(out: Path | None, recipe: str, base: str, *, force: bool) -> Path:
    """The folder that a probe is kept in: `out`, or one of the recipe's beside the runs.

    Raises `RunError` where it cannot be written, or holds other files of these names.
    """
    pictures = [*ACCURACY_CHARTS, *LEARNING_CHARTS]
    return result_folder(out, PROBES, f"{recipe}-{base}", pictures, [PROBE], force=force)


def keep_probe(folder: Path, record: ProbeRecord) -> Path:
    """Write the record and its charts; the path of the first one."""
    files.make_folder(folder)
    write_probe(folder, record)
    draw_accuracy(record, [folder / name for name in ACCURACY_CHARTS])
    draw_learning_curve(record, [folder / name for name in LEARNING_CHARTS])
    return folder / ACCURACY_CHARTS[0]


def probe_json(record: ProbeRecord, folder: Path) -> dict[str, Any]:
    """What `tlcli probe --json` prints."""
    return {**record.model_dump(mode="json"), "folder": str(folder)}


def describe_probe(record: ProbeRecord, folder: Path) -> str:
    """The table of boundaries, the learning curve, and what follows from both."""
    headers = ["boundary", "accuracy", "interval", "neighbours", "trainable above", "row", "time"]
    rows = [
        [
            row.name,
            f"{row.accuracy:.4f}",
            f"{row.low:.3f} to {row.high:.3f}",
            f"{row.knn:.4f}",
            console.count(row.parameters_above),
            console.size(row.row_bytes),
            console.duration(row.seconds),
        ]
        for row in record.boundaries
    ]
    times = record.seconds
    lines = [
        f"{record.photos:,} training photos of {record.classes} classes, {record.folds} folds; "
        f"the most frequent class alone gives {record.majority:.4f}",
        f"time: features {console.duration(times['features'])} ({record.images:,} photos through "
        f"the network), classifiers {console.duration(times['classifiers'])}",
        "",
        console.table(headers, rows),
        "",
        *_verdict(record),
        *_learning(record),
        f"kept in {folder}: {PROBE}, {', '.join((*ACCURACY_CHARTS, *LEARNING_CHARTS))}",
    ]
    return "\n".join(lines)


def _verdict(record: ProbeRecord) -> list[str]:
    best, leader = record.boundary(record.best), record.most_accurate
    tied = [row.name for row in record.boundaries if row.p >= SIGNIFICANCE]
    lines = [f"best: {best.name}, {best.accuracy:.4f} ({best.low:.3f} to {best.high:.3f})"]
    if best.name != leader.name:
        lines[0] += (
            f", the highest of those that cannot be told apart from the most accurate, "
            f"{leader.name} with {leader.accuracy:.4f} (p = {best.p:.2f})"
        )
    if len(tied) > 1:
        lines.append(f"cannot be told apart: {_listed(tied)}")
    top = record.boundaries[-1]
    if is_foreign(record):
        gap = 100 * (leader.accuracy - top.accuracy)
        lines.append(
            f"the top of the base is {gap:.1f} points worse: these photos are unlike ImageNet's, "
            f"so freeze less: `freeze_until: {best.name}` or lower"
        )
    return lines


def _learning(record: ProbeRecord) -> list[str]:
    points = [
        f"{point.accuracy:.4f} with {point.photos:,} photos" for point in record.learning_curve
    ]
    return [f"learning curve at {record.best}: {', '.join(points)}", describe_slope(record)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:9]) + (", ..." if len(names) > 9 else "")


def draw_accuracy(record: ProbeRecord, paths: Sequence[Path]) -> None:
    """Accuracy over depth: both classifiers at each boundary, the best one marked."""
    from matplotlib.figure import Figure

    from tlcli.evaluation.figures import picture_style, save_figure

    rows: Sequence[ProbedBoundary] = record.boundaries
    places = list(range(len(rows)))
    with picture_style():
        figure = Figure(figsize=(max(5.0, 1.6 + 0.55 * len(rows)), 4.2), layout="constrained")
        axes = figure.subplots()
        low, high = [row.low for row in rows], [row.high for row in rows]
        axes.fill_between(places, low, high, color=BLUE.light, alpha=0.15, linewidth=0)
        axes.plot(
            places,
            [row.accuracy for row in rows],
            "o-",
            color=BLUE.light,
            label="linear classifier",
        )
        axes.plot(
            places, [row.knn for row in rows], "s--", color=ORANGE.light, label="nearest photos"
        )
        chosen = [row.name for row in rows].index(record.best)
        axes.axvline(chosen, color="#888888", linewidth=1, zorder=0)
        axes.annotate(
            "best", (chosen, 0.02), xycoords=("data", "axes fraction"), xytext=(3, 0),
            textcoords="offset points", color="#555555",
        )  # fmt: skip
        axes.axhline(record.majority, color="#888888", linewidth=1, linestyle=":")
        axes.set_xticks(places, [row.name for row in rows], rotation=45, ha="right")
        axes.set_ylabel("accuracy, cross-validated")
        axes.set_title(f"{record.recipe}, {record.base}: {record.photos:,} training photos")
        axes.legend(loc="best", frameon=False)
        for path in paths:
            save_figure(figure, path)


def draw_learning_curve(record: ProbeRecord, paths: Sequence[Path]) -> None:
    """Accuracy over the number of photos, with intervals."""
    from matplotlib.figure import Figure

    from tlcli.evaluation.figures import picture_style, save_figure

    points = record.learning_curve
    photos, accuracy = [p.photos for p in points], [p.accuracy for p in points]
    below = [p.accuracy - p.low for p in points]
    above = [p.high - p.accuracy for p in points]
    with picture_style():
        figure = Figure(figsize=(5.0, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.errorbar(photos, accuracy, yerr=[below, above], fmt="o-", color=BLUE.light, capsize=3)
        axes.set_xscale("log", base=2)
        axes.set_xticks(photos, [f"{number:,}" for number in photos])
        axes.minorticks_off()
        axes.set_xlabel("photos that the classifier was fitted on")
        axes.set_ylabel("accuracy, cross-validated")
        axes.set_title(f"{record.recipe}, {record.base}, {record.best}")
        for path in paths:
            save_figure(figure, path)
