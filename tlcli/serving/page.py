"""The page at /: one document that loads nothing, and the policy that keeps it so."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

import jinja2
from markupsafe import Markup

from tlcli.evaluation.colours import BLUE, ORANGE


def render_page() -> tuple[str, str]:
    """The page, and the Content-Security-Policy that it is sent with."""
    style = _colours() + _source("page.css")
    script = _source("page.js")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcli.serving"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("page.html")
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src blob: data:",
            "connect-src 'self'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return template.render(style=Markup(style), script=Markup(script)), policy


def _colours() -> str:
    light, dark = (
        f"--accent:{getattr(BLUE, name)};--warn:{getattr(ORANGE, name)};"
        for name in ("light", "dark")
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _source(name: str) -> str:
    return resources.files("tlcli.serving").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
