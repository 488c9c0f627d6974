"""Contact sheets: pictures in cells with lines of text under them, or in rows with a line above.

Both ways of laying them out share colours, letters and fonts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from tlcli.errors import Problem, TlcliError
from tlcli.system import files, own_files
from tlcli.system.console import one_line

PAPER, INK, FAINT = (255, 255, 255), (25, 25, 30), (105, 105, 115)

#: Pixels: of letters, between cells, between the pictures of one cell, around the sheet.
LETTERS, GAP, SEAM, MARGIN = 14, 18, 4, 16

#: Of sheets in rows, in pixels: letters of the title and of the other lines, the space between
#: pictures, and the least width of a column, whose name needs room, and of the sheet.
TITLE_LETTERS, SMALL_LETTERS, ROW_GAP, MIN_COLUMN, MIN_ROW_WIDTH = 16, 12, 6, 56, 480

Colour = tuple[int, int, int]

#: The largest sheet: what viewers open without trouble.
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class SheetCell:
    """Pictures side by side with lines of text under them; the first line is the darkest."""

    pictures: Sequence[Image.Image]
    lines: Sequence[str] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width = sum(picture.width for picture in self.pictures)
        width += SEAM * (len(self.pictures) - 1)
        text = len(self.lines) * _LINE + (SEAM if self.lines else 0)
        return width, max(picture.height for picture in self.pictures) + text


_LINE = LETTERS + 5


def lay_out_cells(
    cells: Sequence[SheetCell],
    columns: int,
    *,
    title: str = "",
    footer: Image.Image | None = None,
    gap: int = GAP,
) -> Image.Image:
    """Cells in rows of `columns`, from the upper left; as wide as the widest of each needs."""
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    wide = max(cell.size[0] for cell in cells)
    heights = [max(cell.size[1] for cell in row) for row in rows]
    across = min(columns, len(cells))
    width = max(wide * across + gap * (across - 1), footer.width if footer else 0) + 2 * MARGIN
    head = _LINE + SEAM if title else 0
    foot = footer.height + GAP if footer else 0
    height = 2 * MARGIN + head + sum(heights) + gap * (len(rows) - 1) + foot
    check_size(width, height, len(cells))
    canvas = Image.new("RGB", (width, height), PAPER)
    if title:
        draw_text(
            canvas, (MARGIN, MARGIN), title, width=width - 2 * MARGIN, size=LETTERS, colour=INK
        )
    top = MARGIN + head
    for row, tall in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            _place(canvas, cell, MARGIN + column * (wide + gap), top)
        top += tall + gap
    if footer:
        canvas.paste(footer, (MARGIN, height - MARGIN - footer.height))
    return canvas


@dataclass(frozen=True)
class SheetRow:
    """Pictures of one size side by side, with a line of text above them."""

    text: str
    pictures: Sequence[Image.Image]


def row_width(rows: Sequence[SheetRow]) -> int:
    """The width in pixels of the sheet that `lay_out_rows` makes of such rows."""
    column, count = _column_width(rows), max(len(row.pictures) for row in rows)
    return max(ROW_GAP + count * (column + ROW_GAP), MIN_ROW_WIDTH)


def lay_out_rows(
    rows: Sequence[SheetRow], columns: Sequence[str], *, title: str, lines: Sequence[str]
) -> Image.Image:
    """Rows below each other under a title, lines of text and the names of the columns."""
    column, height = _column_width(rows), rows[0].pictures[0].height
    width = row_width(rows)
    step, line = SMALL_LETTERS + 4, SMALL_LETTERS + 6
    first_line = 2 * ROW_GAP + TITLE_LETTERS
    top = first_line + step * len(lines) + ROW_GAP
    canvas_height = top + line + len(rows) * (line + height + ROW_GAP)
    check_size(width, canvas_height, sum(len(row.pictures) for row in rows))
    canvas = Image.new("RGB", (width, canvas_height), PAPER)
    lefts = [ROW_GAP + number * (column + ROW_GAP) for number in range(len(columns))]
    room = width - 2 * ROW_GAP

    def write(left: int, top: int, text: str, size: int, colour: Colour, width: int) -> None:
        draw_text(canvas, (left, top), text, width=width, size=size, colour=colour)

    write(ROW_GAP, ROW_GAP, title, TITLE_LETTERS, INK, room)
    for number, text in enumerate(lines):
        write(ROW_GAP, first_line + number * step, text, SMALL_LETTERS, FAINT, room)
    for left, name in zip(lefts, columns, strict=True):
        write(left, top, name, SMALL_LETTERS, INK, column)
    for number, row in enumerate(rows):
        down = top + line + number * (line + height + ROW_GAP)
        write(ROW_GAP, down, row.text, SMALL_LETTERS, INK, room)
        for left, picture in zip(lefts, row.pictures, strict=False):
            canvas.paste(picture, (left, down + line))
    return canvas


def _column_width(rows: Sequence[SheetRow]) -> int:
    return max(rows[0].pictures[0].width, MIN_COLUMN)


def check_size(width: int, height: int, pictures: int) -> None:
    """Raise a `TlcliError` for a sheet of so many pictures that is larger than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        message = f"a sheet of {pictures:,} pictures would have {width:,} x {height:,} pixels"
        raise TlcliError(Problem("sheet", message, "ask for fewer pictures at once"))


def _place(canvas: Image.Image, cell: SheetCell, left: int, top: int) -> None:
    across = left
    for picture in cell.pictures:
        canvas.paste(picture, (across, top))
        across += picture.width + SEAM
    down = top + max(picture.height for picture in cell.pictures) + SEAM
    for number, line in enumerate(cell.lines):
        draw_text(
            canvas, (left, down), line,
            width=cell.size[0], size=LETTERS, colour=FAINT if number else INK,
        )  # fmt: skip
        down += _LINE


def save_sheet(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, whole, which says that tlcli wrote it."""
    maker = PngInfo()
    maker.add_text("Software", own_files.GENERATOR)
    with files.replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True, pnginfo=maker)


def sheet_path(out: Path | None, default: str, *, force: bool, option: str = "--out") -> Path:
    """Where a sheet goes: `out`, or `default` in the working folder.

    `option` is the one that names it. Raises a `TlcliError` where no PNG may be written there.
    """
    path = out or Path(default)
    where = f"{option} {path}" if out else str(path)
    if path.suffix.lower() != ".png":
        raise TlcliError(Problem(where, "sheets are written as PNG", "name a file.png"))
    if path.is_dir():
        raise TlcliError(Problem(where, "is a folder", "name a file.png in it"))
    if not path.parent.is_dir():
        raise TlcliError(Problem(where, "its folder does not exist", "make it, or name another"))
    if problems := own_files.check_file(path, named=out is not None, force=force, option=option):
        raise TlcliError(problems)
    return path


#: Names of font files on common systems, the widest coverage of scripts first within each kind;
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


# No font has a glyph for this character, so that drawing it gives the sign for a missing glyph.
_NOWHERE = "\U0010fffe"


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def choose_font(text: str, size: int) -> Font:
    """The first font at `size` pixels that has every letter of `text`.

    Where none has, the one that lacks the fewest; its sign for a missing letter stands for them.
    """
    letters = {letter for letter in text if not letter.isspace()}
    fewest, chosen = len(letters) + 1, None
    for candidate in _installed_fonts(size):
        missing = sum(not _has(candidate, letter) for letter in letters)
        if missing < fewest:
            fewest, chosen = missing, candidate
        if not missing:
            break
    return chosen or ImageFont.load_default(size)


def _installed_fonts(size: int) -> Iterator[ImageFont.FreeTypeFont]:
    for name in FONTS:
        font_file = _load(name, size)
        if font_file is not None:
            yield font_file


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


def fit_text(text: str, width: int, size: int) -> tuple[str, Font]:
    """`text` cut in the middle to `width` pixels, and the font to draw it with.

    The end of a file name tells it from others as well as its beginning. What could steer a
    terminal is shown as an escape, as everywhere.
    """
    plain = one_line(text)[:1000]
    chosen = choose_font(plain, size)
    if chosen.getlength(plain) <= width:
        return plain, chosen
    kept = len(plain)
    while kept > 2:
        kept -= max(1, kept // 16)
        short = plain[: (kept + 1) // 2] + "…" + plain[len(plain) - kept // 2 :]
        if chosen.getlength(short) <= width:
            return short, chosen
    return "", chosen


def draw_text(
    canvas: Image.Image,
    corner: tuple[int, int],
    text: str,
    *,
    width: int,
    size: int,
    colour: Colour,
) -> None:
    """Draw one line of text with its upper left corner at `corner`, cut to `width` pixels."""
    short, chosen = fit_text(text, width, size)
    ImageDraw.Draw(canvas).text(corner, short, font=chosen, fill=colour)
