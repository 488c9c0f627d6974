"""How training went: accuracy, loss and learning rate over all stages on one axis of epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError, TlcliError, reason
from tlcli.evaluation import figures
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import BriefOutcome, BriefRecord, Epoch, checked
from tlcli.system import files

#: Of the exponential moving average: the share of the past in each smoothed value.
SMOOTHING = 0.6

#: The widest name of a stage that stays legible above its epochs.
STAGE_NAME = 20


@dataclass(frozen=True)
class StageCurve:
    """The epochs of one stage: lines of `metrics.jsonl`, and the number of the best, from 1."""

    name: str
    epochs: tuple[dict[str, Any], ...]
    best: int | None


def read(run: Run) -> tuple[StageCurve, ...]:
    """The stages of a run. Raises `RunError` where its metrics are missing or damaged."""
    groups: list[list[Epoch]] = []
    for line in _lines(run):
        last = groups[-1][-1] if groups else None
        if last is None or line.stage != last.stage or line.epoch <= last.epoch:
            groups.append([])
        groups[-1].append(line)
    if not groups:
        raise RunError(Problem(str(run.file(directory.METRICS)), "has no epoch"))
    outcome = checked(run.file(directory.SUMMARY), run.read(directory.SUMMARY), BriefOutcome)
    best = [stage.best_epoch for stage in outcome.stages] + [None] * len(groups)
    return tuple(
        StageCurve(group[0].stage, tuple(line.model_dump() for line in group), number)
        for group, number in zip(groups, best, strict=False)
    )


def _lines(run: Run) -> Iterator[Epoch]:
    path = run.file(directory.METRICS)
    try:
        for number, value in files.read_json_lines(path):
            yield checked(path, value, Epoch, number)
    except FileNotFoundError:
        raise RunError(Problem(str(run.path), f"has no {directory.METRICS}")) from None
    except (OSError, ValueError) as error:
        raise RunError(Problem(str(path), f"cannot be read: {reason(error)}")) from error


def smoothed(values: Sequence[float], factor: float = SMOOTHING) -> list[float]:
    """The exponential moving average, without the pull of its start towards 0."""
    found, total, weight = [], 0.0, 0.0
    for value in values:
        total = factor * total + (1 - factor) * value
        weight = factor * weight + (1 - factor)
        found.append(total / weight)
    return found


def draw(run: Run, out: Path | None = None) -> tuple[Path, ...]:
    """Draw the curves as PNG and SVG, into the run or the folder `out`."""
    stages = read(run)
    folder = out or run.path
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in directory.CURVES)
    with figures.style([stage.name for stage in stages]):
        figure = _figure(stages)
        for path in paths:
            figures.save(figure, path)
    return paths


def _figure(stages: Sequence[StageCurve]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    figure = Figure(figsize=(8, 7), layout="constrained")
    accuracy, loss, rate = figure.subplots(3, sharex=True, height_ratios=[3, 3, 1])
    start = 0
    for number, stage in enumerate(stages):
        xs = [start + index + 1 for index in range(len(stage.epochs))]
        for axes, key in ((accuracy, "accuracy"), (loss, "loss")):
            _pair(axes, xs, stage, key, label=number == 0)
            if number:
                axes.axvline(start + 0.5, color=figures.FAINT, linewidth=1, linestyle="--")
        rate.plot(xs, [epoch.get("learning_rate") for epoch in stage.epochs], color=figures.INK)
        if number:
            rate.axvline(start + 0.5, color=figures.FAINT, linewidth=1, linestyle="--")
        accuracy.annotate(
            figures.shortened(stage.name, STAGE_NAME), (start + 0.5, 1), (3, 3),
            xycoords=("data", "axes fraction"), textcoords="offset points", color=figures.INK,
        )  # fmt: skip
        start += len(stage.epochs)
    accuracy.set(ylabel="accuracy")
    loss.set(ylabel="loss")
    title = f"thin: as measured; thick: moving average, factor {SMOOTHING:g}"
    loss.legend(title=title, frameon=True, facecolor="white", edgecolor="none", framealpha=0.9)
    rate.set(ylabel="learning rate", xlabel="epoch", yscale="log", xlim=(0.5, start + 0.5))
    # matplotlib's own labels of powers are mathematics, which no text here may be.
    rate.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    rate.yaxis.set_minor_formatter(NullFormatter())
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    return figure


def _pair(axes: Any, xs: Sequence[int], stage: StageCurve, key: str, *, label: bool) -> None:
    """Training and validation, raw and smoothed, with the best epoch marked."""
    for name, colour, shown in (
        (key, figures.FIRST, "training"),
        (f"val_{key}", figures.SECOND, "validation"),
    ):
        if any(epoch.get(name) is None for epoch in stage.epochs):
            continue  # a run without validation photos
        values = [float(epoch[name]) for epoch in stage.epochs]
        axes.plot(xs, values, color=colour, linewidth=0.8, alpha=0.45)
        axes.plot(xs, smoothed(values), color=colour, linewidth=1.8,
                  marker="." if len(xs) == 1 else "",
                  label=shown if label else None)  # fmt: skip
    best = stage.best
    if best is not None and 1 <= best <= len(xs):
        validated = f"val_{key}" if stage.epochs[best - 1].get(f"val_{key}") is not None else key
        value = stage.epochs[best - 1][validated]
        axes.plot(xs[best - 1], value, "o", markersize=6, markerfacecolor="none",
                  markeredgecolor=figures.INK,
                  label="best epoch of a stage" if label else None)  # fmt: skip
        axes.annotate(f"{value:.4f}", (xs[best - 1], value), (6, -11),
                      textcoords="offset points", color=figures.INK, fontsize=8)  # fmt: skip


def write_events(run: Run, folder: Path) -> Path:
    """Write the metrics as a TensorBoard event file in a folder of the run's name under `folder`.

    Steps are epochs over all stages. Raises a `TlcliError` without the package `tensorboard`, and
    where there are event files already: TensorBoard would join both.
    """
    try:
        from tensorboard.summary import Writer
    except ModuleNotFoundError:
        hint = "install it with `pip install tensorboard`"
        raise TlcliError(
            Problem("--tensorboard", "the package tensorboard is not installed", hint)
        ) from None
    stages = read(run)
    target = folder / run.path.resolve().name
    if target.is_dir() and any(target.glob("events.out.tfevents.*")):
        hint = "name another folder, or delete them"
        raise RunError(
            Problem(f"--tensorboard {folder}", f"{target} has event files already", hint)
        )
    target.mkdir(parents=True, exist_ok=True)
    now = _began(run)
    writer = Writer(str(target))
    step = 0
    for stage in stages:
        for epoch in stage.epochs:
            step += 1
            now += epoch.get("seconds") or 0
            for tag, key in (
                ("accuracy/training", "accuracy"),
                ("accuracy/validation", "val_accuracy"),
                ("loss/training", "loss"),
                ("loss/validation", "val_loss"),
                ("learning_rate", "learning_rate"),
            ):
                if epoch.get(key) is not None:
                    writer.add_scalar(tag, epoch[key], step, wall_time=now)
    writer.close()
    return target


def _began(run: Run) -> float:
    """When, in seconds since 1970."""
    path = run.file(directory.RECORD)
    try:
        created = checked(path, run.read(directory.RECORD), BriefRecord).created
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError) as error:
        raise RunError(Problem(str(path), f"created: {reason(error)}")) from error
