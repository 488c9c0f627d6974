"""Pictures drawn with matplotlib: one look, fonts that have the letters, names that stay names."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.system import files
from tlcli.system.console import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry

#: Blue and vermilion of Okabe and Ito, told apart by everybody; ink and paper.
FIRST, SECOND, INK, FAINT = "#0072b2", "#d55e00", "#222222", "#bbbbbb"

#: The font that matplotlib brings along; others only for the letters it lacks.
FONT = "DejaVu Sans"

#: Fonts that are added at most. Fonts of last resort draw a sign for a script in place of letters.
MORE_FONTS, LAST_RESORT = 4, "Last Resort"

#: Letters of a name that are shown.
LENGTH = 28

DPI = 150


def shown(name: str, length: int = LENGTH) -> str:
    """A name from outside, cut in the middle to `length` letters; control characters escaped."""
    plain = one_line(name)
    if len(plain) <= length:
        return plain
    head = (length - 1) // 2
    return f"{plain[:head]}…{plain[len(plain) - (length - 1 - head) :]}"


@contextmanager
def style(names: Iterable[str] = ()) -> Iterator[None]:
    """The look of every picture, with fonts for the letters of `names`.

    Nothing in a text is taken for mathematics, and a letter that no font has becomes an empty box.
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


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole, in the format its suffix names; without the time of day.

    Call it inside `style`: letters are looked up while the picture is drawn.
    """
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
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
            if found := lacking & _letters(entry.fname):
                chosen.append(entry.name)
                lacking -= found
    return chosen


def _installed() -> list[FontEntry]:
    """Every font of the system; matplotlib's own list is from the day it was first used."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            with suppress(Exception):  # as matplotlib does: what fonts can be wrong with is endless
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
