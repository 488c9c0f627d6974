"""Pictures with matplotlib: the reliability diagram, the confusion matrix, the style of all."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.evaluation.chart_data import (
    ConfusionTable,
    ReliabilityChart,
    confusion_table,
    reliability_charts,
)
from tlcli.evaluation.colours import BLUE, ORANGE
from tlcli.evaluation.intervals import CONFIDENCE_LEVEL
from tlcli.runs.evaluation_records import EvaluationScores
from tlcli.system import files, own_files
from tlcli.system.console import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry

#: The most classes whose names, and whose numbers, are still legible.
MOST_NAMED, MOST_NUMBERED = 60, 30

#: The most classes whose names stand side by side below the columns, and their letters.
MOST_WORDS, WORD = 6, 12

#: Letters of names that stand there of any number of classes.
NARROW = 3

#: Ink, and faint lines.
INK, FAINT = "#222222", "#bbbbbb"

#: The font that matplotlib brings along; others only for the letters it lacks.
FONT = "DejaVu Sans"

#: Fonts that are added at most. Fonts of last resort draw a sign for a script in place of letters.
MORE_FONTS, LAST_RESORT = 4, "Last Resort"

#: Letters of a name that are shown at most.
LENGTH = 28

#: Pixels per inch of a PNG.
DPI = 150


def draw_reliability(scores: EvaluationScores, path: Path, subject: str = "") -> None:
    """Accuracy over confidence before and after calibration, with the photos in each bin below.

    `subject` is what the photos are: a title.
    """
    from matplotlib.figure import Figure

    charts = reliability_charts(scores)
    with picture_style():
        figure = Figure(figsize=(3.6 * len(charts), 4.6), layout="constrained")
        axes = figure.subplots(
            2, len(charts), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 1]}
        )
        for column, chart in enumerate(charts):
            _draw_accuracy(axes[0][column], chart)
            _draw_counts(axes[1][column], chart)
        _add_title(figure, subject, scores.n)
        axes[0][0].set_ylabel(f"accuracy (bar, {CONFIDENCE_LEVEL:.0%} interval), confidence (mark)")
        axes[1][0].set_ylabel("photos")
        save_figure(figure, path)


def _draw_accuracy(axes: Any, chart: ReliabilityChart) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    for (row, confidence, accuracy), (low, high) in zip(chart.filled, chart.intervals, strict=True):
        middle = (row.low + row.high) / 2
        width = 0.9 * (row.high - row.low)
        axes.bar(middle, accuracy, width, color=BLUE.light, alpha=0.55)
        axes.plot([middle, middle], [low, high], color=INK, linewidth=0.9)
        # Where the network is as sure as it should be, the mark lies at the top of the bar.
        axes.plot(confidence, confidence, "_", color=ORANGE.light, markersize=11, markeredgewidth=2)
    title = f"{chart.calibration or 'uncalibrated'}\ncalibration error {chart.error:.4f}"
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title=title)


def _draw_counts(axes: Any, chart: ReliabilityChart) -> None:
    middles = [(row.low + row.high) / 2 for row in chart.bins]
    widths = [0.9 * (row.high - row.low) for row in chart.bins]
    bars = axes.bar(middles, [row.n for row in chart.bins], widths, color=INK, alpha=0.6)
    counts = [f"{row.n:,}" if row.n else "" for row in chart.bins]
    axes.bar_label(bars, counts, fontsize=6.5, color=INK, padding=1)
    axes.margins(y=0.25)
    axes.set(xlabel="confidence")


def _add_title(figure: Figure, subject: str, photos: int) -> None:
    """What is shown, and of how many photos."""
    words = [one_line(subject)] if subject else []
    title = ", ".join([*words, f"n = {photos:,}"])
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, color=INK)


def draw_confusion(scores: EvaluationScores, path: Path, subject: str = "") -> None:
    """The confusion matrix: true classes in rows, shaded by their share of the row.

    Columns have the names of the classes where they fit side by side, else their numbers.
    """
    from matplotlib.figure import Figure

    table, names = confusion_table(scores), scores.classes
    narrow = all(len(name) <= NARROW for name in names)
    named = narrow or len(names) <= MOST_WORDS
    side = min(2.2 + (0.45 if narrow or not named else 0.8) * len(names), 14.0)
    with picture_style([*names, subject]):
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        _add_title(figure, subject, scores.n)
        axes = figure.subplots()
        axes.imshow(np.array(table.shares), cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="true class", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if len(names) <= MOST_NAMED:
            places = range(len(names))
            columns = [shortened(n, WORD) if named else str(k + 1) for k, n in enumerate(names)]
            axes.set_xticks(places, columns, fontsize=9 if len(names) <= MOST_NUMBERED else 6)
            rows = [
                shortened(n) if named else f"{shortened(n)}  {k + 1}" for k, n in enumerate(names)
            ]
            axes.set_yticks(places, rows)
            axes.tick_params(length=0)
        if len(names) <= MOST_NUMBERED:
            _write_numbers(axes, table)
        save_figure(figure, path)


def _write_numbers(axes: Any, table: ConfusionTable) -> None:
    """How many photos, and which share of the row."""
    size = 8 if len(table.names) <= 12 else 5.5
    for row, (counts, shares) in enumerate(zip(table.counts, table.shares, strict=True)):
        for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
            if count:
                colour = "white" if share > 0.6 else INK
                text = f"{count:,}\n{percent_of_row(share)}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def percent_of_row(share: float) -> str:
    """A share of a row in whole percent; only all photos are 100%, and only none 0%."""
    hundredths = round(100 * share)
    return f"{min(hundredths, 99) if share < 1 else 100 if hundredths else 0}%"


def shortened(name: str, length: int = LENGTH) -> str:
    """A name from outside, cut in the middle to `length` letters; control characters escaped."""
    plain = one_line(name)
    if len(plain) <= length:
        return plain
    head = (length - 1) // 2
    return f"{plain[:head]}…{plain[len(plain) - (length - 1 - head) :]}"


@contextmanager
def picture_style(names: Iterable[str] = ()) -> Iterator[None]:
    """The style of every picture, with fonts for the letters of `names`.

    No part of a text is read as mathematics, and a letter that no font has becomes an empty box.
    """
    import matplotlib

    settings: Any = {
        "font.family": [FONT, *_fonts_for("".join(names))],
        "font.size": 9,
        "text.parse_math": False,
        "text.usetex": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.grid": False,
        "legend.frameon": False,
        "svg.fonttype": "path",  # looks the same where the fonts are missing
        "svg.hashsalt": "tlcli",  # the same picture is the same file
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        for message in (r"Glyph \d+ .*missing from", "Matplotlib currently does not support"):
            warnings.filterwarnings("ignore", message=message)
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole, in the format its suffix names; without the time of day.

    It says that tlcli wrote it.

    Call it inside `style`: letters are looked up while the picture is drawn.
    """
    maker = own_files.GENERATOR
    metadata = {"Date": None, "Creator": maker} if path.suffix == ".svg" else {"Software": maker}
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)


def _fonts_for(text: str) -> list[str]:
    """The names of installed fonts for the letters that `FONT` lacks."""
    from matplotlib import font_manager

    lacking = {ord(letter) for letter in text if not letter.isspace()}
    if not lacking or max(lacking) < 0x250:  # Latin letters are all there
        return []
    lacking -= _letters(font_manager.findfont(FONT))
    chosen: list[str] = []
    seen: set[str] = set()
    for entry in sorted(_installed(), key=_preference) if lacking else ():
        if not lacking or len(chosen) == MORE_FONTS:
            break
        if entry.name not in seen and not entry.name.startswith(LAST_RESORT):
            seen.add(entry.name)
            if letters := lacking & _letters(entry.fname):
                chosen.append(entry.name)
                lacking -= letters
    return chosen


def _installed() -> list[FontEntry]:
    """Every font of the system; matplotlib's own list is from the day it was first used."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    listed = {entry.fname for entry in manager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in listed:
            with suppress(Exception):  # as matplotlib does: a font can be damaged in many ways
                manager.addfont(path)
    return manager.ttflist


def _preference(entry: FontEntry) -> tuple[bool, bool, bool, str]:
    """Upright fonts of normal weight without serifs first."""
    plain = entry.style == "normal" and entry.weight in (400, "normal", "regular")
    return not plain, "CJK" not in entry.name, "Serif" in entry.name, entry.name


def _letters(font: str) -> set[int]:
    from matplotlib import font_manager

    try:
        return set(font_manager.get_font(font).get_charmap())
    except (OSError, RuntimeError):  # removed, or damaged
        return set()
