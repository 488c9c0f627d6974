"""The browser that tests open pages with, where one is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

#: Where screenshots stay, for a person to look at.
SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"

#: For modules whose tests all need a browser.
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt install chromium"
)
