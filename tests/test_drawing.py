"""Pictures: names stay names, letters are found, files are whole and the same each time."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from tlcli.evaluation import figures

KOREAN = "고양이와 개"


def letters(font: str) -> set[int]:
    return set(font_manager.get_font(font).get_charmap())


def has_korean_font() -> bool:
    wanted = {ord(letter) for letter in "고양이"}
    return any(wanted <= letters(path) for path in font_manager.findSystemFonts())


def test_names_are_cut_in_the_middle_and_escaped():
    assert figures.shown("cats") == "cats"
    long = figures.shown("x" * 150 + "y" * 150)
    assert (len(long), long[0], long[-1]) == (figures.LENGTH, "x", "y")
    assert figures.shown("a\nb\x1b\u202e") == "a\\nb\\x1b\\u202e"
    assert figures.shown("<script>") == "<script>"


@pytest.mark.parametrize(
    "name",
    ["$\\frac{1}{0}$", "$", "a$b$c_{", "\\", "<script>alert(1)</script>", "_hidden", "שלום",
     KOREAN, "\U0010fffe", "'\"&"],
)  # fmt: skip
def test_any_name_can_be_drawn(name: str, tmp_path: Path):
    for suffix in ("png", "svg"):
        path = tmp_path / f"picture.{suffix}"
        with figures.style([name]):
            figure = Figure(figsize=(2, 1), layout="constrained")
            figure.subplots().set_title(figures.shown(name))
            figures.save(figure, path)
        assert path.stat().st_size > 500
    svg = path.read_text(encoding="utf-8")
    assert "<script" not in svg
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["picture.png", "picture.svg"]


@pytest.mark.skipif(not has_korean_font(), reason="no font with Korean letters is installed")
def test_korean_letters_are_drawn_where_a_font_has_them(tmp_path: Path):
    with figures.style([KOREAN]):
        families = matplotlib.rcParams["font.family"]
        fonts = [font_manager.findfont(family) for family in families]
        assert not any("LastResort" in font for font in fonts)
        figure = Figure(figsize=(2, 1))
        figure.text(0.1, 0.5, KOREAN)
        # A letter that is lacking would be warned of; `style` hides it, so look for it here.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figures.save(figure, tmp_path / "picture.png")
    assert families[0] == figures.FONT
    assert {ord(letter) for letter in KOREAN} <= set[int]().union(*map(letters, fonts))


def test_latin_names_need_no_other_font():
    with figures.style(["café", "straße"]):
        assert matplotlib.rcParams["font.family"] == [figures.FONT]
    assert matplotlib.rcParams["text.parse_math"] is True, "settings of the caller come back"


def test_the_same_picture_is_the_same_file(tmp_path: Path):
    for suffix in ("png", "svg"):
        made = []
        for _ in range(2):
            with figures.style():
                figure = Figure(figsize=(2, 1))
                figure.subplots().plot([1, 2], [3, 1])
                figures.save(figure, tmp_path / f"a.{suffix}")
            made.append((tmp_path / f"a.{suffix}").read_bytes())
        assert made[0] == made[1]
    assert not re.search(rb"20\d\d-\d\d-\d\d", made[0])
