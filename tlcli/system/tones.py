"""Colours of what is printed, and where there are any: only on a terminal that wants them.

There are none with `--no-color`, with NO_COLOR in the environment (no-color.org), or where TERM is
`dumb`. A colour repeats what the words say, and says nothing by itself.
"""

from __future__ import annotations

import os
from typing import IO, Any, Literal

#: What a text is about: it decides the colour.
Tone = Literal["error", "warning", "good", "doubtful", "best", "next"]

_STYLES: dict[Tone, dict[str, Any]] = {
    "error": {"fg": "red"},
    "warning": {"fg": "yellow"},
    "good": {"fg": "green"},
    "doubtful": {"fg": "yellow"},
    "best": {"fg": "green"},
    "next": {"fg": "cyan"},
}

_wanted = True


def choose(*, wanted: bool) -> None:
    """Have colours where the terminal has them, or none at all (`--no-color`)."""
    global _wanted
    _wanted = wanted


def paint(text: str, tone: Tone | None, stream: IO[str]) -> str:
    """`text` in the colour of a tone, if `stream` shows colours; line ends stay outside."""
    if tone is None or not text or not _shows_colours(stream):
        return text
    import click

    return "\n".join(
        click.style(line, **_STYLES[tone]) if line else line for line in text.split("\n")
    )


def _shows_colours(stream: IO[str]) -> bool:
    return (
        _wanted
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )
