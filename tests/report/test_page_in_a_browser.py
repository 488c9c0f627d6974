"""The report in a browser: what a click shows, and how it looks.

Screenshots stay in `.screenshots`, for a person to look at, if that folder is made before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from builders.browsers import keep_picture, needs_chromium
from builders.runs import HOSTILE, HOSTILE_CLASSES, write_explanations, write_finished_run

from tlcli.report import report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run = write_finished_run(folder / "run", folder / "photos", margin=1.5)
    write_explanations(run)
    return report.write_report(run).path


@contextlib.contextmanager
def opened(browser: Any, path: Path, width: int = 1400, **settings: Any) -> Iterator[Any]:
    """The report on a page on which nothing may go wrong, and nothing be asked for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page = context.new_page()
    page.set_default_timeout(120_000)  # pictures of whole pages take long on a busy machine
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: wrong.append(request.url[:80])
            if not request.url.startswith((path.as_uri(), "data:")) else None)  # fmt: skip
    page.goto(path.as_uri())
    yield page
    context.close()
    assert not wrong


def shown(page: Any) -> list[str]:
    """The headings of the cells whose photos can be seen."""
    cells = page.locator(".cell").all()
    return [
        " ".join(cell.locator("h3").inner_text().split()) for cell in cells if cell.is_visible()
    ]


def test_a_click_shows_the_photos_of_a_cell(browser: Any, written: Path):
    with opened(browser, written) as page:
        first = page.locator(".matrix .wrong a").first
        last = page.locator(".matrix .right a").last
        assert len(shown(page)) == 1, "the largest mistake is open"
        for link in (last, first):
            link.click()
            row, column = link.get_attribute("data-row"), link.get_attribute("data-column")
            names = ("blue", "green", "red")
            label, predicted = names[int(row)], names[int(column)]
            n = int(link.inner_text().split()[0])
            noun = "photo" if n == 1 else "photos"
            what = "predicted correctly" if row == column else f"predicted as “{predicted}”"
            assert shown(page) == [f"{n} {noun} of “{label}” {what}"]
            photos = page.locator(f"#cell-{row}-{column} img")
            assert photos.count() == n
            sizes = photos.evaluate_all("all => all.map(one => [one.complete, one.naturalWidth])")
            assert all(complete and width for complete, width in sizes)
            assert page.locator(".matrix [aria-current]").count() == 1
            assert page.locator("#cell-status").inner_text() == f"Showing {shown(page)[0]}"


def test_the_keyboard_reaches_every_cell(browser: Any, written: Path):
    with opened(browser, written) as page:
        links = page.locator(".matrix a")
        assert page.locator(".matrix a[tabindex='0']").count() == 1
        seen, pending = set(), [page.locator(".matrix a[tabindex='0']").evaluate("one => one.hash")]
        while pending:
            here = pending.pop()
            seen.add(here)
            for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"):
                page.locator(f".matrix a[href='{here}']").focus()
                page.keyboard.press(key)
                there = page.evaluate("document.activeElement.hash")
                pending += [there] * (there not in seen)
        assert len(seen) == links.count()
        page.keyboard.press("Enter")
        place = page.evaluate("document.activeElement.hash")
        assert page.locator(f".cell{place}").is_visible()
        assert page.evaluate("location.hash") == place


def test_classes_sort(browser: Any, written: Path):
    def column(number: int) -> list[str]:
        return page.locator(f".sortable tbody tr > :nth-child({number})").all_inner_texts()

    with opened(browser, written) as page:
        recall = page.locator(".sortable th button", has_text="recall")
        recall.click()
        values = [float(text) for text in column(4)]
        assert values == sorted(values)
        recall.click()
        assert [float(text) for text in column(4)] == sorted(values, reverse=True)
        page.locator(".sortable th button", has_text="class").click()
        assert column(1) == ["blue", "green", "red"]
        assert page.locator("[aria-sort]").count() == 1


def test_cells_open_without_the_script(browser: Any, written: Path):
    with opened(browser, written, java_script_enabled=False) as page:
        before = shown(page)
        assert len(before) == 1
        link = page.locator(".matrix .right a").last
        link.click()
        n = link.inner_text().split()[0]
        assert shown(page) == [f"{n} photos of “red” predicted correctly"]
        assert not page.locator(".hint").first.is_visible()


# The contrast of every text with what it stands on (WCAG 2.2, 1.4.3): the ratio of the relative
# luminances, backgrounds composed from the innermost one that is opaque.
CONTRAST = """
() => {
  const channels = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.e-]+/g).map(Number);
    const scale = text.startsWith("color(srgb") ? 255 : 1;
    return [r * scale, g * scale, b * scale, a];
  };
  const over = (top, under) => {
    const [r, g, b, a] = top;
    return [r, g, b].map((value, at) => value * a + under[at] * (1 - a)).concat(1);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.push(channels(getComputedStyle(one).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    const box = element.getBoundingClientRect();
    if (!own || !box.width || element.closest("script, title")) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    const svg = element instanceof SVGElement;
    const text = over(channels(svg ? style.fill : style.color), behind);
    const [high, low] = [luminance(text), luminance(behind)].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 120)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser: Any, written: Path, scheme: Any):
    with opened(browser, written, color_scheme=scheme) as page:
        page.locator("details").evaluate_all("all => all.forEach((one) => one.open = true)")
        contrasts = page.evaluate(CONTRAST)
        assert len(contrasts) > 200
        assert contrasts[0][0] >= 4.5, contrasts[:5]
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) > 384) == (scheme == "light")
        for width in (400, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("details").evaluate_all("all => all.forEach((one) => one.open = false)")
        page.locator("img").evaluate_all("all => all.forEach((one) => one.loading = 'eager')")
        for width in (400, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            keep_picture(page, f"report-{scheme}-{width}.png", full_page=True)


def test_headings_alternatives_and_names(browser: Any, written: Path):
    with opened(browser, written) as page:
        levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((one) => +one.tagName[1])")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        unnamed = "img:not([alt]), svg:not([aria-label]):not([aria-hidden]), a:empty, th:empty"
        assert page.locator(unnamed).count() == 0
        ids = page.locator("[id]").evaluate_all("all => all.map((one) => one.id)")
        assert len(ids) == len(set(ids))
        for place in page.locator("a").evaluate_all("all => all.map((one) => one.hash)"):
            assert place[1:] in ids


def test_hostile_names_run_nothing_and_break_nothing(browser: Any, tmp_path: Path):
    run = write_finished_run(
        tmp_path / "run", tmp_path / "photos", names=HOSTILE, classes=HOSTILE_CLASSES, each=6,
        margin=0.5,
    )  # fmt: skip
    with opened(browser, report.write_report(run).path) as page:
        for link in page.locator(".matrix a").all()[:10]:
            link.click()
        for button in page.locator(".sortable th button").all():
            button.click()
        for width in (1400, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            keep_picture(page, f"names-{width}.png", full_page=True)
