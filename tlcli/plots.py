"""The pictures of an evaluation: the reliability diagram and the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tlcli import drawing

#: Of more classes, neither names nor numbers would be legible.
MOST_NAMED, MOST_NUMBERED = 60, 30


def reliability(value: dict[str, Any], path: Path) -> None:
    """Accuracy over confidence before and after calibration, with the photos in each bin below.

    Args:
        value: an evaluation, as in `evaluation-SPLIT.json`.
    """
    from matplotlib.figure import Figure

    after = value["calibrated"]
    sides = [("uncalibrated", value["reliability"]["bins"], value["ece"])]
    if after:
        title = f"calibrated, temperature {after['temperature']:.2f}"
        sides.append((title, value["reliability"]["calibrated_bins"], after["ece"]))
    with drawing.style():
        figure = Figure(figsize=(3.6 * len(sides), 4.6), layout="constrained")
        axes = figure.subplots(
            2, len(sides), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 1]}
        )
        for column, (title, bins, error) in enumerate(sides):
            _diagram(axes[0][column], bins, f"{title}\ncalibration error {error:.4f}")
            _counts(axes[1][column], bins)
        axes[0][0].set_ylabel("accuracy (bar), confidence (mark)")
        axes[1][0].set_ylabel("photos")
        drawing.save(figure, path)


def _diagram(axes: Any, bins: list[dict[str, Any]], title: str) -> None:
    axes.plot([0, 1], [0, 1], color=drawing.FAINT, linewidth=1)
    for one in bins:
        if one["n"]:
            middle = (one["low"] + one["high"]) / 2
            width = 0.9 * (one["high"] - one["low"])
            axes.bar(middle, one["accuracy"], width, color=drawing.FIRST, alpha=0.55)
            # Where the network is as sure as it should be, the mark lies at the top of the bar.
            axes.plot(one["confidence"], one["confidence"], "_", color=drawing.SECOND,
                      markersize=11, markeredgewidth=2)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title=title)


def _counts(axes: Any, bins: list[dict[str, Any]]) -> None:
    middles = [(one["low"] + one["high"]) / 2 for one in bins]
    widths = [0.9 * (one["high"] - one["low"]) for one in bins]
    axes.bar(middles, [one["n"] for one in bins], widths, color=drawing.INK, alpha=0.6)
    axes.set(xlabel="confidence")


def confusion(value: dict[str, Any], path: Path) -> None:
    """The confusion matrix: true classes in rows, shaded by their share of the row.

    Args:
        value: an evaluation, as in `evaluation-SPLIT.json`.
    """
    from matplotlib.figure import Figure

    cells, names = np.array(value["confusion"]), value["classes"]
    count = len(names)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    side = min(2.2 + 0.45 * count, 14.0)
    with drawing.style(names):
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="true class", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if count <= MOST_NAMED:
            labels = [drawing.shown(name) for name in names]
            axes.set_xticks(range(count), labels, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(count), labels)
            axes.tick_params(length=0)
        if count <= MOST_NUMBERED:
            for row, column in np.argwhere(cells):
                colour = "white" if shares[row, column] > 0.6 else drawing.INK
                axes.text(column, row, f"{cells[row, column]:,}", ha="center", va="center",
                          color=colour)  # fmt: skip
        drawing.save(figure, path)
