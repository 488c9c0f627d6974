"""The pictures of an evaluation show its numbers."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import binomtest

from tlcli.evaluation import calibration, figures, metrics
from tlcli.evaluation.figures import draw_confusion, draw_reliability, shortened

NAMES = ("<b>$x$", "고양이", "n" * 300, "a\nb", "_e", "'\"", "שלום")


def measured(count: int, *, calibrated: bool = True):
    random = np.random.default_rng(0)
    labels = random.integers(0, count, 200)
    values = random.random((200, count)) + 0.4 * np.eye(count)[labels]
    fitted = calibration.Calibration(1.4) if calibrated else calibration.RAW
    names = (NAMES + tuple(f"class {number}" for number in range(count)))[:count]
    return metrics.measure(np.log(values), labels, names, fitted)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, to read what is in them."""
    saved = []
    real = figures.save_figure

    def save(figure, path):
        saved.append(figure)
        real(figure, path)

    monkeypatch.setattr(figures, "save_figure", save)
    return saved


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("count", [2, 7])
def test_the_confusion_matrix(count: int, tmp_path: Path, drawn):
    scores = measured(count)
    draw_confusion(scores, tmp_path / "confusion.png", "pets-1, test photos")
    (axes,) = drawn[0].axes
    cells = np.array(scores.confusion)
    shares = cells / cells.sum(axis=1, keepdims=True)
    assert texts(axes) == [
        f"{cell:,}\n{share:.0%}" for cell, share in zip(cells.ravel(), shares.ravel(), strict=True)
        if cell
    ]  # fmt: skip
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    named = count == 2
    assert columns == [
        shortened(name, 12) if named else f"{number}"
        for number, name in enumerate(scores.classes, 1)
    ]
    assert rows == [
        shortened(name) if named else f"{shortened(name)}  {number}"
        for number, name in enumerate(scores.classes, 1)
    ]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {0.0}
    assert drawn[0].get_suptitle() == f"pets-1, test photos, n = {scores.n:,}"
    assert np.allclose(axes.images[0].get_array(), cells / cells.sum(axis=1, keepdims=True))
    with Image.open(tmp_path / "confusion.png") as image:
        assert min(image.size) > 300


def test_short_names_stand_below_the_columns_of_any_number_of_classes(tmp_path: Path, drawn):
    scores = measured(10)
    digits = tuple(map(str, range(10)))
    draw_confusion(scores.model_copy(update={"classes": digits}), tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(digits)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(digits)


def test_many_classes_have_neither_names_nor_numbers(tmp_path: Path, drawn):
    draw_confusion(measured(70), tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert texts(axes) == []
    assert len(axes.get_xticks()) == 0


def test_the_reliability_diagram_before_and_after(tmp_path: Path, drawn):
    scores = measured(3)
    draw_reliability(scores, tmp_path / "reliability.png")
    before, after, counts, _ = drawn[0].axes
    for axes, key in ((before, "uncalibrated_bins"), (after, "bins")):
        bins = [row for row in getattr(scores.reliability, key) if row.n]
        assert [bar.get_height() for bar in axes.patches] == [row.accuracy for row in bins]
        marks = [line.get_ydata()[0] for line in axes.lines[2::2]]
        assert marks == [row.confidence for row in bins]
        for line, row in zip(axes.lines[1::2], bins, strict=True):
            right = round(row.accuracy * row.n)
            expected = binomtest(right, row.n).proportion_ci(0.95, method="wilson")
            np.testing.assert_allclose(line.get_ydata(), [*expected], atol=1e-9)
    assert [bar.get_height() for bar in counts.patches] == [
        row.n for row in scores.reliability.uncalibrated_bins
    ]
    assert texts(counts) == [
        f"{row.n:,}" if row.n else "" for row in scores.reliability.uncalibrated_bins
    ]
    assert f"calibration error {scores.uncalibrated.ece:.4f}" in before.get_title(loc="left")
    assert f"temperature 1.40\ncalibration error {scores.ece:.4f}" in after.get_title(loc="left")


def test_the_reliability_diagram_without_calibration(tmp_path: Path, drawn):
    draw_reliability(measured(2, calibrated=False), tmp_path / "reliability.svg")
    assert len(drawn[0].axes) == 2
    assert (tmp_path / "reliability.svg").read_text().startswith("<?xml")


KOREAN = "고양이와 개"


def letters(font: str) -> set[int]:
    return set(font_manager.get_font(font).get_charmap())


def has_korean_font() -> bool:
    code_points = {ord(letter) for letter in "고양이"}
    return any(code_points <= letters(path) for path in font_manager.findSystemFonts())


def test_names_are_cut_in_the_middle_and_escaped():
    assert figures.shortened("cats") == "cats"
    long = figures.shortened("x" * 150 + "y" * 150)
    assert (len(long), long[0], long[-1]) == (figures.LENGTH, "x", "y")
    assert figures.shortened("a\nb\x1b\u202e") == "a\\nb\\x1b\\u202e"
    assert figures.shortened("<script>") == "<script>"


@pytest.mark.parametrize(
    "name",
    ["$\\frac{1}{0}$", "$", "a$b$c_{", "\\", "<script>alert(1)</script>", "_hidden", "שלום",
     KOREAN, "\U0010fffe", "'\"&"],
)  # fmt: skip
def test_any_name_can_be_drawn(name: str, tmp_path: Path):
    for suffix in ("png", "svg"):
        path = tmp_path / f"picture.{suffix}"
        with figures.picture_style([name]):
            figure = Figure(figsize=(2, 1), layout="constrained")
            figure.subplots().set_title(figures.shortened(name))
            figures.save_figure(figure, path)
        assert path.stat().st_size > 500
    svg = path.read_text(encoding="utf-8")
    assert "<script" not in svg
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["picture.png", "picture.svg"]


@pytest.mark.skipif(not has_korean_font(), reason="no font with Korean letters is installed")
def test_korean_letters_are_drawn_where_a_font_has_them(tmp_path: Path):
    with figures.picture_style([KOREAN]):
        families = matplotlib.rcParams["font.family"]
        fonts = [font_manager.findfont(family) for family in families]
        assert not any("LastResort" in font for font in fonts)
        figure = Figure(figsize=(2, 1))
        figure.text(0.1, 0.5, KOREAN)
        # A letter that is lacking would be warned of; `style` hides it, so look for it here.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figures.save_figure(figure, tmp_path / "picture.png")
    assert families[0] == figures.FONT
    assert {ord(letter) for letter in KOREAN} <= set[int]().union(*map(letters, fonts))


def test_latin_names_need_no_other_font():
    with figures.picture_style(["café", "straße"]):
        assert matplotlib.rcParams["font.family"] == [figures.FONT]
    assert matplotlib.rcParams["text.parse_math"] is True, "settings of the caller come back"


def test_the_same_picture_is_the_same_file(tmp_path: Path):
    for suffix in ("png", "svg"):
        files = []
        for _ in range(2):
            with figures.picture_style():
                figure = Figure(figsize=(2, 1))
                figure.subplots().plot([1, 2], [3, 1])
                figures.save_figure(figure, tmp_path / f"a.{suffix}")
            files.append((tmp_path / f"a.{suffix}").read_bytes())
        assert files[0] == files[1]
    assert not re.search(rb"20\d\d-\d\d-\d\d", files[0])
