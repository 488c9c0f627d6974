"""Text in pictures: a font that has the letters, and lines that fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from tlcli.system.console import one_line

#: Files that systems call their fonts by, the widest coverage of scripts first within each kind;
#: Pillow looks for them in the system's font folders.
FONTS = (
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "arial.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKkr-Regular.otf",
    "NanumGothic.ttf",
    "malgun.ttf",
    "AppleSDGothicNeo.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "wqy-microhei.ttc",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "Arial Unicode.ttf",
)

# No font has a picture for this character: what it draws is what a missing letter looks like.
_NOWHERE = "\U0010fffe"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(text: str, size: int) -> Font:
    """The first font at `size` pixels that has every letter of `text`.

    Where none has, the one that lacks the fewest; its sign for a missing letter stands for them.
    """
    letters = {letter for letter in text if not letter.isspace()}
    fewest, chosen = len(letters) + 1, None
    for candidate in _installed(size):
        missing = sum(not _has(candidate, letter) for letter in letters)
        if missing < fewest:
            fewest, chosen = missing, candidate
        if not missing:
            break
    return chosen or ImageFont.load_default(size)


def _installed(size: int) -> Iterator[ImageFont.FreeTypeFont]:
    for name in FONTS:
        found = _load(name, size)
        if found is not None:
            yield found


@cache
def _load(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:  # not on this system, or a Pillow without FreeType
        return None


@cache
def _has(candidate: ImageFont.FreeTypeFont, letter: str) -> bool:
    def drawn(text: str) -> tuple[tuple[int, int], bytes]:
        mask = candidate.getmask(text)
        return mask.size, bytes(mask)

    return drawn(letter) != drawn(_NOWHERE)


def fitted(text: str, width: int, size: int) -> tuple[str, Font]:
    """`text` cut in the middle to `width` pixels, and the font to draw it with.

    The end of a file name tells it from others as well as its beginning. What could steer a
    terminal is shown as an escape, as everywhere.
    """
    plain = one_line(text)[:1000]
    chosen = font(plain, size)
    if chosen.getlength(plain) <= width:
        return plain, chosen
    kept = len(plain)
    while kept > 2:
        kept -= max(1, kept // 16)
        short = plain[: (kept + 1) // 2] + "…" + plain[len(plain) - kept // 2 :]
        if chosen.getlength(short) <= width:
            return short, chosen
    return "", chosen


def write(
    canvas: Image.Image,
    corner: tuple[int, int],
    text: str,
    *,
    width: int,
    size: int,
    colour: tuple[int, int, int],
) -> None:
    """Draw one line of text with its upper left corner at `corner`, cut to `width` pixels."""
    short, chosen = fitted(text, width, size)
    ImageDraw.Draw(canvas).text(corner, short, font=chosen, fill=colour)
