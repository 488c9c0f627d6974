"""Text for terminals: nothing in it steers them, and columns are aligned."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tlcli.errors import with_both_slashes

# Categories of characters that could steer a terminal: control, format and surrogate characters,
# line and paragraph separators.
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    """`text` with everything that could steer a terminal written as an escape.

    Addresses of object stores have both slashes.

    Control characters, exotic line ends and the marks that reorder bidirectional text come out as
    `\\x1b` or `\\u202e`; plain line ends stay, since callers compose lines.
    """
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in _STEERING
        else character.encode("unicode_escape").decode("ascii")
        for character in with_both_slashes(text)
    )


def one_line(text: str) -> str:
    """`printable` for what has to stay on one line: line ends are escaped, too."""
    return printable(text).replace("\n", "\\n")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headers, columns aligned: numbers to the right, text to the left."""
    cells = [[one_line(str(value)) for value in row] for row in rows]
    widths = [
        max([width_of(header)] + [width_of(row[column]) for row in cells])
        for column, header in enumerate(headers)
    ]
    right = [
        bool(rows)
        and all(
            isinstance(row[column], int | float) or _numeric(cells_row[column])
            for row, cells_row in zip(rows, cells, strict=True)
        )
        for column in range(len(headers))
    ]

    def line(values: Sequence[str]) -> str:
        padded = [
            " " * (width - width_of(value)) + value
            if to_right
            else value + " " * (width - width_of(value))
            for value, width, to_right in zip(values, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, cells)])


def _numeric(cell: str) -> bool:
    return bool(cell) and cell.replace(",", "").replace(".", "").lstrip("-+").isdigit()


def width_of(text: str) -> int:
    """Terminal columns that `text` takes: wide East Asian characters take two."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )
