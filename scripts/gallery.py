"""Draw the pictures of docs/gallery.md from a finished run: the commands' own, and the report.

    python scripts/gallery.py runs/digits-1 digits/3/0133.png

The run is that of docs/tutorial.md, and so are the numbers in the pictures. They lie in
docs/images/gallery. The report is opened in Chromium, light and dark.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images" / "gallery"

#: Pictures that the commands leave in a run.
OF_A_RUN = ("curves.png", "confusion-test.png", "reliability-test.png", "views.png")

#: Pixels of a page on a desktop and on a phone.
DESKTOP, PHONE = (1400, 900), (400, 800)


def tlcli(*words: object) -> None:
    """Run a command; what it prints is shown."""
    subprocess.run([sys.executable, "-m", "tlcli", *map(str, words)], check=True)


def draw(run: Path, photo: Path) -> None:
    """Make the files of a run that the gallery shows, and copy them."""
    tlcli("evaluate", run)
    tlcli("curves", run)
    tlcli("explain", photo, "--run", run, "--out", FOLDER / "explain.png", "--force")
    tlcli("report", run, "--explain")
    for name in OF_A_RUN:
        shutil.copyfile(run / name, FOLDER / name)
    photograph((run / "report.html").absolute().as_uri(), "report")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium of the system."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def photograph(address: str, name: str, folder: Path = FOLDER) -> None:
    """Take pictures of a page: desktop and phone, light and dark."""
    with chromium() as browser:
        for scheme in ("light", "dark"):
            for kind, (width, height) in {"desktop": DESKTOP, "phone": PHONE}.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                )
                page.goto(address)
                page.screenshot(path=folder / f"{name}-{kind}-{scheme}.png")
                page.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("photo", type=Path, help="the photo to explain")
    chosen = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    draw(chosen.run.resolve(), chosen.photo)


if __name__ == "__main__":
    main()
