"""The browser that tests open pages with, where one is installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

#: Where screenshots stay, for a person to look at, if somebody has made the folder.
SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"

#: For modules whose tests all need a browser.
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt install chromium"
)


def keep_picture(page: Any, name: str, *, full_page: bool = False) -> None:
    """Keep a picture of a page where somebody wants to look at it; it takes seconds."""
    if SCREENSHOTS.is_dir():
        page.screenshot(path=SCREENSHOTS / name, full_page=full_page)
