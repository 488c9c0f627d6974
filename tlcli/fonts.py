"""Fonts that have the letters of a text, for labels drawn into pictures."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: Names under which common systems keep fonts with many letters; Pillow knows their folders.
_NAMES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "Arial Unicode.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
)

#: A code point that is never a letter: fonts draw a box for it.
_NOTHING = "\U0010ffff"


def fitting(text: str, size: int) -> tuple[Font, str]:
    """The first font at hand that has every letter of `text`, and the text to draw with it.

    Where none has, it is the one that has most, and other letters are written as `\\uXXXX`.
    """
    letters = frozenset(text) - {" "}
    missing = {name: _missing(name, size, letters) for name in ("", *_NAMES)}
    known = {name: lacks for name, lacks in missing.items() if lacks is not None}
    best = min(known, key=lambda name: len(known[name]))
    shown = "".join(
        character.encode("unicode_escape").decode() if character in known[best] else character
        for character in text
    )
    font = _font(best, size)
    assert font is not None
    return font, shown


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> Font | None:
    """A font by the name of its file; the one that Pillow brings has no name."""
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _missing(name: str, size: int, letters: frozenset[str]) -> frozenset[str] | None:
    """The letters that a font draws as it draws no letter; None where there is no such font."""
    font = _font(name, size)
    if font is None:
        return None
    empty = bytes(font.getmask(_NOTHING))
    return frozenset(letter for letter in letters if bytes(font.getmask(letter)) == empty)
