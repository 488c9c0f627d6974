"""Letters of labels: drawn where a font has them, written out where none has."""

from __future__ import annotations

from PIL import ImageFont

from tlcli import fonts


def test_plain_text_needs_no_other_font():
    font, shown = fonts.fitting("cats: cat 1.jpg", 12)
    assert shown == "cats: cat 1.jpg"
    assert isinstance(font, ImageFont.FreeTypeFont)


def test_a_letter_that_no_font_has_is_written_out():
    _, shown = fonts.fitting("a\U0010fffdb", 12)
    assert shown == "a\\U0010fffdb"


def test_the_font_that_lacks_least_is_taken(monkeypatch):
    monkeypatch.setattr(fonts, "_NAMES", ("a", "b"))
    lacks = {"": frozenset("ÿž"), "a": None, "b": frozenset("ž")}
    monkeypatch.setattr(fonts, "_missing", lambda name, size, letters: lacks[name])
    monkeypatch.setattr(fonts, "_font", lambda name, size: name)
    assert fonts.fitting("xÿž", 12) == ("b", "xÿ\\u017e")
