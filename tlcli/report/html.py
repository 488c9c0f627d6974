"""HTML pages that need nothing else: one file that loads nothing, with all values escaped.

Templates are Jinja's, in `templates/`. No template can forget to escape: every value that it shows
goes through `_printable` and is escaped. Style and script are the package's own files, and the page
allows only these, by their hashes: markup in a file name could not run even if it were not escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from tlcli.evaluation.colours import ChartColour
from tlcli.system import console

#: Names longer than this are shown with their middle left out.
LONGEST = 400


def visible_name(text: str) -> str:
    """A name from the file system as one line of visible characters; see `console.one_line`."""
    shown = console.one_line(text)
    half = LONGEST // 2
    return shown if len(shown) <= LONGEST else f"{shown[:half]} … {shown[-half:]}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent: 0.97019 -> '97.0%'; None -> '–'.

    Only 1 is shown as 100%, and only 0 as 0%: nothing else is rounded to them.
    """
    if value is None:
        return "–"
    least = 10.0**-digits
    hundredths = 100 * value
    if value < 1 and hundredths > 100 - least:
        hundredths = 100 - least
    elif value > 0 and hundredths < least:
        hundredths = least
    return f"{hundredths:.{digits}f}%"


def decimal(value: float | None, digits: int = 3) -> str:
    """0.07450 -> '0.075'; None -> '–'."""
    return "–" if value is None else f"{value:.{digits}f}"


def percentage_points(value: float) -> str:
    """A difference of shares in percentage points: 0.013 -> '+1.3'."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text.endswith("0.0") and len(text) == 4 else text


def sentence(text: str) -> str:
    """A line as a sentence begins: with a capital letter."""
    return text[:1].upper() + text[1:]


def render_page(
    template: str,
    values: Mapping[str, Any],
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    colours: Mapping[str, ChartColour] | None = None,
) -> str:
    """A page from a template, with style sheets and scripts that are files beside it.

    `values` are plain data; a string in them is text, never markup. `colours` are the style sheet's
    variables of these names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcli.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        name=visible_name, share=percent, number=decimal, points=percentage_points,
        count=console.count, counted=console.counted, duration=console.duration,
        bytes=console.size,
    )  # fmt: skip
    css = _colour_rules(colours or {}) + "".join(map(_source, styles))
    js = "".join(map(_source, scripts))
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(css)}'",
            f"script-src '{_hash(js)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return environment.get_template(template).render(
        **values, policy=policy, style=Markup(css), script=Markup(js)
    )


def _printable(value: Any) -> Any:
    """A value for a template, without control characters and those that UTF-8 cannot write."""
    return console.printable(value) if type(value) is str else value


def _colour_rules(colours: Mapping[str, ChartColour]) -> str:
    light = "".join(f"--{name}:{colour.light};" for name, colour in colours.items())
    dark = "".join(f"--{name}:{colour.dark};" for name, colour in colours.items())
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _source(path: str) -> str:
    return resources.files("tlcli.report").joinpath("templates", path).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
