"""Contact sheets: pictures in rows, with a line or two under each and a scale of heat below all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tlcli import lettering
from tlcli.errors import Problem, TlcliError
from tlcli.system import files

PAPER, INK, FAINT = (255, 255, 255), (25, 25, 30), (105, 105, 115)

#: Pixels: of letters, between cells, between the pictures of one cell, around the sheet.
LETTERS, GAP, SEAM, MARGIN = 14, 18, 4, 16

#: The largest sheet: what viewers open without trouble.
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Cell:
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


def lay(
    cells: Sequence[Cell],
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
        lettering.write(
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


def check_size(width: int, height: int, pictures: int) -> None:
    """Raise a `TlcliError` for a sheet of so many pictures that is larger than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        message = f"a sheet of {pictures:,} pictures would have {width:,} x {height:,} pixels"
        raise TlcliError(Problem("sheet", message, "ask for fewer pictures at once"))


def _place(canvas: Image.Image, cell: Cell, left: int, top: int) -> None:
    across = left
    for picture in cell.pictures:
        canvas.paste(picture, (across, top))
        across += picture.width + SEAM
    down = top + max(picture.height for picture in cell.pictures) + SEAM
    for number, line in enumerate(cell.lines):
        lettering.write(
            canvas, (left, down), line,
            width=cell.size[0], size=LETTERS, colour=FAINT if number else INK,
        )  # fmt: skip
        down += _LINE


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, whole."""
    with files.replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def target(out: Path | None, default: str, *, force: bool) -> Path:
    """Where a sheet goes: `out`, or `default` in the working folder.

    Raises a `TlcliError` where no PNG may be written there.
    """
    path = out or Path(default)
    where = f"--out {path}"
    if path.suffix.lower() != ".png":
        raise TlcliError(Problem(where, "sheets are written as PNG", "name a file.png"))
    if path.is_dir():
        raise TlcliError(Problem(where, "is a folder", "name a file.png in it"))
    if not path.parent.is_dir():
        raise TlcliError(Problem(where, "its folder does not exist", "make it, or name another"))
    if path.exists() and not force:
        raise TlcliError(Problem(where, "exists already", "name another, or add --force"))
    return path
