"""`tlcli curves`: accuracy, loss and learning rate over all stages, drawn or as event files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError, TlcliError, reason
from tlcli.evaluation import chart_data, figures
from tlcli.evaluation.chart_data import BestEpoch, Curve, LearningCurves
from tlcli.evaluation.colours import SERIES
from tlcli.runs import directory
from tlcli.runs.create import check_out_folder
from tlcli.runs.directory import Run
from tlcli.runs.metrics import read_metrics
from tlcli.runs.records import BriefRecord, BriefSummary, Epoch, validate_record

#: The widest name of a stage that stays legible above its epochs.
STAGE_NAME = 20

#: The tags of TensorBoard and what they show.
_TAGS = {
    "accuracy/training": "accuracy",
    "accuracy/validation": "val_accuracy",
    "top_5_accuracy/training": "top_5",
    "top_5_accuracy/validation": "val_top_5",
    "loss/training": "loss",
    "loss/validation": "val_loss",
    "learning_rate": "learning_rate",
}

#: Below a point this share of an axis has room for its value, and beside it this share.
LEAST_BELOW, LEAST_BESIDE = 0.2, 0.1


def read_epochs(run: Run) -> tuple[Epoch, ...]:
    """The epochs of a run. Raises `RunError` where its metrics are missing, empty or damaged."""
    epochs = read_metrics(run)
    if not epochs:
        raise RunError(Problem(str(run.file(directory.METRICS)), "has no epoch"))
    return epochs


def read_curves(run: Run) -> LearningCurves:
    """The learning curves of a run; raises `RunError` where its metrics cannot be read."""
    epochs = read_epochs(run)
    outcome = validate_record(
        run.file(directory.SUMMARY), run.read(directory.SUMMARY), BriefSummary
    )
    return chart_data.learning_curves(epochs, [stage.best_epoch for stage in outcome.stages])


def draw_curves(run: Run, out: Path | None = None, *, force: bool = False) -> tuple[Path, ...]:
    """Draw the curves as PNG and SVG, into the run or the folder `out`.

    Raises `RunError` for a folder that is another run, or where, without `force`, they would
    replace files that are not by tlcli.
    """
    curves = read_curves(run)
    folder = out or run.path
    if folder.resolve() != run.path.resolve():
        check_out_folder(folder, directory.CURVES, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in directory.CURVES)
    name = run.path.resolve().name
    with figures.picture_style([name, *(stage.name for stage in curves.stages)]):
        figure = _figure(curves)
        figure.suptitle(_title(run, name), x=0.01, ha="left", fontsize=9, color=figures.INK)
        for path in paths:
            figures.save_figure(figure, path)
    return paths


def _title(run: Run, name: str) -> str:
    """The run, and how many photos of which split its curves are about."""
    record = validate_record(run.file(directory.RECORD), run.record(), BriefRecord)
    counts = [
        f"{kind} n = {record.count(split):,}"
        for split, kind in (("train", "training"), ("val", "validation"))
        if record.count(split)
    ]
    return ", ".join([figures.shortened(name, 60), *counts])


def _figure(curves: LearningCurves) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    figure = Figure(figsize=(8, 7 if curves.top_5 is None else 9), layout="constrained")
    heights = [3, 3, 1] if curves.top_5 is None else [3, 3, 3, 1]
    accuracy, *top_5, loss, rate = figure.subplots(len(heights), sharex=True, height_ratios=heights)
    drawn = [(accuracy, curves.accuracy), (loss, curves.loss)]
    if curves.top_5 is not None:
        drawn.append((top_5[0], curves.top_5))
    for axes, curve in drawn:
        for number in range(len(curves.stages)):
            _draw_stage(axes, curves, curve, number)
        for best in curve.best:  # once all lines are there, and with them the ends of the axes
            _mark(axes, best, curves)
    for number in range(len(curves.stages)):
        _draw_rates(rate, curves, number)
        _name_stage(accuracy, curves, number)
    accuracy.set(ylabel="accuracy")
    for axes in top_5:
        axes.set(ylabel="top-5 accuracy")
    loss.set(ylabel="loss")
    figure.legend(
        *loss.get_legend_handles_labels(), loc="outside lower left", ncols=3,
        title=_legend_title(curves), title_fontsize=8, alignment="left",
    )  # fmt: skip
    # A stage that was solved has none.
    scale = "log" if max(curves.learning_rate.series[0].values) > 0 else "linear"
    rate.set(ylabel="learning rate", xlabel="epoch", yscale=scale, xlim=(0.5, curves.epochs + 0.5))
    # matplotlib's own labels of powers are mathematics, which no text here may be.
    rate.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    rate.yaxis.set_minor_formatter(NullFormatter())
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    return figure


def _legend_title(curves: LearningCurves) -> str:
    """What thin and thick lines are; empty where no stage is long enough to be smoothed."""
    longest = max(stage.length for stage in curves.stages)
    if longest < chart_data.SMOOTHED_FROM:
        return ""
    return (
        f"thin: as measured; thick: in stages of {chart_data.SMOOTHED_FROM} epochs and more a "
        f"moving average, factor {chart_data.SMOOTHING:g}"
    )


def _draw_stage(axes: Any, curves: LearningCurves, curve: Curve, number: int) -> None:
    """One stage of a curve, raw and smoothed, and the border before it."""
    positions = curves.stages[number].positions
    for series in curve.series:
        colour = SERIES[series.kind].light
        stage = series.stages[number]
        axes.plot(positions, stage.values, color=colour, linewidth=0.8, alpha=0.45)
        axes.plot(positions, stage.smooth, color=colour, linewidth=1.8,
                  marker="." if len(positions) == 1 else "",
                  label=None if number else series.label)  # fmt: skip
    _draw_border(axes, curves, number)


def _mark(axes: Any, best: BestEpoch, curves: LearningCurves) -> None:
    """A ring around the best epoch of a stage; its value stands beside it, inside the stage."""
    axes.plot(best.position, best.value, "o", markersize=6, markerfacecolor="none",
              markeredgecolor=figures.INK,
              label=None if best.stage else "best epoch of a stage")  # fmt: skip
    low, high = axes.get_ylim()
    is_low = best.value - low < LEAST_BELOW * (high - low)
    end = curves.stages[best.stage].positions[-1]
    is_last = end - best.position < LEAST_BESIDE * curves.epochs
    offset = (-6 if is_last else 6, 6 if is_low else -11)
    axes.annotate(
        f"{best.value:.4f}", (best.position, best.value), offset, textcoords="offset points",
        color=figures.INK, fontsize=8, zorder=4, ha="right" if is_last else "left",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )  # fmt: skip


def _draw_rates(axes: Any, curves: LearningCurves, number: int) -> None:
    (rates,) = curves.learning_rate.series
    axes.plot(curves.stages[number].positions, rates.stages[number].values,
              color=SERIES[rates.kind].light)  # fmt: skip
    _draw_border(axes, curves, number)


def _draw_border(axes: Any, curves: LearningCurves, number: int) -> None:
    """A dashed line before every stage but the first."""
    if number:
        border = curves.stages[number].border
        axes.axvline(border, color=figures.FAINT, linewidth=1, linestyle="--")


def _name_stage(axes: Any, curves: LearningCurves, number: int) -> None:
    stage = curves.stages[number]
    axes.annotate(
        figures.shortened(stage.name, STAGE_NAME), (stage.border, 1), (3, 3),
        xycoords=("data", "axes fraction"), textcoords="offset points", color=figures.INK,
    )  # fmt: skip


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
    epochs = read_epochs(run)
    target = folder / run.path.resolve().name
    if target.is_dir() and any(target.glob("events.out.tfevents.*")):
        hint = "name another folder, or delete them"
        raise RunError(
            Problem(f"--tensorboard {folder}", f"{target} has event files already", hint)
        )
    target.mkdir(parents=True, exist_ok=True)
    now = _created(run)
    writer = Writer(str(target))
    for step, epoch in enumerate(epochs, 1):
        now += epoch.seconds
        for tag, name in _TAGS.items():
            value = getattr(epoch, name)
            if value is not None:
                writer.add_scalar(tag, value, step, wall_time=now)
    writer.close()
    return target


def _created(run: Run) -> float:
    """When a run was created, in seconds since 1970."""
    path = run.file(directory.RECORD)
    try:
        created = validate_record(path, run.read(directory.RECORD), BriefRecord).created
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError) as error:
        raise RunError(Problem(str(path), f"created: {reason(error)}")) from error
