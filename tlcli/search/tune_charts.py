"""The charts of a search: its history, which settings mattered, and what good trials share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import TrialState

from tlcli.evaluation import figures
from tlcli.evaluation.colours import BLUE, ORANGE
from tlcli.recipe.search import Between, Choices, Dimension
from tlcli.runs import directory
from tlcli.runs.study_records import TrialScore
from tlcli.search.tune import SearchOutcome
from tlcli.system import console, files

#: Complete trials below which importances would be noise.
IMPORTANCE_TRIALS = 16

#: The most letters of a setting's name, and of a choice, in a chart.
NAME, CHOICE = 28, 14


def rank_settings(study: optuna.Study) -> dict[str, float] | None:
    """The share of each setting in the spread of the objective (functional ANOVA, Hutter et al.,
    ICML 2014), largest first; None where there are too few complete trials."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < IMPORTANCE_TRIALS or len({trial.value for trial in complete}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def draw_charts(outcome: SearchOutcome, importance: dict[str, float] | None) -> list[Path]:
    """Draw the charts into the folder of the study; importance only where it is known."""
    drawn = []
    for name in directory.SEARCH_CHARTS:
        if name == "importance" and importance is None:
            continue
        with figures.picture_style():
            if name == "history":
                figure = _history(outcome)
            elif name == "importance":
                figure = _importance(importance or {})
            else:
                figure = _parallel(outcome)
            for form in ("png", "svg"):
                path = outcome.study.folder / f"{name}.{form}"
                with files.errors_about(path):
                    figures.save_figure(figure, path)
                drawn.append(path)
    return drawn


def _objective(outcome: SearchOutcome, trial: TrialScore) -> float | None:
    return trial.val_loss if outcome.plan.objective == "val_loss" else trial.val_accuracy


def _history(outcome: SearchOutcome) -> Any:
    """The objective of each trial, and the best so far."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    complete = [trial for trial in outcome.trials if trial.state == "complete"]
    pruned = [t for t in outcome.trials if t.state == "pruned" and t.val_loss is not None]
    values = [float(_objective(outcome, trial) or 0) for trial in complete]
    numbers = [trial.number for trial in complete]
    better = np.minimum if outcome.plan.objective == "val_loss" else np.maximum
    axes.plot(numbers, values, "o", color=BLUE.light, markersize=4, label="trial")
    if pruned:
        given_up = [float(_objective(outcome, trial) or 0) for trial in pruned]
        axes.plot([t.number for t in pruned], given_up, "x", color=figures.FAINT, markersize=5,
                  label="pruned, where it stood")  # fmt: skip
    axes.step(numbers, better.accumulate(values), where="post", color=ORANGE.light,
              label="best so far")  # fmt: skip
    if outcome.plan.objective == "val_loss" and min(values) > 0 and max(values) > 5 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=outcome.plan.objective)
    axes.set_title(f"{outcome.plan.recipe.name}: {console.counted(len(outcome.trials), 'trial')}")
    axes.legend(loc="best")
    return figure


def _importance(importance: dict[str, float]) -> Any:
    """A bar for each setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 1.2 + 0.36 * len(importance)), layout="constrained")
    axes = figure.subplots()
    names, shares = [*importance][::-1], [*importance.values()][::-1]
    axes.barh([figures.shortened(name, NAME) for name in names], shares, color=BLUE.light)
    for place, share in enumerate(shares):
        axes.text(share + 0.01, place, f"{share:.2f}", va="center", color=figures.INK)
    axes.set(xlim=(0, max(1.0, max(shares) + 0.1)), xlabel="share of the spread (fANOVA)")
    axes.set_title("which settings mattered")
    return figure


def _parallel(outcome: SearchOutcome) -> Any:
    """A line for each complete trial through its settings; the darker, the better it was."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    space = outcome.plan.space
    complete = [trial for trial in outcome.trials if trial.state == "complete"]
    values = np.array([float(_objective(outcome, trial) or 0) for trial in complete])
    figure = Figure(figsize=(2.2 + 1.7 * len(space), 4.4), layout="constrained")
    axes = figure.subplots()
    colours = colormaps["viridis" if outcome.plan.objective == "val_loss" else "viridis_r"]
    # A few bad trials would leave one colour to all others.
    scale = Normalize(float(values.min()), float(np.quantile(values, 0.9)) or 1.0)
    worst_first = np.argsort(values)
    if outcome.plan.objective == "val_loss":
        worst_first = worst_first[::-1]
    for position in worst_first:
        trial = complete[position]
        heights = [_height(d, trial.settings[d.name]) for d in space]
        best = trial.number == outcome.best.number
        colour = ORANGE.light if best else colours(scale(values[position]))
        axes.plot(
            range(len(space)), heights, color=colour,
            linewidth=2.4 if best else 1.0, alpha=1.0 if best else 0.7, zorder=3 if best else 2,
            label="the winner" if best else None,
        )  # fmt: skip
    for place, dimension in enumerate(space):
        _draw_axis(axes, place, dimension)
    labels = [figures.shortened(dimension.name, NAME) for dimension in space]
    axes.set_xticks(range(len(space)), labels, rotation=15, ha="right")
    axes.set(yticks=[], xlim=(-0.5, len(space) - 0.5), ylim=(-0.04, 1.12))
    axes.spines[:].set_visible(False)
    axes.legend(loc="upper right")
    mappable = ScalarMappable(norm=scale, cmap=colours)
    figure.colorbar(mappable, ax=axes, label=outcome.plan.objective, shrink=0.8)
    return figure


def _draw_axis(axes: Any, place: int, dimension: Dimension) -> None:
    axes.axvline(place, color=figures.FAINT, linewidth=1, zorder=1, ymax=1 / 1.16 + 0.03)
    for height, text in _marks(dimension):
        axes.annotate(
            figures.shortened(text, CHOICE), (place, height), (4, 0), va="center", fontsize=8,
            textcoords="offset points", color=figures.INK, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )  # fmt: skip


def _marks(dimension: Dimension) -> Sequence[tuple[float, str]]:
    domain = dimension.domain
    if isinstance(domain, Choices):
        return [(_height(dimension, value), str(value)) for value in domain.values]
    return [(0.0, f"{domain.low:g}"), (1.0, f"{domain.high:g}")]


def _height(dimension: Dimension, value: Any) -> float:
    """Where a value lies on the axis of its setting, from 0 to 1."""
    domain = dimension.domain
    if isinstance(domain, Between):
        ends = np.array([domain.low, value, domain.high], float)
        low, here, high = np.log(ends) if domain.scale == "log" else ends
        return float((here - low) / (high - low))
    return domain.values.index(value) / (len(domain.values) - 1)
